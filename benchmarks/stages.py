"""What benchmarks add to `seas_train.pipeline.stages`: commands in this process, pairs as they come, time by command."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import click

from seas_runtime.errors import INTERRUPTED, GateError
from seas_train.pipeline.child import Ended
from seas_train.pipeline.stages import Stage, times


def here(command: Sequence[str]) -> Ended:
    """Run a command in this process, what it says going to stderr.

    Raises:
        click.ClickException: as the command.
    """
    from seas_export.cli import main as export
    from seas_runtime.cli import generate
    from seas_train.cli import main as train

    commands: dict[str, click.Command] = {"seas-train": train, "seas-export": export, "seas-gen": generate}
    program, *words = command
    try:
        with redirect_stdout(sys.stderr):  # progress, here
            status = commands[program].main(words, prog_name=program, standalone_mode=False)
    except GateError:
        return Ended(GateError.exit_code)
    return Ended(status if isinstance(status, int) else 0)


def generation(name: str, engine: Path, out: Path, count: int, *words: str) -> Stage:
    """Pairs of `seas-gen` as they come: no second attempts, so that those without a mask are missing and can be counted."""
    made = ("seas-gen", "--engine", str(engine), "--out", str(out), "--count", str(count))
    return Stage(name, (*made, "--retries", "0", "--max-area", "1", *words), out / "run.json")


def seconds(work: Path) -> dict[str, float]:
    """What the stages of each command took together, by program and, of `seas-train`, its first word."""
    found: dict[str, float] = {}
    for note in times(work).values():
        name = " ".join(note["command"][: 2 if note["command"][:1] == ["seas-train"] else 1])
        if name:
            found[name] = round(found.get(name, 0.0) + note["seconds"], 1)
    return found


@contextmanager
def interruptible() -> Iterator[None]:
    """End an interrupt with one line and the exit code of the house."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("Interrupted: the same command continues from what is saved.", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
