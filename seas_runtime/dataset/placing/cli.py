"""`seas-data place`. Heavy imports wait until it runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from seas_runtime import voice
from seas_runtime.commands import Command

EXAMPLES = """\b
Examples:
  seas-gen --engine valve.plan --per-type 100 --background real --out out/valve
  seas-data place out/valve --on photos --into out/valve-whole
  seas-data export out/valve-whole --to coco --into data/valve-coco

\b
Each pair knows which photograph its picture is a part of, and where: training has recorded it, also through
seas-data import --fit tile. The picture goes over into the photograph around its mask; everywhere else the
photograph stays as it is. DIR is like OUT: review and export take it. Normal pictures are not placed.

\b
Exit codes: 0 done, 2 usage, 3 a photograph is missing or another, 5 DIR cannot be written, 130 interrupted."""
FOLDER = click.Path(path_type=Path)


@click.command("place", cls=Command, epilog=EXAMPLES)
@click.argument("out", type=FOLDER)
@click.option("--on", "photographs", type=FOLDER, required=True, metavar="PHOTOS", help="The folder of the photographs.")
@click.option("--into", type=FOLDER, required=True, metavar="DIR", help="Where it goes: a new or empty folder.")
@click.option("--accepted-only", is_flag=True, help="Take only pairs that a review accepted.")
def place(*, out: Path, photographs: Path, into: Path, accepted_only: bool) -> None:
    """Put the pairs in OUT back into the whole photographs that their pictures are parts of."""
    with voice.loading("numpy", f"reading {out}"):
        from seas_runtime.dataset.placing.placing import place as write
        from seas_runtime.dataset.read import read

    data = read(out, own_normals=False, accepted_only=accepted_only)
    with voice.progress(data.pairs, "placing", "pair") as bar:
        placed = write(data, photographs, into, bar.update)
    placed = replace(placed, reviewed=accepted_only)
    voice.tell(*placed.lines(), into=placed.into, pairs=placed.pairs, photographs=placed.photographs)
