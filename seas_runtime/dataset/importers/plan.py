"""What an import will do, known before it writes anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from seas_runtime.dataset.importers.pixels import Header
from seas_runtime.dataset.importers.records import LeftOut, Picture
from seas_runtime.dataset.importers.settings import ImportSettings
from seas_runtime.fit import View

COMBINED = "combined"
"""The type of a picture with several types of anomalies, as in MVTec AD."""


@dataclass(frozen=True)
class Piece:
    """A picture that will be written.

    Attributes:
        view: Where it lies in its photograph.
        title: Its type; None for a normal picture.
        titles: The types that are marked on it, with their areas in pixels.
        area: The marked share of it.
        width: How wide the anomaly is on its photograph, in that one's pixels.
    """

    view: View
    title: str | None = None
    titles: tuple[tuple[str, int], ...] = ()
    area: float = 0.0
    width: float = 0.0


@dataclass(frozen=True)
class Entry:
    """A photograph that was opened, and what becomes of it.

    Attributes:
        picture: The photograph and its marks.
        header: What its file says of it.
        pieces: The pictures that will be written.
        passed: What of it is not written, a reason each.
        scaled: Its marks were drawn at another size.
        blank: It has a mask, and nothing is marked there.
    """

    picture: Picture
    header: Header
    pieces: tuple[Piece, ...]
    passed: tuple[str, ...] = ()
    scaled: bool = False
    blank: bool = False


@dataclass(frozen=True)
class Plan:
    """What an import will do.

    Attributes:
        source: The folder that was read.
        format: What people call its format.
        settings: What was asked.
        entries: Every photograph that is used.
        left_out: Every file that is not.
        notes: What the user should know, a line each.
        doubts: What may have been mistaken, a line each.
    """

    source: Path
    format: str
    settings: ImportSettings
    entries: tuple[Entry, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    doubts: tuple[str, ...]

    @property
    def lost(self) -> tuple[LeftOut, ...]:
        """The files left out that a user would want to be used."""
        return tuple(left for left in self.left_out if left.loses)

    @property
    def titles(self) -> tuple[str, ...]:
        """The types of the pictures, sorted."""
        return tuple(sorted({piece.title for piece in self.pieces() if piece.title is not None}))

    def pieces(self) -> Iterable[Piece]:
        """All pictures that will be written."""
        return (piece for entry in self.entries for piece in entry.pieces)
