"""`seas-data export`. Heavy imports wait until it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from seas_runtime import voice
from seas_runtime.commands import Command
from seas_runtime.dataset.exporters import FORMATS
from seas_runtime.errors import SettingsError

FORMAT_LINES = "\n".join(f"  {name:<11} {form.title}" for name, form in FORMATS.items())
EXAMPLES = f"""\b
Formats:
{FORMAT_LINES}

\b
Examples:
  seas-data export out/bottle --to coco --into data/bottle-coco
  seas-data export out/bottle --to yolo --into data/bottle-yolo --val 0.1 --seed 7
  seas-data export out/bottle --to anomalib --into data/anomalib --normals photos/good --link
  seas-data export out/bottle --to webdataset --into shards --shard-size 5000 --accepted-only

What a review rejected is left out and masks that it edited take the place of the original ones. The same command
again does nothing, or makes the export again if OUT has changed.

\b
Exit codes: 0 done, 2 usage, 3 a damaged OUT, 5 DIR holds something else or cannot be written."""
FOLDER = click.Path(path_type=Path)


@click.command("export", cls=Command, epilog=EXAMPLES)
@click.argument("out", type=FOLDER)
@click.option("--to", "name", type=click.Choice(tuple(FORMATS)), required=True, help="The format.")
@click.option("--into", type=FOLDER, required=True, metavar="DIR", help="Where it goes: a new or empty folder.")
@click.option(
    "--val",
    type=click.FloatRange(0, 1, max_open=True),
    metavar="SHARE",
    show_default="0.2",
    help="Share of each defect type, and of normal pictures, held out for validation (anomalib: normal ones, for testing).",
)
@click.option("--seed", type=click.IntRange(0), metavar="N", show_default="0", help="Another seed holds out others.")
@click.option("--normals", type=FOLDER, metavar="DIR", help="Also take the normal pictures in DIR (as PNG).")
@click.option("--no-normals", is_flag=True, help="Leave out the normal pictures that seas-gen made.")
@click.option("--accepted-only", is_flag=True, help="Take only pairs that a review accepted.")
@click.option(
    "--link",
    is_flag=True,
    default=None,
    help="Hard links to OUT's files instead of copies (same disk; do not edit them).",
)
@click.option("--polygons", is_flag=True, default=None, help="coco: polygons instead of run lengths.")
@click.option(
    "--shard-size",
    type=click.IntRange(1),
    metavar="N",
    show_default="1000",
    help="webdataset: pictures in a shard.",
)
def export(
    *,
    out: Path,
    name: str,
    into: Path,
    normals: Path | None,
    no_normals: bool,
    accepted_only: bool,
    **given: Any,
) -> None:
    """Write what seas-gen made in OUT in a format that other tools read."""
    chosen = {option: value for option, value in given.items() if value is not None}
    if strange := [option for option in chosen if option not in FORMATS[name].takes]:
        takers = ", ".join(other for other, form in FORMATS.items() if strange[0] in form.takes)
        raise SettingsError(f"--{strange[0].replace('_', '-')} found with --to {name}, expected with {takers}; leave it out")
    with voice.loading("numpy", f"reading {out}"):
        from pydantic import ValidationError

        from seas_runtime.dataset.export import export as write
        from seas_runtime.dataset.exporters.job import Options
        from seas_runtime.dataset.read import read

    try:
        options = Options(**chosen)
    except ValidationError as error:  # what the ranges of click let pass: nan
        raise SettingsError(f"--{error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}") from error
    data = read(out, normals=normals, own_normals=not no_normals, accepted_only=accepted_only)
    with voice.progress(len(data.records), "exporting", "picture") as bar:
        exported = write(data, name, into, options, bar.update)
    voice.tell(exported.line(), *exported.notes, **exported.facts())
