"""What of a series lies whole in a run's folder: its lines whose pictures are there, and its refusals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from seas_runtime.dataset.packed import Packing
from seas_runtime.dataset.png import are_whole
from seas_runtime.dataset.records import Entry, Journal
from seas_runtime.dataset.series import Series
from seas_runtime.settings import Settings


@dataclass(frozen=True)
class Kept:
    """Lines of a journal as they lie there, by index: of what is in place, and of what the gate gave up."""

    done: Mapping[int, bytes]
    refused: Mapping[int, bytes]

    @property
    def known(self) -> set[int]:
        """Indices of both."""
        return {*self.done, *self.refused}


def kept(out: Path, series: Series, settings: Settings) -> Kept:
    """Read both journals of a series; a line that is not of this run, or whose pictures are missing or torn, is passed over.

    Raises:
        OSError: a journal cannot be read.
    """
    defects, packing = series.plan(settings).defects, Packing(out, series, settings)

    def ours(index: int, entry: Entry) -> bool:
        return entry.defect == defects[index % len(defects)]

    def in_place(index: int, text: bytes) -> bool:
        entry, names = Entry.model_validate_json(text), series.files(settings, index)
        told = tuple(name for name in (entry.file_name, entry.mask_file_name) if name is not None)
        return ours(index, entry) and told == names and (packing.holds(index) or are_whole(out / name for name in names))

    def given_up(index: int, text: bytes) -> bool:
        entry = Entry.model_validate_json(text)
        return ours(index, entry) and entry.verdict is not None

    done, refused = Journal(out / series.metadata).read(), Journal(out / series.refused).read()
    return Kept(
        {index: text for index, text in done.items() if in_place(index, text)},
        {index: text for index, text in refused.items() if given_up(index, text)},
    )
