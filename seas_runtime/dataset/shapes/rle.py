"""Run lengths of a mask as COCO stores them, and the text that pycocotools reads.

Counts of zeros and ones by turns, zeros first, down the columns. In the text every count after the third is the
difference from the one two before it; a number is written in groups of five bits, lowest first, a sixth bit
saying that more follow, the highest bit of the last group being the sign; each group is a character from 48 on.
"""

from __future__ import annotations

from typing import TypedDict

from seas_runtime.dataset.shapes.pieces import Piece

_BITS, _SIGN, _MORE, _FIRST = 5, 0x10, 0x20, 48


class Rle(TypedDict):
    """COCO's compressed form: `size` is [height, width]."""

    size: list[int]
    counts: str


def encode(piece: Piece) -> Rle:
    """The pixels of `piece` in COCO's compressed form."""
    return {"size": [piece.height, piece.width], "counts": compress(counts(piece))}


def counts(piece: Piece) -> list[int]:
    """Numbers of zeros and ones by turns, zeros first, down the columns; their sum is height * width."""
    found: list[int] = []
    at = 0
    for start, stop in piece.runs.tolist():
        found += [start - at, stop - start]
        at = stop
    rest = piece.height * piece.width - at
    return [*found, rest] if rest or not found else found


def compress(numbers: list[int]) -> str:
    """The text of these counts."""
    characters: list[str] = []
    for i, number in enumerate(numbers):
        left = number - numbers[i - 2] if i > 2 else number
        more = True
        while more:
            group = left & 0x1F
            left >>= _BITS
            more = left != (-1 if group & _SIGN else 0)
            characters.append(chr(_FIRST + group + (_MORE if more else 0)))
    return "".join(characters)
