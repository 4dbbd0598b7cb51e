"""The shards of a run -> one folder, as one process would have written it.

Pictures are copied (or linked) one by one, then come the journals, and `run.json` last: until then the folder is no run.
Meanwhile `merge.json` says what is being joined, so that the same command goes on where it was killed and another is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from seas_runtime.commands import interrupt
from seas_runtime.dataset.decisions import REVIEW, read_decisions
from seas_runtime.dataset.inside import place
from seas_runtime.dataset.lines import require_pictures
from seas_runtime.dataset.png import are_whole
from seas_runtime.dataset.records import RUN, Journal, RunRecord, write_record
from seas_runtime.dataset.series import SERIES
from seas_runtime.dataset.shards import Run, Shard, read_run
from seas_runtime.errors import DataError, OutputError
from seas_runtime.files import LOCK, TEMPORARY_SUFFIX, explained, flush_folder, inside, lies_in, locked, write_atomic

BEGUN = "merge.json"


@dataclass(frozen=True)
class Merged:
    """What a merge wrote: pairs and normal images, and what is missing of the run."""

    folder: Path
    pictures: int
    missing: int
    already: bool = False

    def line(self) -> str:
        """In one line."""
        if self.already:
            return f"{self.folder}: merged already"
        lost = f"; {self.missing} that no shard has are missing" if self.missing else ""
        return f"{self.folder}: {self.pictures} pictures{lost}"


def merge(run: Run, into: Path, *, partial: bool, link: bool, progress: Callable[[int], object] = lambda _n: None) -> Merged:
    """Join the shards of a run in one folder.

    Args:
        run: Its shards.
        into: A new or empty folder, or that of the same merge, which then goes on.
        partial: Join what there is though something is missing.
        link: Hard links in place of copies, where the file system has them.
        progress: Called with 1 for each picture.

    Raises:
        DataError: something is missing, a picture is damaged, or the pairs are in tar files, which need no joining.
        OutputError: `into` holds something else, lies in a shard, or cannot be written.
    """
    require_pictures(run.shards[0].folder, run.settings.per_tar)
    missing = sum(series.plan(run.settings).count - len(run.known(series)) for series in SERIES)
    if missing and not partial:
        raise DataError(
            f"{run.shards[0].folder.parent}: {missing} pictures of the run are missing, all expected; "
            "see seas-data status, make them, or take what there is with --partial"
        )
    for shard in run.shards:
        if lies_in(into, shard.folder):
            raise OutputError(f"{into}: lies in the shard {shard.folder}; give another --into")
    known = _identity(run)
    with explained(into, "mend that and give the same command again"):
        if _finished(into, known):
            return Merged(into, 0, missing, already=True)
        into.mkdir(parents=True, exist_ok=True)
        with interrupt(lambda: _left(into)), locked(into):
            write_atomic(into / BEGUN, json.dumps({"shards": known}) + "\n")
            pictures = _fill(run, into, link, progress)
            write_record(into / RUN, _record(run))
            (into / BEGUN).unlink()
            flush_folder(into)
    return Merged(into, pictures, missing)


def _left(into: Path) -> str:
    """What an interrupt leaves."""
    return "pictures that are joined are kept; the same command goes on" if (into / BEGUN).exists() else "nothing was joined"


def _finished(into: Path, known: str) -> bool:
    """Whether the folder is this merge's, whole; it may also be new, empty, or this merge's, begun.

    Raises:
        OutputError: it is something else.
    """
    if not into.exists():
        return False
    if not into.is_dir():
        raise OutputError(f"{into}: is a file, a folder expected; give another --into")
    begun = inside(into, BEGUN)
    if begun.is_file():
        if begun.read_bytes() != (json.dumps({"shards": known}) + "\n").encode():
            raise OutputError(f"{into}: holds a merge of other shards, or of fewer pairs; give another --into, or remove it")
        return False
    if (into / RUN).exists():
        if _identity(read_run([into])) != known:
            raise OutputError(f"{into}: holds another run, or this one with fewer pairs; give another --into, or remove it")
        return True
    strange = [path.name for path in into.iterdir() if path.name != LOCK and not path.name.endswith(TEMPORARY_SUFFIX)]
    if strange:
        raise OutputError(f"{into}: holds {min(strange)}, an empty folder expected; give another --into")
    return False


def _fill(run: Run, into: Path, link: bool, progress: Callable[[int], object]) -> int:
    """Pictures, then journals, then decisions."""
    pictures, folders = 0, set()
    for shard, name in _pictures(run):
        target = inside(into, name)
        if not are_whole([target]):
            target.parent.mkdir(parents=True, exist_ok=True)
            _take(place(shard.folder, name), target, link)
            folders.add(target.parent)
        pictures += 1
        progress(1)
    for folder in folders:
        flush_folder(folder)
    for series in SERIES:
        done: dict[int, bytes] = {}
        refused: dict[int, bytes] = {}
        for shard in run.shards:
            done.update(shard.held[series.noun].done)
            refused.update(shard.held[series.noun].refused)
        Journal(into / series.metadata).replace(done)
        Journal(into / series.refused).replace(refused)
    _decide(run, into)
    return pictures


def _pictures(run: Run) -> Iterator[tuple[Shard, str]]:
    """Every picture once, with the shard that has it."""
    for series in SERIES:
        seen: set[int] = set()
        for shard in run.shards:
            for index in shard.held[series.noun].done:
                if index not in seen:
                    seen.add(index)
                    for name in series.files(run.settings, index):
                        yield shard, name


def _take(source: Path, target: Path, link: bool) -> None:
    """Copy or link a picture, whole or not at all."""
    partial = target.with_name(target.name + TEMPORARY_SUFFIX)
    partial.unlink(missing_ok=True)
    if link:
        os.link(source, partial)
    else:
        with source.open("rb") as given, partial.open("xb") as taken:
            shutil.copyfileobj(given, taken)
            taken.flush()
            os.fsync(taken.fileno())
    if not are_whole([partial]):
        partial.unlink()
        raise DataError(f"{source}: is no whole PNG file any more; make its shard again")
    partial.replace(target)


def _decide(run: Run, into: Path) -> None:
    """Take the decisions of the shards' reviews along, with mended masks."""
    lines = []
    for shard in run.shards:
        for decision in read_decisions(shard.folder).values():
            if decision.mask is not None:
                target = inside(into, decision.mask)
                target.parent.mkdir(parents=True, exist_ok=True)
                _take(place(shard.folder, decision.mask), target, link=False)
            lines.append(decision)
    if lines:
        text = "".join(decision.model_dump_json() + "\n" for decision in sorted(lines, key=lambda line: line.time))
        write_atomic(into / REVIEW, text)


def _record(run: Run) -> RunRecord:
    """The record of one process that made all of it."""
    first = run.shards[0].record
    return first.model_copy(update={"command": _without_shard(first.command), "settings": run.settings})


def _without_shard(command: list[str]) -> list[str]:
    found, words = [], iter(command)
    for word in words:
        if word == "--shard":
            next(words, None)
        elif not word.startswith("--shard="):
            found.append(word)
    return found


def _identity(run: Run) -> str:
    """Of the settings and all lines, sha256 in hexadecimal."""
    found = hashlib.sha256(run.settings.model_dump_json().encode())
    for series in SERIES:
        lines: dict[int, bytes] = {}
        for shard in run.shards:
            lines |= {**shard.held[series.noun].refused, **shard.held[series.noun].done}
        for index in sorted(lines):
            found.update(lines[index])
    return found.hexdigest()
