"""`seas-data import`. Heavy imports wait until it runs."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seas_runtime import voice
from seas_runtime.commands import Recorded

if TYPE_CHECKING:
    from seas_runtime.dataset.importers.plan import Plan

PATH = click.Path(path_type=Path)
EXAMPLES = """\b
Examples:
  seas-data import photos/valve --into data/valve --dry-run
  seas-data import export/annotations.json --images photos --normals photos/good --into data/valve
  seas-data import photos/valve --into data/valve --type 1=scratch --type "#ff0000=dent" --yes
  seas-data import photos/valve --into data/valve --fit tile --size 512

\b
Reads LabelMe, COCO (also of CVAT and Roboflow), CVAT XML, Label Studio, VIA, Supervisely, YOLO, Pascal VOC,
masks of classes, pictures of masks, and the trees of MVTec AD, AD 2, LOCO and 3D, VisA, BTAD, MPDD,
Real-IAD and KolektorSDD. It first says what it understood. Where something may have been mistaken or would
be lost it asks, or without a terminal stops with exit code 3; --yes goes on. DIR appears whole or not at all.

\b
Exit codes: 0 done, 2 usage, 3 data that need a look, 5 output problem, 130 interrupted."""


def _types(_ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> dict[str, str]:
    types = {}
    for text in value:
        word, equals, title = text.rpartition("=")
        if not equals or not word.strip():
            raise click.BadParameter(f"{text!r} found, FOUND=NAME expected, as in 1=scratch or '#ff0000=dent'")
        types[word.strip()] = title.strip()
    return types


@click.command("import", cls=Recorded, epilog=EXAMPLES)
@click.argument("source", type=PATH)
@click.option("--into", type=PATH, required=True, metavar="DIR", help="The product's folder, new; training takes it.")
@click.option("--name", metavar="TITLE", show_default="the name of DIR", help="The product's title, in any script.")
@click.option("--format", "format_", default="auto", metavar="NAME", help="labelme, coco, cvat, masks, mvtec, ...")
@click.option("--images", type=PATH, multiple=True, metavar="FOLDER", help="Where annotated pictures lie as well.")
@click.option("--normals", type=PATH, multiple=True, metavar="FOLDER", help="Pictures of faultless products.")
@click.option(
    "--type",
    "types",
    multiple=True,
    callback=_types,
    metavar="FOUND=NAME",
    help="Give a label, number or colour this name; an empty one leaves it out. May be repeated.",
)
@click.option(
    "--unmarked",
    type=click.Choice(("auto", "normal", "leave")),
    default="auto",
    help="What pictures without a mark are; auto looks at the names of their folders.",
)
@click.option(
    "--inverted",
    type=click.Choice(("auto", "yes", "no")),
    default="auto",
    help="Whether masks are dark where the anomaly is.",
)
@click.option(
    "--line-width",
    type=click.FloatRange(0, 1000, min_open=True),
    metavar="PIXELS",
    help="Of lines and points.",
)
@click.option(
    "--fit",
    type=click.Choice(("keep", "stretch", "pad", "crop", "tile")),
    default="keep",
    help="Leave pictures as they are, or make them squares of --size; tile cuts them up.",
)
@click.option("--size", type=click.IntRange(16, 4096), default=512, metavar="PIXELS", help="Side of the model.")
@click.option(
    "--overlap",
    type=click.FloatRange(0, 0.9, max_open=True),
    default=0.25,
    metavar="SHARE",
    help="Of neighbouring tiles.",
)
@click.option("--normal-tiles", is_flag=True, help="Tiles of anomalous pictures without a mark are normal pictures.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--yes", is_flag=True, help="Go on where something is in doubt or left out.")
@click.pass_context
def import_source(ctx: click.Context, /, *, source: Path, into: Path, format_: str, dry_run: bool, yes: bool, **asked: Any) -> None:
    """Make a product's folder from the annotated pictures in SOURCE."""
    with voice.loading("numpy", f"looking at {source}"):
        from seas_runtime.dataset.importers.importing import make_plan, readers
        from seas_runtime.dataset.importers.settings import ImportSettings
        from seas_runtime.dataset.importers.table import describe
        from seas_runtime.dataset.importers.writing import require_new, write

    settings = ImportSettings(format=format_, **asked)
    if not dry_run:
        require_new(into)
    with readers() as pool:
        with voice.progress(None, "looking at pictures", "picture") as bar:
            plan = make_plan(source, into, settings, pool, bar.update)
        voice.tell(*describe(plan), **_facts(plan))
        if dry_run:
            return voice.tell("", f"next: seas-data import {shlex.join(w for w in ctx.meta['words'] if w != '--dry-run')}")
        _agree(plan, yes)
        with voice.progress(len(plan.entries), "writing pictures", "picture") as bar:
            write(plan, into, pool, bar.update)
    return voice.tell("", f"{into}: written; next: seas-train check {shlex.quote(str(into))}", into=into)


def _facts(plan: Plan) -> dict[str, object]:
    """A plan as `--json` tells it."""
    return {"format": plan.format, "pictures": len(plan.entries), "doubts": plan.doubts, "left_out": len(plan.left_out)}


def _agree(plan: Plan, yes: bool) -> None:
    """Let a person decide where something may have been mistaken or is lost; raises DataError where nobody can."""
    from seas_runtime.dataset.importers.words import counted
    from seas_runtime.errors import DataError

    if yes or not (plan.doubts or plan.lost):
        return
    found = f"{counted(len(plan.doubts), 'doubt')} and {counted(len(plan.lost), 'file')} left out"
    if voice.hidden():
        for doubt in plan.doubts:
            voice.warn(doubt)
    if _is_terminal() and click.confirm(f"\n{found}. Go on?"):
        return
    raise DataError(f"{found}, see above; nothing was written. Mend them, or go on with --yes")


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()
