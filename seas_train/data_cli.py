"""`seas-train demo-data` and `check`. Heavy imports wait until a command needs them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seas_runtime import voice
from seas_runtime.commands import Command
from seas_runtime.errors import DataError, SettingsError
from seas_train import headings
from seas_train.base_options import base_options
from seas_train.config import MaskSettings, TuneSettings, resolve
from seas_train.folders import data_source
from seas_train.options import ESTIMATE, settings_options, stopwatch
from seas_train.quiet import hush

if TYPE_CHECKING:
    from seas_train.data.source import Source
    from seas_train.models.origin import Origin

PATH = click.Path(path_type=Path)


@click.command("demo-data", cls=Command, epilog="Example: seas-train demo-data out/demo --product tile --per-defect 40")
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
    with voice.loading("numpy", f"drawing {product}"):
        from seas_train.data import demo

    with stopwatch(f"drew {product} into {out / product}", out=out / product):
        demo.write(out, product, size, **counts)


@click.command(
    cls=Command, headings=headings.CHECK, epilog="Example: seas-train check data/VisA/candle --train-share 0.5 --size 256"
)
@data_source
@base_options(required=False)
@ESTIMATE
@settings_options(TuneSettings, only=("fit", "seed", "normals", "train_share", "split", "shots"))
def check(source: Source, base: Origin | None, settings: TuneSettings, *, estimate: bool) -> None:
    """Look at every file of the product DATA: counts, sizes, mask areas, and all that is wrong (then exit code 3).

    Says which images a training with the same options takes, which files are not read, and which defects it cannot see.
    With --base, alone or beside DATA: what the base is, as far as its configs tell, or why it cannot be trained.
    """
    size, known = (base and base.size) or 512, base is not None and base.source
    if estimate and not known:
        raise SettingsError("--estimate times a step of training and needs the base model; add --base BASE")
    if base is not None and known:
        size = _check_base(base)
        if source.data is None and not source.folders and not estimate:
            return
    with voice.loading("numpy", "looking at the images"):
        from seas_train.data import layouts
        from seas_train.data.advice import advise
        from seas_train.data.check import inspect

    product = source.scan()
    count = len(product.normals) + len(product.test_normals) + len(product.anomalies)
    with voice.progress(count, "looking", "image") as bar:
        report = inspect(product, bar.update)
    told = advise(report, settings, size, source.places(), base.fit if base is not None and known else None)
    if not known and (base is None or base.size is None):
        told["Training"].append(f"by a model of {size} x {size} pixels; a small base that is trained here has 128: see --size 128")
    found = {kind.lower(): lines for kind, lines in told.items()}
    voice.tell(f"{product.name} ({product.layout})", "", *report.table().splitlines(), "", product=product.name, **found)
    for kind, lines in told.items():
        voice.tell(*(f"{kind}: {line}" for line in lines))
    problems, warned = len(told["Problem"]), len(told["Warning"])
    voice.tell(f"problems: {problems}, warnings: {warned}", layout=product.layout, images=count)
    if problems:
        raise DataError(f"{product.root}: problems found ({problems}), expected none; fix them and check again")
    if estimate and base is not None:
        from seas_train import estimates

        preset = click.get_current_context().params["preset"]
        both = settings, resolve(MaskSettings, preset, None, {})
        voice.tell_each(estimates.of_both(layouts.faultless(product), base, both, _pass), "estimate")


def _pass(_line: str) -> None:
    pass


def _check_base(base: Origin) -> int:
    """Tell what a base is; gives the side of its images in pixels."""
    hush()
    from seas_train.models import components

    found = components.inspect(base)
    voice.tell(base.source)
    voice.tell_each(found.lines(), "base")
    return found.image_size
