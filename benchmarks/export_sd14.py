"""Export at full size: a v1-4 run of random weights -> fp16 bundle -> TensorRT-RTX engines, with seconds, memory and parity.

    python -m benchmarks.export_sd14 --work DIR

Random weights have the speed, the sizes and the graphs of real ones; magnitudes and with them the choice of fp32 places
are not theirs: that fp16 holds the activations of real v1-4 weights is not shown here. Each stage is a process of its own,
a finished one is skipped. Saves export_PRESET.md and .json; `--preset tiny` tries the script in a minute or two;
`sd21-base` and `sd21` are Stable Diffusion 2.1 at 512 and 768 pixels.
"""

from __future__ import annotations

import json
import math
import resource
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from benchmarks import common

DEFECTS = ("crack", "hole")
PARITY = ("reference", "ranges", "parity")  # stages that run the networks
Stage = dict[str, Any]


class Stages:
    """Names, seconds and peak resident memory (of the process so far) of consecutive stages."""

    def __init__(self) -> None:
        self.done: list[Stage] = []
        self._name, self._began = "", 0.0

    def __call__(self, name: str) -> None:
        """End the stage in progress and begin another; an empty name ends only."""
        now = time.monotonic()
        if self._name:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            self.done.append({"stage": self._name, "seconds": round(now - self._began, 1), "peak_gib": round(peak, 2)})
            click.echo(f"{self._name}: {self.done[-1]['seconds']} s, peak {peak:.1f} GiB")
        self._name, self._began = name, now


def make_run(work: Path, preset: str, student: bool = False, decoder: str = "own") -> list[Stage]:
    """Save a run folder whose networks have the preset's sizes and random weights.

    Args:
        work: where it goes, as `run`.
        preset: a name of `components.GEOMETRIES`.
        student: whether it is one, with a mask branch that looks once.
        decoder: `MaskSettings.decoder`.
    """
    import torch

    from seas_train import masks, prompts, run_folder
    from seas_train.config import MaskSettings, TuneSettings, resolve
    from seas_train.distill.settings import DistillSettings
    from seas_train.models import components, small_decoder
    from seas_train.models.rmp import RefinedMaskPredictor

    stages = Stages()
    stages("random run")
    torch.manual_seed(0)
    geometry = components.GEOMETRIES[preset]
    prediction = "v_prediction" if preset == "sd21" else "epsilon"
    model = components.build(geometry, ["an object with a defect"], prediction=prediction)
    settings = TuneSettings()
    texts = prompts.compose(DEFECTS, settings)
    prompts.add_tokens(model.tokenizer, texts)
    side = geometry.image_size // 8
    latents = (60, geometry.latent_channels, side, side)
    facts = run_folder.Facts(
        product="random",
        prompts=texts,
        tune=settings,
        provenance={"base": "random weights", "licence": "not applicable"},
        train=(),
        held_out=(),
        normals=tuple(f"{i:03}" for i in range(latents[0])),
        distill=DistillSettings() if student else None,
    )
    folder = work / "run"
    rows = torch.randn(len(texts.tokens), geometry.text_width) * 0.02
    run_folder.save_tuned(folder, facts, model, rows, (torch.randn(latents), torch.rand(latents) * 0.1))
    asked = {"look": "final" if student else "steps", "decoder": decoder}
    widths = resolve(MaskSettings, "tiny" if preset == "tiny" else "paper", None, asked)
    run = run_folder.load(folder)
    if decoder == "small":
        config = small_decoder.config_for(run.model.vae, widths.decoder_channels)
        small_decoder.keep(folder, config, small := small_decoder.build(config))
        small_decoder.attach(run.model.vae, small)
    rmp = RefinedMaskPredictor(masks.config_for(run, widths))
    run_folder.save_masks(folder, facts.model_copy(update={"masks": widths}), rmp)
    stages("")
    return stages.done


def export_bundle(work: Path, preset: str) -> list[Stage]:
    """Export the run as an fp16 bundle."""
    from seas_export.bundle import ExportSettings, export
    from seas_runtime.bundle.manifest import Defaults
    from seas_runtime.sampling.defaults import PAPER
    from seas_train import run_folder

    stages = Stages()
    stages("load run")
    loaded = run_folder.load(work / "run")
    defaults = Defaults(**asdict(PAPER))
    stages("check weights")
    export(loaded, work / f"{preset}.plan", ExportSettings(half=True, defaults=defaults), stages)
    stages("")
    return stages.done


def build_engines(work: Path, preset: str) -> list[Stage]:
    """Build the TensorRT-RTX engines of the bundle for all GPUs that need no compromise."""
    from seas_runtime.backends.tensorrt import build

    stages = Stages()
    stages("RTX engines")
    found = build.build(work / f"{preset}.plan", "rtx", progress=click.echo)
    stages("")
    for entry in stages.done:
        entry["gpus"] = list(found.facts.gpus)
    return stages.done


STAGES: dict[str, Callable[[Path, str], list[Stage]]] = {
    "run": make_run,
    "export": export_bundle,
    "engines": build_engines,
}


def sizes(work: Path, preset: str) -> dict[str, Any]:
    """Bytes of the bundle's parts, and of the half-precision weights that the graphs need."""
    plan = work / f"{preset}.plan"
    core = {file.name: file.stat().st_size for file in sorted(plan.iterdir()) if file.is_file()}
    engines = {f.name: f.stat().st_size for f in sorted(plan.glob("engines/*/*")) if f.suffix != ".json"}
    return {"core": core, "engines": engines, "core_over_weights": round(sum(core.values()) / _weights(work / "run"), 4)}


def _weights(folder: Path) -> int:
    """Bytes in fp16 of the U-Net, the VAE decoder and the mask branch."""
    from safetensors import safe_open

    total = 0
    for part in ("unet", "vae", "rmp"):
        for file in (folder / part).glob("*.safetensors"):
            with safe_open(file, "np") as weights:
                for name in weights.keys():  # noqa: SIM118  # not a mapping
                    if not name.startswith(("encoder.", "quant_conv.")):
                        total += 2 * math.prod(weights.get_slice(name).get_shape())
    return total


def parity_table(parity: dict[str, Any]) -> list[str]:
    """A manifest's parity figures as Markdown."""
    lines = ["| precision | graph.output | relative L2 | cosine | mask IoU |", "|---|---|---:|---:|---:|"]
    for precision, graphs in parity.items():
        for graph, outputs in graphs.items():
            for output, worst in outputs.items():
                iou = f"{worst['iou']:.4f}" if "iou" in worst else ""
                lines.append(f"| {precision} | {graph}.{output} | {worst['relative_l2']:.1e} | {worst['cosine']:.7f} | {iou} |")
    return lines


def table(facts: dict[str, Any], preset: str) -> str:
    """The facts as Markdown."""
    lines = [f"# Export of a random-weight {preset} run", ""]
    lines += ["| stage | seconds | peak GiB of its process so far |", "|---|---:|---:|"]
    lines += [f"| {s['stage']} | {s['seconds']} | {s['peak_gib']} |" for s in facts["stages"]]
    lines += [
        f"| export without parity | {facts['without_parity']['seconds']} | {facts['without_parity']['peak_gib']} |",
        "",
        *parity_table(facts["parity"]),
    ]
    core = facts["bytes"]["core"]
    lines += ["", "| file | MB |", "|---|---:|"]
    lines += [f"| {name} | {size / 1e6:.1f} |" for name, size in {**core, **facts["bytes"]["engines"]}.items()]
    lines += [f"| core, {facts['bytes']['core_over_weights']} x the fp16 weights | {sum(core.values()) / 1e6:.1f} |", ""]
    lines += common.listed(facts, "half", "gpus", "machine", "versions", "commit", "command")
    lines += ["- weights are random: that fp16 holds the activations of real v1-4 weights is not shown by this run"]
    return "\n".join([*lines, ""])


def report(work: Path, preset: str, stages: list[Stage]) -> dict[str, Any]:
    """Everything the run showed."""
    manifest = json.loads((work / f"{preset}.plan" / "manifest.json").read_text(encoding="utf-8"))
    split = next(i for i, s in enumerate(stages) if s["stage"] == "reference")
    plain = [s for s in stages if s["stage"] not in (*PARITY, "random run", "RTX engines")]
    return {
        "command": f"python -m benchmarks.export_sd14 --work WORK --preset {preset}",
        **common.machine(),
        "stages": stages,
        "without_parity": {
            "seconds": round(sum(s["seconds"] for s in plain), 1),
            "peak_gib": max(s["peak_gib"] for s in stages[1:split]),
        },
        "bytes": sizes(work, preset),
        "half": manifest["half"],
        "gpus": next(s["gpus"] for s in stages if "gpus" in s),
        "parity": manifest["parity"],
    }


@click.command(help=__doc__)
@click.option("--work", type=click.Path(path_type=Path, file_okay=False), required=True, help="Needs 15 GB at sd14.")
@click.option("--preset", type=click.Choice(["sd14", "sd21-base", "sd21", "tiny"]), default="sd14", show_default=True)
@click.option("--results", type=click.Path(path_type=Path), default=common.RESULTS, help="Where the table goes.")
def main(*, work: Path, preset: str, results: Path) -> None:
    """Run what is not done yet, then save the table."""
    work.mkdir(parents=True, exist_ok=True)
    path = work / f"{preset}.json"
    done: dict[str, list[Stage]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name, stage in STAGES.items():
        if name not in done:
            try:
                done[name] = common.alone(stage, work, preset)
            except MemoryError as error:
                raise click.ClickException(f"{name}: {error}") from None
            path.write_text(json.dumps(done, indent=1), encoding="utf-8")
    facts = report(work, preset, [entry for name in STAGES for entry in done[name]])
    common.save(results / f"export_{preset}", facts, table(facts, preset))
    click.echo(f"saved {results / f'export_{preset}.md'}")


if __name__ == "__main__":
    main()
