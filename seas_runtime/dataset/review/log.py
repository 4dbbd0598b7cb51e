"""The decisions of one OUT while a page is open: followed by one that only looks, written by one that decides."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from seas_runtime.dataset.decisions import REVIEW, Decision, Verdict, mask_name, read_decisions
from seas_runtime.dataset.inside import refuse_link
from seas_runtime.errors import OutputError
from seas_runtime.files import TEMPORARY_SUFFIX, flush_folder, write_atomic


class Decisions:
    """All decisions of OUT. Every change has a revision, so that pages learn of what others decided. Thread-safe.

    Raises:
        DataError: what is there cannot be read, or is a link.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.revision = 1
        self._lock = threading.RLock()
        self._stamp = _stamp(out / REVIEW)
        self._decisions = read_decisions(out)
        self._changed = dict.fromkeys(self._decisions, 1)
        self._masks = {index: 1 for index, found in self._decisions.items() if found.mask}

    def of(self, index: int) -> Decision:
        """The decision on a pair; undecided at time 0 where nobody has looked."""
        with self._lock:
            return self._decisions.get(index) or Decision(index=index, decision="undecided", time=0.0)

    def mask_revision(self, index: int) -> int:
        """The revision of the last change of a pair's mask; 0 where it was never mended."""
        with self._lock:
            return self._masks.get(index, 0)

    def changed_since(self, revision: int) -> list[int]:
        """Indices of the pairs with a change after `revision`, in rising order."""
        with self._lock:
            if revision >= self.revision:
                return []
            return sorted(index for index, changed in self._changed.items() if changed > revision)

    def refresh(self) -> None:
        """Learn what another process has written since.

        Raises:
            DataError: it cannot be read.
        """
        with self._lock:
            if (stamp := _stamp(self.out / REVIEW)) == self._stamp:
                return
            self._stamp = stamp
            now, before = read_decisions(self.out), self._decisions
            self.revision += 1
            for index in now.keys() | before.keys():
                if now.get(index) != before.get(index):
                    self._changed[index] = self._masks[index] = self.revision
            self._decisions = now


class DecisionLog(Decisions):
    """Decisions that are written here, and nowhere else as long as its holder has the lock of OUT/review."""

    def refresh(self) -> None:
        """Nothing: nobody else writes."""

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let nobody change anything while a caller looks and then changes it."""
        with self._lock:
            yield

    def decide(self, verdicts: Iterable[tuple[int, Verdict]]) -> None:
        """Note decisions on pairs, all or none; their masks stay.

        Raises:
            DataError: a link is in the way.
            OutputError: they cannot be written.
        """
        with self._lock:
            now = time.time()
            decided = (self.of(index).model_copy(update={"decision": v, "time": now}) for index, v in verdicts)
            self._append(list(decided))

    def mend(self, index: int, png: bytes) -> None:
        """Write a pair's mended mask and note it; its decision stays.

        Raises:
            DataError: a link is in the way.
            OutputError: it cannot be written.
        """
        path = self.out / mask_name(index)
        with self._lock:
            refuse_link(path.parent)
            try:
                path.parent.mkdir(exist_ok=True)
                path.with_name(path.name + TEMPORARY_SUFFIX).unlink(missing_ok=True)  # it could be a link
                write_atomic(path, png)
                flush_folder(path.parent)
            except OSError as error:
                raise _unwritten(path, error) from error
            self._note_mask(index, mask_name(index))

    def restore(self, index: int) -> None:
        """Let the generated mask stand again, and remove the mended one.

        Raises:
            DataError: a link is in the way.
            OutputError: it cannot be written.
        """
        path = self.out / mask_name(index)
        with self._lock:
            if self.of(index).mask is None:
                return
            refuse_link(path.parent)
            self._note_mask(index, None)
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise _unwritten(path, error) from error

    def _note_mask(self, index: int, mask: str | None) -> None:
        self._append([self.of(index).model_copy(update={"mask": mask, "time": time.time()})])
        self._masks[index] = self.revision

    def _append(self, decisions: list[Decision]) -> None:
        """Add lines and flush them to the disk, then count them; on failure the file is as before."""
        data = b"".join(json.dumps(decision.model_dump()).encode() + b"\n" for decision in decisions)
        path = self.out / REVIEW
        refuse_link(path)
        try:
            _add(path, data)
        except OSError as error:
            raise _unwritten(path, error) from error
        self.revision += 1
        for decision in decisions:
            self._decisions[decision.index] = decision
            self._changed[decision.index] = self.revision


def _add(path: Path, data: bytes) -> None:
    with path.open("ab", buffering=0) as stream:
        before = stream.seek(0, os.SEEK_END)
        left = memoryview(data if _ends_whole(path, before) else b"\n" + data)
        try:
            while left:
                left = left[stream.write(left) :]
            os.fsync(stream.fileno())
        except OSError:
            os.truncate(path, before)
            raise
    if before == 0:
        flush_folder(path.parent)


def _ends_whole(path: Path, size: int) -> bool:
    """Whether the last line has its end; a torn one must not swallow the next."""
    if size == 0:
        return True
    with path.open("rb") as stream:
        stream.seek(size - 1)
        return stream.read(1) == b"\n"


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _unwritten(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{path}: {error.strerror or error}; mend that and decide again, earlier decisions are kept")
