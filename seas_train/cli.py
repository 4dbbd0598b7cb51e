"""`seas-train`. Heavy imports wait until a command needs them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seas_runtime import voice
from seas_runtime.commands import VERSION, Group, interval_of
from seas_runtime.errors import SettingsError
from seas_runtime.files import write_atomic
from seas_runtime.sampling.defaults import PAPER
from seas_train import headings
from seas_train.base.settings import BaseSettings
from seas_train.base_options import base_licence, base_options
from seas_train.config import MaskSettings, Settings, TuneSettings
from seas_train.data_cli import check, demo_data
from seas_train.distill.settings import DistillSettings
from seas_train.folders import data_source
from seas_train.options import ESTIMATE, LICENCE, OUT, already, say, settings_options, stopwatch
from seas_train.output import held, one_voice, output, read_json, require_same, tidy
from seas_train.pipeline.cli import everything
from seas_train.quiet import hush
from seas_train.report.cli import report

if TYPE_CHECKING:
    from seas_train.data.layouts import Product
    from seas_train.data.source import Source
    from seas_train.models.origin import Origin

PATH = click.Path(path_type=Path)
EXAMPLES = """\b
Examples:
  seas-train demo-data out/demo
  seas-train check out/demo/bottle
  seas-train base out/demo/bottle --out out/base
  seas-train tune out/demo/bottle --base out/base --out out/run --preset tiny
  seas-train masks out/run out/demo/bottle --preset tiny
  seas-train sample out/run --out out/samples --count 8
  seas-train all out/demo/bottle --base out/base --out bottle.plan --preset tiny   # all of these but the base

An interrupted training continues when the same command is given again.

\b
Exit codes: 0 done, 1 training failed, 2 usage, 3 bad data, base model or run, 5 output problem,
130 interrupted."""


class _Group(Group):
    """Commands of which, of several processes, the first alone speaks."""

    def invoke(self, ctx: click.Context) -> Any:
        with one_voice():
            return super().invoke(ctx)


@click.group(cls=_Group, epilog=EXAMPLES)
@VERSION
def main() -> None:
    """Train a generator of anomaly images and masks: base model, fine-tuning, mask branch."""


main.add_command(demo_data)
main.add_command(check)
main.add_command(everything)
main.add_command(report)


@main.command(headings=headings.BASE, epilog="Example: seas-train base photographs/tile photographs/nut --out out/base")
@click.argument("images", type=PATH, nargs=-1, required=True)
@OUT
@LICENCE
@click.option(
    "--keep-every",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Steps of the U-Net after which what it would leave is kept in OUT/marks/STEP, 0 for never.",
)
@ESTIMATE
@settings_options(BaseSettings)
def base(images: tuple[Path, ...], out: Path, licence: str, keep_every: int, *, estimate: bool, settings: BaseSettings) -> None:
    """Train a small base model from scratch on folders of IMAGES, offline.

    A product's folder in a layout that `seas-train check` knows gives its normal images (--defects: its anomalies
    too), any other folder all images below it.
    """
    hush()
    if estimate:
        from seas_train import estimates

        return voice.tell_each(estimates.of_base(images, settings), "estimate")
    from seas_train import onward
    from seas_train.base.train import train

    provenance: dict[str, object] = {"data": [folder.resolve().name for folder in images], "licence": licence}
    if (out / "base.json").is_file():
        saved = read_json(out / "base.json")
        stated = {**_asked(BaseSettings(), {}), **saved["settings"]}  # an earlier version did not know all of them
        require_same(out, {**stated, **saved["provenance"]}, _asked(settings, provenance))
        tidy(out, "base")
        return already(f"the base model {out}", out=out)
    told = stopwatch(f"trained the base model {out}", onward.after_base(images, out, settings), out=out)
    with output(out, "base", (out / "base.json").is_file), told:
        train(images, out, settings, provenance, keep_every)
    return None


@main.command(headings=headings.TUNE, epilog="Example: seas-train tune data/tile --base out/base --out out/run --preset tiny")
@data_source
@base_options(required=True)
@OUT
@LICENCE
@ESTIMATE
@settings_options(TuneSettings)
def tune(*, source: Source, base: Origin, out: Path, licence: str, estimate: bool, settings: TuneSettings) -> None:
    """Fine-tune a base model on the product in the folder DATA, or in --anomalies, --masks and --normals."""
    hush()
    from seas_train import onward, run_folder
    from seas_train.tune import train

    product = _product(source, settings.defects)
    if estimate:
        from seas_train import estimates

        return voice.tell_each(estimates.of_tune(product, base, settings, say), "estimate")
    provenance: dict[str, object] = {
        "data": f"{product.name} ({product.layout})",
        "licence": licence,
        "base_licence": base_licence(base.path),
    }
    if (out / "run.json").is_file():
        facts = run_folder.load_facts(out)
        saved = {**facts.tune.model_dump(mode="json"), **facts.provenance, "fit": facts.fit}
        fit = facts.fit if settings.fit == "auto" else settings.fit  # what "auto" chose is said in the run
        require_same(out, saved, {**_asked(settings, provenance), "base": base.name, **base.asked, "fit": fit})
        tidy(out, "tune")
        source.remembered_by(out)
        return already(f"the run {out}", out=out)
    done = f"tuned {product.name} ({len(product.defects)} types) into {out}"
    told = stopwatch(done, onward.after_tune(out), out=out, product=product.name, types=product.defects)
    with output(out, "tune", (out / "run.json").is_file), told:
        train(product, base, out, settings, provenance, say)
        source.remember(out)
    return None


@main.command(headings=headings.MASKS, epilog="Example: seas-train masks out/run data/tile --preset tiny")
@click.argument("run", type=PATH)
@data_source
@ESTIMATE
@settings_options(MaskSettings)
def masks(run: Path, source: Source, *, estimate: bool, settings: MaskSettings) -> None:
    """Train the mask branch of a fine-tuned RUN on the DATA it was tuned on, which the run remembers."""
    hush()
    from seas_train import onward, run_folder
    from seas_train.masks import train

    facts = run_folder.load_facts(run)
    source = source.or_remembered(run)
    if estimate:
        from seas_train import estimates

        return voice.tell_each(estimates.of_masks(run, _product(source), settings), "estimate")

    def finished() -> bool:
        return (run / "rmp" / "config.json").is_file() and run_folder.load_facts(run).masks is not None

    if facts.masks is not None and finished():
        require_same(run / "rmp", facts.masks.model_dump(mode="json"), _asked(settings, {}))
        tidy(run, "masks")
        return already(f"the mask branch {run / 'rmp'}", run=run)
    product, then = _product(source), onward.after_masks(run, facts.product)
    with held(run, "masks", finished), stopwatch(f"trained the mask branch {run / 'rmp'}", then, run=run):
        train(run, product, settings)
    return None


@main.command(
    headings=headings.DISTILL, epilog="Example: seas-train distill out/run data/tile --out out/fast --steps 4 --preset demo"
)
@click.argument("run", type=PATH)
@data_source
@OUT
@settings_options(DistillSettings, only=set(DistillSettings.model_fields) - {"cache_latents"})
def distill(run: Path, source: Source, out: Path, settings: DistillSettings) -> None:
    """Distil the U-Net of a fine-tuned RUN into a student of few steps, with the guidance inside, as a run of its own.

    With the DATA that RUN was tuned on the student learns from its training anomalies too. Train its mask branch next:
    seas-train masks OUT DATA --look final.
    """
    hush()
    from seas_train import run_folder
    from seas_train.distill.train import train

    if (out / "run.json").is_file():
        made = run_folder.load_facts(out)
        saved = {**(made.distill.model_dump(mode="json") if made.distill else {}), "teacher": made.provenance.get("teacher")}
        require_same(out, saved, _asked(settings, {"teacher": run.resolve().name}))
        tidy(out, "distill")
        return already(f"the student {out}", out=out)
    run_folder.load_facts(run)
    product = _product(source) if source.data is not None or source.folders else None
    with output(out, "distill", (out / "run.json").is_file), stopwatch(f"distilled {run} into {out}", out=out, run=run):
        train(run, product, out, settings)
    return None


@main.command(epilog="Example: seas-train sample out/run --out out/samples --count 16 --defect crack")
@click.argument("run", type=PATH)
@OUT
@click.option("--count", type=click.IntRange(1), default=8, metavar="N", help="Pairs; types take turns.")
@click.option("--defect", "defects", multiple=True, metavar="NAME", show_default="all", help="A type; may be repeated.")
@click.option("--seed", type=click.IntRange(0), default=0, metavar="N", help="Pair i depends on (seed, i), as in seas-gen.")
@click.option("--steps", type=click.IntRange(1, 999), metavar="N", show_default="25, or a student's", help="Solver steps.")
@click.option("--guidance", type=click.FloatRange(1, 100), metavar="X", show_default="8, or a student's", help="Prompt weight.")
@click.option(
    "--guidance-interval",
    "interval",
    type=interval_of,
    default="0:1",
    metavar="A:B",
    help="The part of the noise schedule that is guided, 0 the clean picture, 1 the first step.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=PAPER.threshold,
    metavar="P",
    help="Mask probability above which a pixel is anomalous.",
)
@click.option("--batch", type=click.IntRange(1), default=4, metavar="N", help="Pairs made together.")
def sample(run: Path, out: Path, defects: tuple[str, ...], **given: Any) -> None:
    """Generate pairs with the PyTorch reference sampler: slow, the truth that bundles are compared with.

    Writes OUT/DEFECT/000000.png and 000000_mask.png, and OUT/sheet.png.
    """
    hush()
    from seas_train import reference, run_folder, samples
    from seas_train.reference import SampleSettings

    tuned = run_folder.load(run)
    run_folder.require_masks(tuned)
    types = _chosen(defects, tuned.facts.defects)
    usual = reference.usual(tuned)
    steps, guidance = given.pop("steps") or usual.steps, given.pop("guidance") or usual.guidance
    interval = given.pop("interval")
    asked = {"run": str(run), "defects": list(types), "steps": steps, "guidance": guidance, "interval": list(interval), **given}
    record = out / "sample.json"
    if record.is_file():
        require_same(out, {"interval": [0.0, 1.0], **read_json(record)}, asked)
    settings = SampleSettings(steps, guidance, min(PAPER.mask_steps, steps), interval=interval)
    reference.fits(tuned, settings)
    done = f"sampled {given['count']} pairs into {out}"
    with output(out, "sample"), stopwatch(done, out=out, pairs=given["count"], sheet=out / "sheet.png"):
        out.mkdir(parents=True, exist_ok=True)
        write_atomic(record, json.dumps(asked, indent=2) + "\n")
        samples.write(tuned, out, samples.Order(types, **given), settings)


def _chosen(asked: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    for defect in asked:
        if defect not in known:
            raise SettingsError(f"unknown defect type {defect!r}; the run has {', '.join(known)}")
    return tuple(defect for defect in known if defect in asked) or known


def _product(source: Source, defects: Collection[str] = ()) -> Product:
    """Read and check a data set, or these defect types of it, and show its warnings."""
    from seas_train.data import layouts
    from seas_train.data.check import check

    product = layouts.only(source.read(), tuple(defects))
    for warning in check(product):
        voice.warn(warning)
    return product


def _asked(settings: Settings, more: Mapping[str, Any]) -> dict[str, Any]:
    return {**settings.model_dump(mode="json"), **more}
