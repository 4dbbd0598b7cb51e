"""`seas-data status` and `seas-data merge`. Heavy imports wait until they run."""

from __future__ import annotations

from pathlib import Path

import click

from seas_runtime import voice
from seas_runtime.commands import Command

FOLDER = click.Path(path_type=Path)
STATUS_EXAMPLES = """\b
Examples:
  seas-data status out/bottle                 # the shards in it
  seas-data status part0 part1 part2 part3    # shards with folders of their own

\b
Exit codes: 0 done, 3 no run there, or shards of different runs."""
MERGE_EXAMPLES = """\b
Examples:
  seas-data merge out/bottle --into data/bottle
  seas-data merge part0 part1 --into data/bottle --partial --link

The result is what one process would have written. The same command goes on where it was interrupted. Decisions of
reviews come along.

\b
Exit codes: 0 done, 3 something is missing or of another run, 5 DIR holds something else or cannot be written."""


@click.command("status", cls=Command, epilog=STATUS_EXAMPLES)
@click.argument("outs", nargs=-1, required=True, type=FOLDER, metavar="OUT...")
def status(outs: tuple[Path, ...]) -> None:
    """Say what the shards of a run have made and which batches are missing."""
    with voice.loading("numpy", "reading the shards"):
        from seas_runtime.dataset.shards import read_run

    run = read_run(outs)
    voice.tell(*run.lines(), **run.facts())


@click.command("merge", cls=Command, epilog=MERGE_EXAMPLES)
@click.argument("outs", nargs=-1, required=True, type=FOLDER, metavar="OUT...")
@click.option("--into", type=FOLDER, required=True, metavar="DIR", help="Where it goes: a new or empty folder.")
@click.option("--partial", is_flag=True, help="Join what there is, though something is missing.")
@click.option("--link", is_flag=True, help="Hard links to the shards' files instead of copies (same disk; do not edit them).")
def merge(*, outs: tuple[Path, ...], into: Path, partial: bool, link: bool) -> None:
    """Join the shards of a run in one data set."""
    with voice.loading("numpy", "reading the shards"):
        from seas_runtime.dataset.merge import merge as join
        from seas_runtime.dataset.shards import read_run

    run = read_run(outs)
    with voice.progress(None, "joining", "picture") as bar:
        merged = join(run, into, partial=partial, link=link, progress=bar.update)
    voice.tell(merged.line(), into=into, pictures=merged.pictures, missing=merged.missing, already=merged.already)
