"""What every format gives: pictures with their marks, and all that was not understood."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from seas_runtime.fit import Bits, Size

Blank = Literal["broken", "normal", "doubt"]


class BrokenError(ValueError):
    """An annotation or picture that cannot be used; its text is the reason, in a few words."""


class Shape(Protocol):
    """What a mark covers."""

    def paint(self, canvas: Bits, frame: Size) -> None:
        """Set `canvas` (H, W) bool to true where the mark is, and leave the rest as it is.

        Args:
            canvas: Covers the whole picture, at any size.
            frame: The size of the picture in the units of the shape; it is scaled from there to the canvas.

        Raises:
            BrokenError: The shape cannot be painted.
        """


@dataclass(frozen=True)
class Mark:
    """An anomaly on a picture.

    Attributes:
        title: Its type, in the user's own words.
        shape: What it covers.
        frame: The size of the picture it was drawn on; None where the format does not say.
        coarse: A box where an outline was wanted: it marks more than the anomaly.
    """

    title: str
    shape: Shape
    frame: Size | None = None
    coarse: bool = False


@dataclass(frozen=True)
class Picture:
    """A photograph and what is marked on it; without marks it is a normal one.

    Attributes:
        file: Where it is.
        marks: The anomalies.
        held_out: A normal picture for evaluation (`test/good`).
        embedded: The picture is inside of its LabelMe file, which is `file`.
        blank: What it is where its marks cover no pixel: of no use, a normal picture, or perhaps a normal one.
    """

    file: Path
    marks: tuple[Mark, ...] = ()
    held_out: bool = False
    embedded: bool = False
    blank: Blank = "broken"


@dataclass(frozen=True)
class LeftOut:
    """A file that is not used; `loses` where a user would want it to be."""

    file: Path
    reason: str
    loses: bool


@dataclass
class Findings:
    """All that reading a source gives, filled while it is read.

    Attributes:
        format: The title of the format.
        pictures: What can be used.
        left_out: What cannot, or is nothing of ours.
        notes: What the user should know and may leave as it is, a line each.
        doubts: What may have been taken for something else than it is, a line each; a person should look.
        consumed: Files that were read and are no pictures to use: annotations, masks.
        proposed: Words of the annotations (a colour, a number) -> the titles proposed for them.
    """

    format: str
    pictures: list[Picture] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    consumed: set[Path] = field(default_factory=set)
    proposed: dict[str, str] = field(default_factory=dict)

    def leave(self, file: Path, reason: object, *, loses: bool) -> None:
        """Leave a file out."""
        self.left_out.append(LeftOut(file, str(reason), loses))
