"""Trials that are numbered, drawn from a seed and kept in a journal, so that a campaign goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Trial = Callable[[random.Random], str | None]
"""Draws what it does from its own stream, and gives what was wrong, None for nothing."""


@dataclass(frozen=True)
class Campaign:
    """Where trials are kept, from which seed they are drawn, and how long they go on.

    Attributes:
        folder: A journal for each campaign, NAME.jsonl.
        seed: Trial i of NAME depends on (NAME, seed, i) alone.
        minutes: After so many no trial is begun.
        most: Trials of a campaign at most, those in the journal included; 0 for any number.
    """

    folder: Path
    seed: int
    minutes: float
    most: int = 0

    def run(self, name: str, trial: Trial) -> None:
        """Go on with a campaign until its time is over; what failed in this session fails the test."""
        journal = self.folder / f"{name}.jsonl"
        self.folder.mkdir(parents=True, exist_ok=True)
        number = 1 + max((line["trial"] for line in lines(journal) if line["seed"] == self.seed), default=-1)
        until, failed, begun = time.monotonic() + 60 * self.minutes, [], number
        with journal.open("a", encoding="utf-8") as stream:
            while time.monotonic() < until and not (self.most and number >= self.most):
                began = time.monotonic()
                found = trial(random.Random(f"{name}/{self.seed}/{number}"))
                seconds = round(time.monotonic() - began, 3)
                stream.write(json.dumps({"seed": self.seed, "trial": number, "seconds": seconds, "failed": found}) + "\n")
                stream.flush()
                if found is not None:
                    failed.append(f"trial {number}: {found}")
                number += 1
        assert number > begun or self.most, f"{name}: no trial in {self.minutes} minutes"
        assert not failed, f"{name}: {len(failed)} of {number - begun} failed; first {failed[0]}"


def lines(journal: Path) -> list[dict[str, Any]]:
    """The trials of a journal; a torn last line is passed over."""
    found = []
    for line in journal.read_text(encoding="utf-8").splitlines() if journal.is_file() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def tree(folder: Path) -> dict[str, str]:
    """Every file and folder below, with a hash of what is in it; a log's seconds are left out, for they differ."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_dir():
            found[name] = "folder"
        elif path.name == "log.jsonl":
            logged = [json.loads(line) for line in path.read_text().splitlines()]
            found[name] = json.dumps([{**line, "seconds": 0} for line in logged])
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = "special"
    return found


def differ(found: dict[str, str], wanted: dict[str, str]) -> str | None:
    """In what two trees differ, in one line."""
    missing, more = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    other = sorted(name for name in wanted.keys() & found.keys() if wanted[name] != found[name])
    if not (missing or more or other):
        return None
    return f"missing {missing[:5]}, too many {more[:5]}, other {other[:5]}"
