"""Stages of a pipeline: commands of this project, passed over where done, continued where interrupted, timed.

A stage is a folder's worth of work. What each took stands in WORK/times.json, interrupted attempts included; those that
were killed are missing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import click

from benchmarks.common import executable
from seas_runtime.errors import INTERRUPTED, GateError
from seas_runtime.files import write_atomic

TIMES = "times.json"
Log = Callable[[str], object]
"""Called with a line for each thing that is done."""


@dataclass(frozen=True)
class Stage:
    """One command.

    Attributes:
        name: What tables call it.
        command: A program of this project and its words.
        result: What is there once it is done.
        whole: Whether the result appears at once, at the end: then it is taken wherever it comes from.
    """

    name: str
    command: tuple[str, ...]
    result: Path
    whole: bool = False


class Ended(NamedTuple):
    """Exit code of a command, and its peak resident memory in MiB where it had a process of its own."""

    status: int
    peak_mib: float | None = None


Runner = Callable[[Sequence[str]], Ended]


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


def apart(command: Sequence[str]) -> Ended:
    """Run a command in a process of its own, and measure its memory (the largest of it and its children)."""
    process = subprocess.Popen([executable(command[0]), *command[1:]])
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except KeyboardInterrupt:  # the terminal interrupts the command too: let it save what it has
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    per_mib = 2**20 if sys.platform == "darwin" else 2**10
    return Ended(process.returncode, usage.ru_maxrss / per_mib)


@dataclass(frozen=True)
class Stages:
    """Runs stages and keeps what they took.

    Attributes:
        work: Folder of everything that is made.
        log: Where progress goes.
        runner: `here` or `apart`.
    """

    work: Path
    log: Log
    runner: Runner = here

    def run(self, stage: Stage) -> None:
        """Run a stage that is not done.

        A gate that gave up is a figure to report, not a failure: pairs that `seas-gen` refused are missing.

        Raises:
            click.ClickException: as the command, in this process.
            click.exceptions.Exit: with its exit code.
            KeyboardInterrupt: it was interrupted.
        """
        notes = times(self.work)
        note = notes.setdefault(stage.name, {"command": [], "seconds": 0.0, "peak_mib": None, "done": False})
        plain = [word.replace(str(self.work), "WORK") for word in stage.command]
        if stage.result.exists() and (stage.whole or (note["done"] and note["command"] == plain)):
            self.log(f"{stage.name}: already done")
            return
        self.log(f"{stage.name}: {' '.join(stage.command)}")
        began, ended = time.monotonic(), Ended(INTERRUPTED)
        try:
            ended = self.runner(stage.command)
        finally:
            peaks = [peak for peak in (note["peak_mib"], ended.peak_mib) if peak is not None]
            note |= {"command": plain, "seconds": note["seconds"] + time.monotonic() - began, "peak_mib": max(peaks, default=None)}
            note["done"] = ended.status in (0, GateError.exit_code)
            self.work.mkdir(parents=True, exist_ok=True)
            write_atomic(self.work / TIMES, json.dumps(notes, indent=1) + "\n")
        if ended.status == INTERRUPTED:
            raise KeyboardInterrupt
        if not note["done"]:
            self.log(f"{stage.name} ended with exit code {ended.status}; the same command continues")
            raise click.exceptions.Exit(max(ended.status, 1))  # of a signal it is below 0


def generation(name: str, engine: Path, out: Path, count: int, *words: str) -> Stage:
    """Pairs of `seas-gen` as they come: no second attempts, so that those without a mask are missing and can be counted."""
    made = ("seas-gen", "--engine", str(engine), "--out", str(out), "--count", str(count))
    return Stage(name, (*made, "--retries", "0", "--max-area", "1", *words), out / "run.json")


def times(work: Path) -> dict[str, dict[str, Any]]:
    """What is noted of each stage by its name: command, seconds, peak_mib (None of one in this process), done."""
    path = work / TIMES
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


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
