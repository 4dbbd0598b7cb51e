"""Decisions on pairs: `OUT/review.jsonl` and the mended masks in `OUT/review`.

A line is {"index": 12, "decision": "accept", "mask": "review/000012_mask.png", "time": 1760000000.0}; the last line of
an index counts, a torn line does not. "mask" is null where the generated mask stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from seas_runtime.dataset.inside import refuse_link
from seas_runtime.dataset.lines import TOP_INDEX, first_fault
from seas_runtime.errors import DataError

REVIEW, MASKS = "review.jsonl", "review"
Verdict = Literal["accept", "reject", "undecided"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
_LONGEST_LINE = 4096
_MOST_BYTES = 1 << 28


class Decision(BaseModel):
    """A line of `review.jsonl`: what was decided on pair `index`, and the path of its mended mask in OUT, if any."""

    model_config = ConfigDict(frozen=True, strict=True)

    index: int = Field(ge=0, le=TOP_INDEX)
    decision: Verdict
    mask: str | None = None
    time: float = Field(0.0, allow_inf_nan=False)

    @field_validator("mask")
    @classmethod
    def _own_mask(cls, mask: str | None, known: ValidationInfo) -> str | None:
        if mask is not None and mask != (expected := mask_name(known.data.get("index", 0))):
            raise ValueError(f"mask {mask!r} found, {expected} expected")
        return mask


def mask_name(index: int) -> str:
    """Where the mended mask of a pair lies, relative to OUT."""
    return f"{MASKS}/{index:06d}_mask.png"


def pass_over(_number: int, _reason: str) -> None:
    """What a page does about a damaged line: its pair can be decided again."""


def read_decisions(out: Path, damaged: Callable[[int, str], None] = pass_over) -> dict[int, Decision]:
    """The decision on each pair that has one, by index; none where nobody has reviewed.

    Args:
        out: the folder of the run.
        damaged: told the number of a whole line that cannot be understood, from 1, and what is wrong with it.

    Raises:
        DataError: `review.jsonl` is a link, no file, too large, or cannot be read.
    """
    path = out / REVIEW
    refuse_link(path)
    if not path.exists():
        return {}
    if not path.is_file() or path.stat().st_size > _MOST_BYTES:
        raise DataError(f"{path}: a file of at most {_MOST_BYTES} bytes expected; move it away to review anew")
    try:
        return {decision.index: decision for decision in _decisions(path, damaged)}
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); mend that") from None


def _decisions(path: Path, damaged: Callable[[int, str], None]) -> Iterator[Decision]:
    for number, text in enumerate(_lines(path), start=1):
        if text is None:
            damaged(number, f"longer than {_LONGEST_LINE} bytes, a decision expected")
            continue
        try:
            yield Decision.model_validate_json(text)
        except ValidationError as error:
            damaged(number, first_fault(error))


def _lines(path: Path) -> Iterator[bytes | None]:
    """The whole lines of a file, None for one too long to be ours; a torn last one is none."""
    with path.open("rb") as stream:
        begun = False
        while text := stream.readline(_LONGEST_LINE):
            begun, rest = not text.endswith(b"\n"), begun
            if not begun:
                yield None if rest else text
