"""`seas-data review`. Heavy imports wait until it runs."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import click

from seas_runtime import voice
from seas_runtime.commands import Command
from seas_runtime.errors import SettingsError
from seas_runtime.versions import extra

EPILOG = """\b
Examples:
  seas-data review out/bottle
  seas-data review out/bottle --training data/bottle          # beside the real anomalies
  seas-data review out/bottle --static bottle.html            # one file to send around
  ssh -L 8000:127.0.0.1:8000 SERVER                           # and there: review out/bottle --port 8000 --no-browser

\b
Keys: A accept, D reject, U undo, arrows, Enter opens a pair, E mends its mask, M hides masks, ? says all.

Decisions are in OUT/review.jsonl as soon as they are made, mended masks in OUT/review; the pairs stay as they
are. seas-gen may still be writing, or go on later. Ctrl+C ends the page.

\b
Exit codes: 0 done, 2 usage, 3 OUT or DIR is not what it should be, 5 decisions cannot be written."""
STATIC_LIMIT = 300


@click.command("review", cls=Command, epilog=EPILOG)
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--training",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The product's folder of real data (MVTec AD layout): its anomalies are shown beside generated ones.",
)
@click.option("--read-only", is_flag=True, help="Only look: no decision is taken, nothing is written.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    show_default="a free one",
    help="Port of this machine.",
)
@click.option("--no-browser", is_flag=True, help="Open no browser, only print the address.")
@click.option(
    "--static",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Write the page, with small pictures, into one file that only looks, and end.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    show_default=f"{STATIC_LIMIT}",
    help="Pairs in that file, evenly from each type.",
)
def review(
    out: Path,
    training: Path | None,
    static: Path | None,
    limit: int | None,
    port: int | None,
    *,
    read_only: bool,
    no_browser: bool,
) -> None:
    """Look at the pairs in OUT in a browser, decide on each, mend masks.

    OUT is what seas-gen wrote, or is writing. The page is served to this machine alone.
    """
    if static is None and limit is not None:
        raise click.UsageError("--limit goes with --static FILE.html")
    if static is not None and (port is not None or no_browser):
        raise click.UsageError("--static writes a file and serves nothing: leave --port and --no-browser out")
    if static is not None:
        _write_static(out, training, static, limit or STATIC_LIMIT)
    else:
        _serve(out, training, port or 0, read_only=read_only, browser=not no_browser)


def _write_static(out: Path, training: Path | None, static: Path, limit: int) -> None:
    with voice.loading("numpy", f"reading {out}"):
        from seas_runtime.dataset.review.gallery import Gallery
        from seas_runtime.dataset.review.log import Decisions
        from seas_runtime.dataset.review.static import write

    with voice.doing(f"writing {static}"):
        written = write(Gallery(out, Decisions(out), training), static, limit)
    line = f"{static}: {written.shown} of {written.total} pairs, {written.bytes / 1e6:.1f} MB"
    voice.tell(line, page=static, pairs=written.total, shown=written.shown, bytes=written.bytes)


def _serve(out: Path, training: Path | None, port: int, *, read_only: bool, browser: bool) -> None:
    try:
        with voice.loading("numpy", f"reading {out}"):
            from seas_runtime.dataset.review.serve import held, serve, summary
    except ModuleNotFoundError as error:
        raise SettingsError(f"{error.name} is not installed; run {extra('review')}") from None
    from seas_runtime.dataset.review.gallery import Gallery
    from seas_runtime.dataset.review.log import DecisionLog, Decisions
    from seas_runtime.dataset.review.pairs import require_run

    require_run(out)
    with nullcontext() if read_only else held(out):
        decisions = Decisions(out) if read_only else DecisionLog(out)
        gallery = Gallery(out, decisions, training)
        voice.tell(f"{len(gallery.pairs)} pairs in {out}; Ctrl+C ends the page", out=out, pairs=len(gallery.pairs))
        serve(gallery, port, browser=browser, say=voice.tell)
        if not read_only:
            voice.tell(summary(gallery))
