"""What commands say besides their errors: results, words on the way and progress, in the manner that their user asks for.

Results go to standard output, everything else to standard error. All text may hold names that strangers gave, see `terminal.shown`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import click

from seas_runtime.footprint import duration
from seas_runtime.terminal import shown

FIRST, EVERY = 5.0, 30.0
"""Seconds until the first line of a long loop, where there is no terminal to show a bar, and between all others."""
_FORGET_LINE = "\r\x1b[K"


@dataclass(frozen=True)
class Manner:
    """How a command speaks.

    quiet: warnings and errors alone, and no result but that of --json.
    verbose: details too: what "auto" chose and why, each stage.
    as_json: the result is one JSON object, `facts`.
    """

    quiet: bool = False
    verbose: bool = False
    as_json: bool = False
    facts: dict[str, Any] = field(default_factory=dict)


class _Now:
    manner = Manner()  # of the one command of this process, in all of its threads


@contextmanager
def speaking(manner: Manner, command: str) -> Iterator[None]:
    """Let a command speak in this manner; with --json its facts come at its end, also where it ends badly after it told some."""
    before, _Now.manner = _Now.manner, manner
    began, well = time.monotonic(), False
    try:
        yield
        well = True
    finally:
        _Now.manner = before
        if manner.as_json and (well or manner.facts):
            told = {"command": command, **manner.facts, "seconds": round(time.monotonic() - began, 3)}
            click.echo(json.dumps(told, default=str))


def tell(*lines: str, **facts: Any) -> None:
    """Tell the result, or a part of it: in lines, or with --json as facts."""
    _Now.manner.facts.update(facts)
    if not hidden():
        for line in lines:
            click.echo(shown(line))


def quiet() -> bool:
    """Whether nothing but warnings and errors is said."""
    return _Now.manner.quiet


def hidden() -> bool:
    """Whether lines of results are not shown."""
    return _Now.manner.quiet or _Now.manner.as_json


def tell_each(lines: Iterable[str], name: str) -> None:
    """Tell lines as they come; with --json they are the list `name`."""
    kept = []
    for line in lines:
        kept.append(line)
        tell(line)
    tell(**{name: kept})


def warn(line: str) -> None:
    """Say what may be wrong, in every manner."""
    _say(f"Warning: {line}")


def note(line: str) -> None:
    """Say what a person should know beside the result."""
    if not _Now.manner.quiet:
        _say(line)


def detail(line: str) -> None:
    """Say what is asked for with --verbose alone."""
    if _Now.manner.verbose:
        _say(line)


@contextmanager
def loading(module: str, what: str) -> Iterator[None]:
    """Say "`what` ..." before the block loads a module that takes its time; nothing where it is loaded already.

    On a terminal the line goes when the block ends.
    """
    if module in sys.modules:
        yield
        return
    with doing(what, at_once=True):
        yield


@contextmanager
def doing(what: str, at_once: bool = False) -> Iterator[None]:
    """Say "`what` ..." while the block lasts, on a terminal; elsewhere with --verbose, or `at_once` as a line."""
    if not _on_terminal():
        (note if at_once else detail)(f"{what} ...")
        yield
        return
    click.echo(f"{shown(what)} ...", err=True, nl=False)
    try:
        yield
    finally:
        click.echo(_FORGET_LINE, err=True, nl=False)


class Progress:
    """How far a loop is: nothing is shown of it by this class."""

    def __init__(self, total: int | None, what: str, unit: str, done: int) -> None:
        self.total, self.what, self.unit, self.done = total, what, unit, done

    def update(self, number: int = 1) -> None:
        """So many more are done."""
        self.done += number

    def values(self, values: dict[str, float]) -> None:
        """Figures of now, such as losses."""


class _Bar(Progress):
    """On a terminal."""

    def __init__(self, *given: Any) -> None:
        from tqdm import tqdm  # noqa: PLC0415  # not before there is something to show

        super().__init__(*given)
        self.bar = tqdm(total=self.total, initial=self.done, desc=self.what or None, unit=self.unit, leave=False)

    def update(self, number: int = 1) -> None:
        self.bar.update(number)

    def values(self, values: dict[str, float]) -> None:
        self.bar.set_postfix({name: f"{value:.4f}" for name, value in values.items()})


class _Lines(Progress):
    """A line from time to time."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.first, self.began = self.done, time.monotonic()
        self.due = self.began + FIRST
        self.figures = ""

    def update(self, number: int = 1) -> None:
        super().update(number)
        if (now := time.monotonic()) >= self.due:
            self.due = now + EVERY
            note(self.line(now - self.began))

    def values(self, values: dict[str, float]) -> None:
        self.figures = "".join(f", {name} {value:.4f}" for name, value in values.items())

    def line(self, seconds: float) -> str:
        """How far it is after so many seconds."""
        of = "" if self.total is None else f" of {self.total}"
        made = self.done - self.first
        left = "" if self.total is None or not made else f", {duration(seconds * (self.total - self.done) / made)} left"
        return f"{self.what}: {self.done}{of} {self.unit}s in {duration(seconds)}{left}{self.figures}"


@contextmanager
def progress(total: int | None, what: str, unit: str, done: int = 0) -> Iterator[Progress]:
    """Show how far a loop is: a bar on a terminal, elsewhere a line every half a minute, nothing with --quiet.

    Args:
        total: how many there are; None where nobody knows.
        what: is being done.
        unit: what is counted, one of it.
        done: of an earlier run.
    """
    if _Now.manner.quiet:
        yield Progress(total, what, unit, done)
    elif not _on_terminal():
        yield _Lines(total, what, unit, done)
    else:
        shown_bar = _Bar(total, what, unit, done)
        with shown_bar.bar:
            yield shown_bar


class Stages:
    """Says each stage with the seconds since the first word."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def __call__(self, stage: str) -> None:
        """A stage begins, or has something to say."""
        note(f"{time.monotonic() - self.began:6.1f} s  {stage}")


def _on_terminal() -> bool:
    return not _Now.manner.quiet and sys.stderr.isatty()


def _say(line: str) -> None:
    if sys.stderr.isatty():
        click.echo(_FORGET_LINE, err=True, nl=False)
        if (bars := sys.modules.get("tqdm")) is not None:
            bars.tqdm.write(shown(line), file=sys.stderr)  # which leaves a progress bar in its place
            return
    click.echo(shown(line), err=True)
