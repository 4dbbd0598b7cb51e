"""`seas-train report`. Heavy imports wait until it runs."""

from __future__ import annotations

from pathlib import Path

import click

from seas_runtime.commands import Command
from seas_runtime.errors import SettingsError
from seas_train.options import PATH, stopwatch
from seas_train.quiet import hush


@click.command(
    cls=Command, epilog="Example: seas-train report runs/bottle --engine bottle.plan --pairs out/bottle --out bottle.html"
)
@click.argument("runs", metavar="RUN...", type=PATH, nargs=-1, required=True)
@click.option("--out", type=PATH, required=True, metavar="FILE.html", help="The page; one that is there is replaced.")
@click.option("--engine", type=PATH, metavar="NAME.plan", help="The bundle of the last RUN, for its parity.")
@click.option("--pairs", type=PATH, metavar="DIR", help="Pairs of seas-gen --sheet.")
@click.option("--times", type=PATH, metavar="FILE", help="times.json of seas-train all.")
def report(runs: tuple[Path, ...], out: Path, engine: Path | None, pairs: Path | None, times: Path | None) -> None:
    """Write a page of how a training went: masks over the training anomalies, attention, losses, settings.

    Of a student give the run it was made from too, before it. The page is one file, which needs no network.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise SettingsError(f"--out {out} found, a name that ends in .html expected: the page is one file")
    hush()
    from seas_train.pipeline import stages
    from seas_train.report.write import Sources, write

    with stopwatch(f"wrote the report {out}", report=out):
        write(Sources(runs, engine, pairs, None if times is None else stages.times(times.parent)), out)
