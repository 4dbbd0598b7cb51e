"""`seas-data place`. Heavy imports wait until it runs."""

from __future__ import annotations

from pathlib import Path

import click

from seas_runtime.terminal import shown_lines

EXAMPLES = """\b
Examples:
  seas-gen --engine valve.plan --per-type 100 --background real --out out/valve
  seas-data place out/valve --on photos/valve --into out/valve-whole
  seas-data export out/valve-whole --to coco --into data/valve-coco

\b
Each pair knows which photograph its picture is a part of, and where: training has recorded it, also through
seas-data import --fit tile. The picture goes over into the photograph around its mask; everywhere else the
photograph stays as it is. DIR is like OUT: review and export take it. Normal pictures are not placed.

\b
Exit codes: 0 done, 2 usage, 3 a photograph is missing or another, 5 DIR cannot be written, 130 interrupted."""
FOLDER = click.Path(path_type=Path)


@click.command("place", epilog=EXAMPLES, context_settings={"show_default": True, "max_content_width": 110})
@click.argument("out", type=FOLDER)
@click.option("--on", "photographs", type=FOLDER, required=True, metavar="PHOTOS", help="The folder of the photographs.")
@click.option("--into", type=FOLDER, required=True, metavar="DIR", help="Where it goes: a new or empty folder.")
@click.option("--accepted-only", is_flag=True, help="Take only pairs that a review accepted.")
@click.option("--quiet", is_flag=True, help="No progress bar, no summary.")
def place(*, out: Path, photographs: Path, into: Path, accepted_only: bool, quiet: bool) -> None:
    """Put the pairs in OUT back into the whole photographs that their pictures are parts of."""
    from tqdm import tqdm

    from seas_runtime.dataset.placing.placing import place as write
    from seas_runtime.dataset.read import read

    data = read(out, own_normals=False, accepted_only=accepted_only)
    with tqdm(total=data.pairs, unit="pair", disable=quiet or None, leave=False) as bar:
        placed = write(data, photographs, into, bar.update)
    if not quiet:
        click.echo(shown_lines(placed.lines()))
