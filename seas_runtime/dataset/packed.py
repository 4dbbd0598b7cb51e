"""Pairs in tar files, as WebDataset reads them: for data sets of more files than a file system likes.

Pairs are first written and noted as ever; once those of a tar file are all there, it is written, whole or not at all, and their
pictures go. So the pairs, and what a killed run loses, are those of any other run.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from seas_runtime.dataset.records import Entry
from seas_runtime.dataset.series import PAIRS, Series
from seas_runtime.files import TEMPORARY_SUFFIX, flush_folder, inside
from seas_runtime.settings import Settings

_END = 1024  # zeros at the end of a tar file


class Packing:
    """Which pair belongs in which tar file of a run's folder.

    The pairs of this run or shard, in order, are cut in groups of `settings.per_tar`; the last may be short.
    """

    def __init__(self, out: Path, series: Series, settings: Settings) -> None:
        self.out, self.series, self.settings = out, series, settings
        self.active = series is PAIRS and settings.per_tar > 0
        self._waiting: dict[int, bytes] = {}  # lines of pairs that lie there as pictures
        self._refused: set[int] = set()

    @cached_property
    def groups(self) -> list[tuple[int, ...]]:
        """Indices of each tar file, in order."""
        size = self.settings.per_tar
        indices = [index for batch in self.series.plan(self.settings).batches() for index in batch]
        return [tuple(indices[first : first + size]) for first in range(0, len(indices), size)] if self.active else []

    @cached_property
    def number(self) -> dict[int, int]:
        """The tar file of each index."""
        return {index: number for number, group in enumerate(self.groups) for index in group}

    def file(self, number: int) -> Path:
        """Where a tar file lies; a shard's name is in it, so that those of all shards may lie in one folder."""
        part, parts = self.settings.shard
        shard = f"-{part}-of-{parts}" if parts > 1 else ""
        return self.out / f"{self.settings.product}{shard}-{number:06d}.tar"

    @cached_property
    def _members(self) -> dict[int, frozenset[str]]:
        """Names in the tar files that are there."""
        found = {}
        for number in range(len(self.groups)):
            if (path := self.file(number)).is_file():
                names = _names(path)
                if names:  # else it is made again
                    found[number] = names
        return found

    def holds(self, index: int) -> bool:
        """Whether a pair is in its tar file."""
        return self.active and f"{index:06d}.png" in self._members.get(self.number.get(index, -1), frozenset())

    def note(self, done: Mapping[int, bytes], refused: Iterable[int]) -> None:
        """Tell of pairs whose pictures and lines are there, and of those that were given up."""
        if self.active:
            self._waiting.update(done)
            self._refused.update(refused)

    def pack(self) -> None:
        """Write the tar files of which all pairs are known; the pictures of what is in one go.

        Raises:
            OSError: the disk is full, or files cannot be read or removed.
        """
        for number in sorted({self.number[index] for index in self._waiting}):
            group = [index for index in self.groups[number] if index not in self._refused]
            if not all(index in self._waiting or self.holds(index) for index in group):
                continue
            if not all(map(self.holds, group)):
                self._write(number, group)
            for index in group:
                self._waiting.pop(index, None)
                for name in self.series.files(self.settings, index):
                    inside(self.out, name).unlink(missing_ok=True)

    def _write(self, number: int, group: Sequence[int]) -> None:
        path = inside(self.out, self.file(number).name)
        partial = path.with_name(path.name + TEMPORARY_SUFFIX)
        partial.unlink(missing_ok=True)
        with partial.open("xb") as stream:
            with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                for index in group:
                    for name, data in self._contents(index):
                        header = tarfile.TarInfo(name)  # its owner, times and mode say nothing of this machine
                        header.size = len(data)
                        tar.addfile(header, io.BytesIO(data))
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
        flush_folder(self.out)
        self._members[number] = frozenset(f"{index:06d}.png" for index in group)

    def _contents(self, index: int) -> Iterator[tuple[str, bytes]]:
        """KEY.json, KEY.mask.png and KEY.png of a pair; where only a shorter tar file has it, from there."""
        names = (f"{index:06d}.json", f"{index:06d}.mask.png", f"{index:06d}.png")
        if index not in self._waiting:
            with tarfile.open(self.file(self.number[index])) as tar:
                for name in names:
                    stream = tar.extractfile(name)
                    yield name, stream.read() if stream is not None else b""
            return
        image, mask = self.series.files(self.settings, index)
        entry = Entry.model_validate_json(self._waiting[index])
        facts = json.dumps(entry.model_dump(exclude={"file_name", "mask_file_name"}, exclude_unset=True)).encode()
        yield from zip(names, (facts, inside(self.out, mask).read_bytes(), inside(self.out, image).read_bytes()), strict=True)


def _names(path: Path) -> frozenset[str]:
    """Members of a tar file that is whole to its end; none of one that is not."""
    try:
        with path.open("rb") as stream:
            stream.seek(-_END, os.SEEK_END)
            if stream.read() != bytes(_END):
                return frozenset()
        with tarfile.open(path) as tar:
            return frozenset(tar.getnames())
    except (tarfile.TarError, OSError, EOFError):
        return frozenset()
