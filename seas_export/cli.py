"""`seas-export`: run folder -> bundle. Heavy imports wait until they are needed."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from seas_runtime import voice
from seas_runtime.bundle.manifest import COMPOSITE_ANOMALIES, MAX_ANOMALIES, MAX_COMPOSITES
from seas_runtime.commands import VERSION, Command, interval_of
from seas_runtime.errors import BackendError, SettingsError
from seas_runtime.sampling.defaults import PAPER
from seas_runtime.versions import extra

if TYPE_CHECKING:
    from seas_train.run_folder import Run

HINT = extra("cpu", "export")
EXAMPLES = """\b
Examples:
  seas-export runs/bottle --out engines/bottle.plan --fp16
  seas-export runs/bottle --out engines/bottle.plan --fp16 --engines rtx --gpu sm86,sm89
  seas-export runs/bottle --parity engines/bottle.plan
  seas-export PUBLISHED --base CompVis/stable-diffusion-v1-4 --data mvtec/bottle --out bottle.plan --fp16

\b
Exit codes: 0 done, 2 usage, 3 bad run or failed parity, 4 engine builder not usable here,
5 output problem, 130 interrupted."""


HEADINGS = {
    "Defaults of the bundle": ("steps", "guidance", "guidance_interval", "threshold", "mask_steps", "final"),
    "A published checkpoint": ("base", "revision", "data", "licence"),
    "Engines": ("engines", "gpu"),
}


@click.command(cls=Command, headings=HEADINGS, epilog=EXAMPLES)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), metavar="NAME.plan", help="The bundle's folder, which must not exist.")
@click.option(
    "--parity", "bundle", type=click.Path(path_type=Path), metavar="NAME.plan",
    help="Instead of exporting, compare this bundle of RUN with PyTorch at every step of a whole sampling run.",
)  # fmt: skip
@click.option(
    "--fp16/--fp32", "half", default=False,
    help="Store the weights in half precision and add graphs that compute in it; one that does not hold it stays in fp32, and "
    "that is said. CPUs compute in fp32 either way.",
)  # fmt: skip
@click.option(
    "--steps", type=click.IntRange(1, 999), show_default=f"{PAPER.steps}, or what a student was distilled for",
    help="Default solver steps of the bundle.",
)  # fmt: skip
@click.option(
    "--guidance", type=click.FloatRange(1, 100), show_default=f"{PAPER.guidance:g}, or what a student has inside",
    help="Default guidance scale of the bundle: 8 for MVTec AD, 5 for MVTec 3D AD, 2 for VisA.",
)  # fmt: skip
@click.option(
    "--guidance-interval", type=interval_of, metavar="A:B", show_default="all of it",
    help="Default part of the noise schedule that is guided: 0 the clean picture, 1 the first step.",
)  # fmt: skip
@click.option(
    "--threshold", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=PAPER.threshold,
    help="Default mask threshold.",
)  # fmt: skip
@click.option(
    "--mask-steps", type=click.IntRange(1), show_default=f"{PAPER.mask_steps}",
    help="Default number of last steps that vote on the mask.",
)  # fmt: skip
@click.option(
    "--final", type=click.Choice(["zero", "published"]), show_default="zero; published for a published checkpoint",
    help="Where the solver ends: sigma 0, or t = 0.",
)  # fmt: skip
@click.option(
    "--photographs/--no-photographs", default=False,
    help="Take the normal images' photographs along, for seas-gen --background real; their size is told.",
)  # fmt: skip
@click.option(
    "--composites", type=click.IntRange(0, MAX_COMPOSITES), default=0, metavar="N",
    help="Take N normal images with anomalies placed on them along, of each type, as latents for seas-gen --init composite.",
)  # fmt: skip
@click.option(
    "--composite-anomalies", type=click.FloatRange(1, MAX_ANOMALIES), default=COMPOSITE_ANOMALIES, metavar="MEAN",
    help="Anomalies on one composite in the mean: segmenters learn most from two; 1 for exactly one.",
)  # fmt: skip
@click.option("--base", metavar="MODEL", help="For a published checkpoint: the base model, whose VAE it uses.")
@click.option("--revision", metavar="NAME", help="Branch, tag or commit of a --base on a hub, kept in the bundle.")
@click.option(
    "--data", type=click.Path(path_type=Path), metavar="DIR",
    help="For a published checkpoint: the product's data set, for its defect types and normal images.",
)  # fmt: skip
@click.option("--licence", metavar="TEXT", help="For a published checkpoint: the data set's licence, kept in the bundle.")
@click.option(
    "--engines", type=click.Choice(["rtx", "tensorrt"]),
    help="Also build engines beside the bundle, as `seas-engine build` does: rtx needs no GPU, tensorrt the target's.",
)  # fmt: skip
@click.option(
    "--gpu", metavar="SM[,SM...]", default="", show_default="as in seas-engine build",
    help="Compute capabilities of the engines, as sm86,sm89.",
)  # fmt: skip
@VERSION
def main(
    *,
    run: Path,
    out: Path | None,
    bundle: Path | None,
    half: bool,
    final: str | None,
    photographs: bool,
    composites: int,
    composite_anomalies: float,
    base: str | None,
    revision: str | None,
    data: Path | None,
    licence: str | None,
    engines: Literal["rtx", "tensorrt"] | None,
    gpu: str,
    **defaults: Any,
) -> None:
    """Export the run folder RUN as a bundle of ONNX graphs for seas-gen.

    RUN may also be a checkpoint of the published SeaS implementation: the folder that holds its generation-checkpoint and
    mask-checkpoint. Every output of every graph is compared with PyTorch before the bundle is sealed; a difference beyond the
    bound leaves no bundle.
    """
    if (out is None) == (bundle is None):
        raise SettingsError("found both or neither of --out and --parity; give --out to export, --parity to check a bundle")
    numbers = {**defaults, "composite-anomalies": composite_anomalies}
    if wrong := [name for name, value in numbers.items() if isinstance(value, float) and not isfinite(value)]:
        raise SettingsError(f"--{wrong[0]} {numbers[wrong[0]]} found, a number expected")
    gpus = [name for name in gpu.split(",") if name.strip()]
    if engines is None and gpus:
        raise SettingsError(f"--gpu {gpu} found without --engines; add --engines rtx")
    if engines is not None:
        from seas_runtime.backends.tensorrt import build

        build.require(engines, gpus)
    if revision is not None and (base is None or Path(base).is_dir()):
        raise SettingsError(f"--revision {revision} found and no --base on a hub; leave it out, or name the hub's model")
    origin = {"base": base, "revision": revision, "data": data, "licence": licence}
    with _packages():
        if bundle is not None:
            _check(run, bundle, origin)
        elif out is not None:
            chosen = {
                "half": half,
                "photographs": photographs,
                "composites": composites,
                "composite_anomalies": composite_anomalies,
            }
            _export(run, out, final, origin, defaults=defaults, again=engines is not None, **chosen)
            if engines is not None:
                _build(out, engines, gpus)
            name = shlex.quote(str(out))
            voice.note(f"next: seas-gen --engine {name} --per-type 10 --out {shlex.quote(f'out/{out.stem}')} --sheet")


def _stages() -> Callable[[str], None]:
    """Says each stage in words, when it begins."""
    from seas_export.stages import told

    say = voice.Stages()
    return lambda stage: say(told(stage))


def _load(path: Path, origin: dict[str, Any], progress: Callable[[str], None]) -> tuple[Run, bool]:
    """The run of a folder, and whether the folder is a published checkpoint."""
    from seas_export.published import checkpoint as published
    from seas_train import run_folder

    progress("run")
    if published.is_published(path):
        licence = origin["licence"] or "not stated"
        return published.load(path, origin["base"], origin["data"], licence, progress, origin["revision"]), True
    if given := [f"--{name}" for name, value in origin.items() if value is not None]:
        raise SettingsError(f"{', '.join(given)} found, but {path} is no published checkpoint; leave it out: a run has its own")
    return run_folder.load(path), False


def _export(
    path: Path, out: Path, final: str | None, origin: dict[str, Any], *, defaults: dict[str, Any], again: bool, **chosen: Any
) -> None:
    """Export, unless the bundle is there and `again` says that more is to come of the same command."""
    from seas_export.bundle import ExportSettings, defaults_of, export, made_before, require_free

    began = time.monotonic()
    if not again:
        require_free(out)
    progress = _stages()
    run, published = _load(path, origin, progress)
    final = final or ("published" if published else "zero")
    settings = ExportSettings(final=final, defaults=defaults_of(run, defaults), **chosen)
    if again and made_before(run, out, settings) is not None:
        return voice.tell(f"already done: the bundle {out}", bundle=out, already=True)
    manifest = export(run, out, settings, progress)
    size = sum(entry.bytes for entry in manifest.files.values())
    pictures = sum(manifest.files[name].bytes for name in manifest.pictures)
    composites = f" and {len(manifest.patches)} composites" if manifest.patches else ""
    told = f" ({len(manifest.photographs)} photographs{composites}, {pictures / 1e6:.1f} MB)" if manifest.photographs else ""
    single = [name for name, graph in manifest.graphs.items() if "fp16" not in graph.files] if settings.half else []
    told += f", {', '.join(single)} in fp32 alone" if single else ""
    facts = {"bytes": size, "photographs": len(manifest.photographs or ()), "digest": manifest.digest, "fp32_graphs": single}
    line = f"{out}: {size / 1e6:.1f} MB{told}, {time.monotonic() - began:.0f} s, digest {manifest.digest}"
    return voice.tell(line, bundle=out, already=False, parity=manifest.parity, **facts)


def _build(out: Path, variant: Literal["rtx", "tensorrt"], gpus: list[str]) -> None:
    from seas_runtime.backends.tensorrt import build
    from seas_runtime.doctor import describe_engines

    began = time.monotonic()
    found = build.build(out, variant, gpus, progress=voice.Stages())
    voice.tell(f"{found.path}: {describe_engines(found)}, {time.monotonic() - began:.0f} s", engines=found.path)


def _check(path: Path, bundle: Path, origin: dict[str, Any]) -> None:
    from seas_export import parity
    from seas_export.check import check

    progress = _stages()
    run, _ = _load(path, origin, progress)
    rows = check(run, bundle, progress)
    summary = parity.summary(rows)
    voice.tell(parity=summary)
    for precision, graphs in summary.items():
        for graph, outputs in graphs.items():
            for output, worst in outputs.items():
                figures = ", ".join(f"{name} {value:.3g}" for name, value in worst.items())
                voice.tell(f"{precision}  {graph + '.' + output:<24}{figures}")
    parity.require(rows)
    steps = len({row.case for row in rows})
    voice.tell(f"ok: {steps} steps, {len(rows)} outputs within their bounds", bundle=bundle, steps=steps, outputs=len(rows))


@contextmanager
def _packages() -> Iterator[None]:
    """Quiet libraries; one that is missing is an error of one line."""
    try:
        with voice.loading("torch", "loading PyTorch"):
            import diffusers
            import onnx_ir  # noqa: F401
            import onnxruntime  # noqa: F401
            import onnxscript  # noqa: F401
            import torch  # noqa: F401
            import transformers
    except ImportError as error:
        raise BackendError(f"seas-export needs the export packages ({error}); run: {HINT}") from error
    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
        library.utils.logging.set_verbosity_error()
    yield
