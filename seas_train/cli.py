"""`seas-train`. Heavy imports wait until a command needs them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seas_runtime.commands import Ending
from seas_runtime.errors import DataError, SettingsError
from seas_runtime.files import write_atomic
from seas_runtime.sampling.defaults import PAPER
from seas_runtime.terminal import shown
from seas_train.base_options import base_licence, base_options
from seas_train.config import BaseSettings, MaskSettings, TuneSettings
from seas_train.folders import data_source
from seas_train.options import LICENCE, OUT, output, read_json, require_same, settings_options, writing
from seas_train.quiet import hush

if TYPE_CHECKING:
    from seas_train.data.layouts import Product
    from seas_train.data.source import Source
    from seas_train.models.origin import Origin

INTERRUPTED = 130
PATH = click.Path(path_type=Path)
EXAMPLES = """\b
Examples:
  seas-train demo-data out/demo
  seas-train check out/demo/bottle
  seas-train base out/demo/bottle --out out/base
  seas-train tune out/demo/bottle --base out/base --out out/run --preset tiny
  seas-train masks out/run out/demo/bottle --preset tiny
  seas-train sample out/run --out out/samples --count 8

An interrupted training continues when the same command is given again.

\b
Exit codes: 0 done, 1 training failed, 2 usage, 3 bad data, base model or run, 5 output problem,
130 interrupted."""


class _Group(Ending, click.Group):
    """Commands that end an interrupt with one line and the exit code of the house."""

    def invoke(self, ctx: click.Context) -> Any:
        with _one_voice():
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:
                click.echo("Interrupted: the same command continues from what is saved.", err=True)
                ctx.exit(INTERRUPTED)


@contextmanager
def _one_voice() -> Iterator[None]:
    """Of several processes (torchrun numbers them in RANK) the first alone speaks; an error is told by each that has one."""
    if os.environ.get("RANK", "0") == "0":
        yield
        return
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


@click.group(cls=_Group, epilog=EXAMPLES, context_settings={"show_default": True, "max_content_width": 100})
@click.version_option(package_name="seas", message="%(package)s %(version)s")
def main() -> None:
    """Train a generator of anomaly images and masks: base model, fine-tuning, mask branch."""


@main.command("demo-data", epilog="Example: seas-train demo-data out/demo --product tile --per-defect 40")
@click.argument("out", type=PATH)
@click.option("--product", default="bottle", metavar="NAME", help="bottle, tile or nut.")
@click.option("--size", type=int, default=128, metavar="PIXELS", help="Side of the images, 64 to 1024.")
@click.option("--normals", type=int, default=60, metavar="N", help="Normal images for training.")
@click.option("--per-defect", type=int, default=20, metavar="N", help="Image-mask pairs of each defect type.")
@click.option("--test-normals", type=int, default=20, metavar="N", help="Normal images for testing.")
@click.option("--seed", type=int, default=0, metavar="N", help="Seed of everything drawn.")
@click.option("--variety", type=float, default=0.0, metavar="X", help="0 one production line, 1 any.")
def demo_data(out: Path, product: str, size: int, **counts: Any) -> None:
    """Draw a procedural data set into OUT/PRODUCT (MVTec AD layout)."""
    from seas_train.data import demo

    with _stopwatch(f"drew {product} into {out / product}"):
        demo.write(out, product, size, **counts)


@main.command(epilog="Example: seas-train check data/VisA/candle --train-share 0.5 --size 256")
@data_source
@base_options(required=False)
@settings_options(TuneSettings, only=("seed", "normals", "train_share", "split", "shots"))
def check(source: Source, base: Origin | None, settings: TuneSettings) -> None:
    """Look at every file of the product DATA: counts, sizes, mask areas, and all that is wrong (then exit code 3).

    Says which images a training with the same options takes, which files are not read, and which defects it cannot see.
    With --base, alone or beside DATA: what the base is, as far as its configs tell, or why it cannot be trained.
    """
    size = (base and base.size) or 512
    if base is not None and base.source:
        size = _check_base(base)
        if source.data is None and not source.folders:
            return
    from tqdm import tqdm

    from seas_train.data.advice import advise
    from seas_train.data.check import inspect

    product = source.scan()
    count = len(product.normals) + len(product.test_normals) + len(product.anomalies)
    with tqdm(total=count, unit="image", leave=False, disable=None) as bar:  # None: only on a terminal
        report = inspect(product, bar.update)
    told = advise(report, settings, size, source.places())
    click.echo(f"{product.name} ({product.layout})\n\n{report.table()}\n")
    for kind, lines in told.items():
        for line in lines:
            click.echo(shown(f"{kind}: {line}"))
    problems, warned = len(told["Problem"]), len(told["Warning"])
    click.echo(f"problems: {problems}, warnings: {warned}")
    if problems:
        raise DataError(f"{product.root}: problems found ({problems}), expected none; fix them and check again")


def _check_base(base: Origin) -> int:
    """Tell what a base is; gives the side of its images in pixels."""
    hush()
    from seas_train.models import components

    found = components.inspect(base)
    click.echo(shown(base.source))
    for line in found.lines():
        click.echo(shown(line))
    return found.image_size


@main.command(epilog="Example: seas-train base photographs/tile photographs/nut --out out/base")
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
@settings_options(BaseSettings)
def base(images: tuple[Path, ...], out: Path, licence: str, keep_every: int, settings: BaseSettings) -> None:
    """Train a small base model from scratch on folders of IMAGES, offline.

    A product's folder in a layout that `seas-train check` knows gives its normal images (--defects: its anomalies
    too), any other folder all images below it.
    """
    hush()
    from seas_train.base.train import train

    provenance: dict[str, object] = {"data": [folder.resolve().name for folder in images], "licence": licence}
    if (out / "base.json").is_file():
        saved = read_json(out / "base.json")
        stated = {**_asked(BaseSettings(), {}), **saved["settings"]}  # an earlier version did not know all of them
        require_same(out, {**stated, **saved["provenance"]}, _asked(settings, provenance))
        return click.echo(f"already done: the base model {out}")
    with output(out, "base"), _stopwatch(f"trained the base model {out}"):
        train(images, out, settings, provenance, keep_every)
    return None


@main.command(epilog="Example: seas-train tune data/tile --base out/base --out out/run --preset tiny")
@data_source
@base_options(required=True)
@OUT
@LICENCE
@settings_options(TuneSettings)
def tune(*, source: Source, base: Origin, out: Path, licence: str, settings: TuneSettings) -> None:
    """Fine-tune a base model on the product in the folder DATA, or in --anomalies, --masks and --normals."""
    hush()
    from seas_train import run_folder
    from seas_train.tune import train

    product = _product(source)
    provenance: dict[str, object] = {
        "data": f"{product.name} ({product.layout})",
        "licence": licence,
        "base_licence": base_licence(base.path),
    }
    if (out / "run.json").is_file():
        facts = run_folder.load_facts(out)
        saved = {**facts.tune.model_dump(mode="json"), **facts.provenance}
        require_same(out, saved, {**_asked(settings, provenance), "base": base.name, **base.asked})
        return click.echo(f"already done: the run {out}")
    with output(out, "tune"), _stopwatch(f"tuned {product.name} ({len(product.defects)} types) into {out}"):
        train(product, base, out, settings, provenance)
    return None


@main.command(epilog="Example: seas-train masks out/run data/tile --preset tiny")
@click.argument("run", type=PATH)
@data_source
@settings_options(MaskSettings)
def masks(run: Path, source: Source, settings: MaskSettings) -> None:
    """Train the mask branch of a fine-tuned RUN on the DATA it was tuned on."""
    hush()
    from seas_train import run_folder
    from seas_train.masks import train

    facts = run_folder.load_facts(run)
    if facts.masks is not None and (run / "rmp" / "config.json").is_file():
        require_same(run / "rmp", facts.masks.model_dump(mode="json"), _asked(settings, {}))
        return click.echo(f"already done: the mask branch {run / 'rmp'}")
    product = _product(source)
    with writing(run), _stopwatch(f"trained the mask branch {run / 'rmp'}"):
        train(run, product, settings)
    return None


@main.command(epilog="Example: seas-train sample out/run --out out/samples --count 16 --defect crack")
@click.argument("run", type=PATH)
@OUT
@click.option("--count", type=click.IntRange(1), default=8, metavar="N", help="Pairs; types take turns.")
@click.option("--defect", "defects", multiple=True, metavar="NAME", show_default="all", help="A type; may be repeated.")
@click.option("--seed", type=click.IntRange(0), default=0, metavar="N", help="Pair i depends on (seed, i), as in seas-gen.")
@click.option("--steps", type=click.IntRange(1, 999), default=PAPER.steps, metavar="N", help="Solver steps.")
@click.option("--guidance", type=click.FloatRange(1, 100), default=PAPER.guidance, metavar="X", help="Prompt weight.")
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
    from seas_train import run_folder, samples
    from seas_train.reference import SampleSettings

    tuned = run_folder.load(run)
    run_folder.require_masks(tuned)
    types = _chosen(defects, tuned.facts.defects)
    asked = {"run": str(run), "defects": list(types), **given}
    record = out / "sample.json"
    if record.is_file():
        require_same(out, read_json(record), asked)
    steps, guidance = given.pop("steps"), given.pop("guidance")
    settings = SampleSettings(steps, guidance, mask_steps=min(PAPER.mask_steps, steps))
    with output(out, "sample"), _stopwatch(f"sampled {given['count']} pairs into {out}"):
        out.mkdir(parents=True, exist_ok=True)
        write_atomic(record, json.dumps(asked, indent=2) + "\n")
        samples.write(tuned, out, samples.Order(types, **given), settings)


def _chosen(asked: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    for defect in asked:
        if defect not in known:
            raise SettingsError(f"unknown defect type {defect!r}; the run has {', '.join(known)}")
    return tuple(defect for defect in known if defect in asked) or known


def _product(source: Source) -> Product:
    """Read and check a data set and show its warnings."""
    from seas_train.data.check import check

    product = source.read()
    for warning in check(product):
        click.echo(shown(f"Warning: {warning}"), err=True)
    return product


def _asked(settings: BaseSettings | TuneSettings | MaskSettings, more: Mapping[str, Any]) -> dict[str, Any]:
    return {**settings.model_dump(mode="json"), **more}


@contextmanager
def _stopwatch(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    click.echo(f"{what} in {time.monotonic() - began:.0f} s")
