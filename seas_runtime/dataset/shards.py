"""The shards of a run: run folders of their own, OUT/shard-K-of-N, so that any number of machines may share OUT."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from seas_runtime.dataset.kept import Kept, kept
from seas_runtime.dataset.records import RUN, RunRecord, read_record
from seas_runtime.dataset.series import SERIES, Series
from seas_runtime.errors import DataError
from seas_runtime.settings import Settings

_FOLDER = re.compile(r"shard-\d+-of-\d+")
_SHOWN = 8


def folder_of(out: Path, shard: tuple[int, int]) -> Path:
    """Where a shard of several is written below OUT; OUT itself where that holds a run already, as of earlier versions."""
    part, parts = shard
    return out if parts == 1 or (out / RUN).exists() else out / f"shard-{part}-of-{parts}"


def shards_in(out: Path) -> list[Path]:
    """The shards' folders below OUT, in order; none where it is a run itself."""
    if not out.is_dir() or (out / RUN).exists():
        return []
    return sorted((path for path in out.iterdir() if _FOLDER.fullmatch(path.name)), key=lambda path: _numbers(path.name))


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", name)))


@dataclass(frozen=True)
class Shard:
    """A shard's folder, its record, and what lies in it by series."""

    folder: Path
    record: RunRecord
    held: dict[str, Kept]


@dataclass(frozen=True)
class Run:
    """All shards of one run.

    Attributes:
        shards: In the order of their numbers.
        parts: How many there are to be.
        settings: Of the whole run, as of one process that made all of it.
    """

    shards: tuple[Shard, ...]
    parts: int
    settings: Settings

    def missing(self, series: Series) -> list[tuple[int, ...]]:
        """Batches of the whole run of which something is missing."""
        known = self.known(series)
        return [batch for batch in series.plan(self.settings).batches() if not known >= set(batch)]

    def known(self, series: Series) -> set[int]:
        """Indices that some shard has made or given up."""
        return set().union(*(shard.held[series.noun].known for shard in self.shards))

    def facts(self) -> dict[str, object]:
        """As `lines`, for `--json`; batches by their numbers."""
        told: dict[str, object] = {"shards": self.parts}
        for series in SERIES:
            if (count := series.plan(self.settings).count) != 0:
                done = sum(len(shard.held[series.noun].done) for shard in self.shards)
                refused = sum(len(shard.held[series.noun].refused) for shard in self.shards)
                missing = [batch[0] // self.settings.batch for batch in self.missing(series)]
                told[f"{series.noun}s"] = {"asked": count, "done": done, "refused": refused, "missing_batches": missing}
        return told

    def lines(self) -> Iterator[str]:
        """What there is and what is missing, in lines for a person."""
        settings = self.settings
        for series in SERIES:
            plan = series.plan(settings)
            if not plan.count:
                continue
            done = sum(len(shard.held[series.noun].done) for shard in self.shards)
            refused = sum(len(shard.held[series.noun].refused) for shard in self.shards)
            missing = self.missing(series)
            gone = plan.count - len(self.known(series))
            given_up = f", {refused} refused" if refused else ""
            yield f"{series.noun}s      {done} of {plan.count} in place{given_up}, {gone} missing"
            for part in sorted({batch[0] // settings.batch % self.parts for batch in missing}):
                mine = [batch for batch in missing if batch[0] // settings.batch % self.parts == part]
                shown = ", ".join(str(batch[0] // settings.batch) for batch in mine[:_SHOWN])
                more = f" and {len(mine) - _SHOWN} more" if len(mine) > _SHOWN else ""
                yield f"  shard {part}/{self.parts} lacks {len(mine)} batches: {shown}{more}"


def read_run(folders: Sequence[Path]) -> Run:
    """Read the shards of one run.

    Args:
        folders: of `seas-gen`'s --out: of shards, or with shards in them.

    Raises:
        DataError: there is none, a folder is no run's, two are of runs that differ, or of one pair two folders hold different
            lines.
        OutputError: a record cannot be read.
    """
    places = [place for folder in folders for place in (shards_in(folder) or [folder])]
    shards = [_shard(place) for place in places]
    first = shards[0]
    for other in shards[1:]:
        _same(first, other)
    asked = first.record.settings
    shards.sort(key=lambda shard: shard.record.settings.shard)
    _no_doubles(shards)
    return Run(tuple(shards), asked.shard[1], asked.model_copy(update={"shard": (0, 1)}))


def _shard(folder: Path) -> Shard:
    if not folder.is_dir():
        raise DataError(f"{folder}: {'is a file' if folder.exists() else 'no such folder'}, a folder of seas-gen expected")
    record = read_record(folder / RUN)
    if record is None:
        raise DataError(f"{folder}: holds neither {RUN} nor shard-K-of-N, a folder of seas-gen expected; check the path")
    return Shard(folder, record, {series.noun: kept(folder, series, record.settings) for series in SERIES})


def _same(first: Shard, other: Shard) -> None:
    """Refuse shards of two runs: all settings but the part are the same, the totals too."""
    mine, theirs = first.record.settings.model_dump(), other.record.settings.model_dump()
    mine["shard"], theirs["shard"] = (settings["shard"][1] for settings in (mine, theirs))
    for name, value in mine.items():
        if theirs[name] != value:
            what = "number of shards" if name == "shard" else name
            raise DataError(
                f"{other.folder}: has the {what} {theirs[name]}, {first.folder} {value}; shards of one run expected, "
                "give those alone or make the other again with the same settings"
            )


def _no_doubles(shards: Iterable[Shard]) -> None:
    """Refuse two different lines of one index; the same pair twice is once."""
    for series in SERIES:
        seen: dict[int, tuple[bytes, Path]] = {}
        for shard in shards:
            for lines in (shard.held[series.noun].done, shard.held[series.noun].refused):
                for index, text in lines.items():
                    known, where = seen.setdefault(index, (text, shard.folder))
                    if known != text:
                        raise DataError(
                            f"{shard.folder}: holds another {series.noun} {index} than {where}; one of each expected, "
                            "leave a folder out"
                        )


def hint(out: Path) -> str:
    """What to do with a folder that is no run, but holds shards."""
    found = len(shards_in(out))
    return f"join the {found} shards in it: seas-data merge {out} --into DIR" if found else "check the path"
