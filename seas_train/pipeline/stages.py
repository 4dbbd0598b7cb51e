"""Stages of a pipeline: commands of this project, passed over where done, continued where interrupted, timed.

A stage is a folder's worth of work. What each took stands in WORK/times.json, interrupted attempts included; those that
were killed are missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import click

from seas_runtime.errors import INTERRUPTED, DataError, GateError
from seas_runtime.files import write_atomic
from seas_train.pipeline.child import Ended, apart

TIMES = "times.json"
Log = Callable[[str], object]
"""Called with a line for each thing that is done."""
Runner = Callable[[Sequence[str]], Ended]


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


@dataclass(frozen=True)
class Stages:
    """Runs stages and keeps what they took.

    Attributes:
        work: Folder of everything that is made.
        log: Where progress goes.
        runner: Of the commands: each in a process of its own, or another way.
    """

    work: Path
    log: Log
    runner: Runner = apart

    def plain(self, stage: Stage) -> list[str]:
        """Its command as it is noted: the same wherever the work folder is moved."""
        return [word.replace(str(self.work), "WORK") for word in stage.command]

    def done(self, stage: Stage) -> bool:
        """Whether its result is there, of this very command."""
        note = times(self.work).get(stage.name)
        same = note is not None and note["done"] and note["command"] == self.plain(stage)
        return stage.result.exists() and (stage.whole or same)

    def run(self, stage: Stage, again: bool = False) -> bool:
        """Run a stage that is not done, or one that is `again`; gives whether it was run.

        A gate that gave up is a figure to report, not a failure: pairs that `seas-gen` refused are missing.

        Raises:
            click.ClickException: as the command, where the runner stays in this process.
            click.exceptions.Exit: with its exit code.
            KeyboardInterrupt: it was interrupted.
        """
        if self.done(stage) and not again:
            self.log(f"{stage.name}: already done")
            return False
        self.log(f"{stage.name}: {' '.join(stage.command)}")
        notes = times(self.work)
        earlier = notes.get(stage.name, {"seconds": 0.0, "peak_mib": None, "done": False})
        note = {**earlier, "command": self.plain(stage), "done": False}
        self._keep({**notes, stage.name: note})  # so that a result is known as this command's should we be killed before the next
        began, ended = monotonic(), Ended(INTERRUPTED)
        try:
            ended = self.runner(stage.command)
        finally:
            peaks = [peak for peak in (note["peak_mib"], ended.peak_mib) if peak is not None]
            note |= {"seconds": note["seconds"] + monotonic() - began, "peak_mib": max(peaks, default=None)}
            note |= {"done": ended.status in (0, GateError.exit_code), "status": ended.status}
            kept = earlier if earlier["done"] and not note["done"] else note  # refused other settings: what was done is still there
            self._keep({**notes, stage.name: kept})
        if ended.status == INTERRUPTED:
            raise KeyboardInterrupt
        if not note["done"]:
            self.log(f"{stage.name} ended with exit code {ended.status}; what is done is kept")
            raise click.exceptions.Exit(ended.status if ended.status > 0 else 128 - ended.status)  # below 0: a signal's number
        return True

    def _keep(self, notes: dict[str, dict[str, Any]]) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        write_atomic(self.work / TIMES, json.dumps(notes, indent=1) + "\n")


def times(work: Path) -> dict[str, dict[str, Any]]:
    """What is noted of each stage by its name: command, seconds, peak_mib (None of one in this process), done, status.

    Raises:
        DataError: the file cannot be read.
    """
    path = work / TIMES
    if not path.is_file():
        return {}
    try:
        return {str(name): dict(note) for name, note in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error}); remove it, and stages that are done say so themselves") from error
