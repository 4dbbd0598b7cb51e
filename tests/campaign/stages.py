"""Commands with what they leave when nothing happens, and what a trial does to them."""

from __future__ import annotations

import errno
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaign.shim import Fault
from tests.campaign.trials import Trial, differ, tree
from tests.campaign.warm import Warm

ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)
FINE, CANNOT_WRITE = (0,), (0, 1, 3, 5)


@dataclass
class Stage:
    """A command, the folder it changes, and how it is brought to its beginning.

    Attributes:
        warm: Runs it.
        root: All that it may change lies below; its changes are counted.
        command: Its name.
        words: Its arguments.
        prepare: Fills the emptied `root`.
        codes: Exit codes of a run that is disturbed by nothing.
    """

    warm: Warm
    root: Path
    command: str
    words: tuple[object, ...]
    prepare: Callable[[Path], object] = lambda root: root.mkdir()
    codes: tuple[int, ...] = FINE
    changes: int = 0
    seconds: float = 0.0
    bytes: int = 0
    wanted: dict[str, str] = field(default_factory=dict)

    def begin(self) -> None:
        """Empty the folder."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.prepare(self.root)

    def learn(self) -> None:
        """See once what it leaves, in how many changes, bytes and seconds."""
        if self.wanted:
            return
        self.begin()
        before = sum(path.stat().st_size for path in self.root.rglob("*") if path.is_file())
        ended = self.warm.run(self.root, self.command, *self.words)
        assert ended.wrong(self.codes) is None, ended
        self.changes, self.seconds, self.wanted = ended.changes, ended.seconds, tree(self.root)
        self.bytes = sum(path.stat().st_size for path in self.root.rglob("*") if path.is_file()) - before
        assert self.changes > 0

    def again(self) -> str | None:
        """Give the same command, and compare what is there with what would be if nothing had happened."""
        ended = self.warm.run(self.root, self.command, *self.words)
        if wrong := ended.wrong(self.codes):
            return f"the same command again: {wrong}"
        return differ(tree(self.root), self.wanted)


def killed_at_a_change(stage: Stage, draw: random.Random) -> str | None:
    """Kill at one change, or at one and then at another of the run that goes on."""
    stage.learn()
    stage.begin()
    for _ in range(draw.choice((1, 1, 1, 2))):
        at = draw.randint(1, stage.changes)
        ended = stage.warm.run(stage.root, stage.command, *stage.words, fault=Fault(at=at))
        if not ended.killed and (wrong := ended.wrong(stage.codes)):
            return f"change {at}: {wrong}"
    return stage.again()


def killed_at_a_time(stage: Stage, draw: random.Random) -> str | None:
    """Kill after a time, wherever it is then."""
    stage.learn()
    stage.begin()
    after = draw.uniform(0.001, stage.seconds)
    ended = stage.warm.run(stage.root, stage.command, *stage.words, fault=Fault(after=after))
    if not ended.killed and (wrong := ended.wrong(stage.codes)):
        return f"after {after:.3f} s: {wrong}"
    return stage.again()


def a_change_fails(stage: Stage, draw: random.Random) -> str | None:
    """Let one change fail, or all from one on: one line, and the same command later makes all of it."""
    stage.learn()
    stage.begin()
    fault = Fault(at=draw.randint(1, stage.changes), error=draw.choice(ERRORS), alone=draw.random() < 0.5)
    ended = stage.warm.run(stage.root, stage.command, *stage.words, fault=fault)
    if wrong := ended.wrong((*CANNOT_WRITE, *stage.codes)):
        return f"{fault}: {wrong}"
    if found := stage.again():
        return f"{fault}: {found}"
    return None


def a_small_disk(stage: Stage, draw: random.Random) -> str | None:
    """Let the disk be full after some bytes, then again after some more: one line each, and the rest once there is room."""
    stage.learn()
    stage.begin()
    for _ in range(draw.choice((1, 2))):
        fault = Fault(room=draw.randint(0, stage.bytes))
        ended = stage.warm.run(stage.root, stage.command, *stage.words, fault=fault)
        if wrong := ended.wrong((*CANNOT_WRITE, *stage.codes)):
            return f"{fault}: {wrong}"
    return stage.again()


def four_at_once(stage: Stage, draw: random.Random) -> str | None:
    """Four processes with the same command: one does it, the others say in a line that it is being done."""
    stage.learn()
    stage.begin()
    fault = Fault(at=draw.randint(1, stage.changes)) if draw.random() < 0.3 else Fault()
    ends = stage.warm.together(stage.root, [(stage.command, stage.words)] * 4, fault)
    for ended in ends:
        if not (fault.at and ended.killed) and (wrong := ended.wrong((5, *stage.codes))):
            return f"one of four: {wrong}"
    if not fault.at and not any(ended.code in stage.codes for ended in ends):
        return "none of four did it"
    return stage.again()


KINDS = {kind.__name__: kind for kind in (killed_at_a_change, killed_at_a_time, a_change_fails, a_small_disk, four_at_once)}


def any_of(ways: Sequence[Stage], kind: str) -> Trial:
    """A trial of `kind` upon one of some commands."""
    return lambda draw: KINDS[kind](draw.choice(ways), draw)
