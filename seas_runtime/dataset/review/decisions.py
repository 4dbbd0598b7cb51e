"""Decisions on pairs: `OUT/review.jsonl` and the mended masks in `OUT/review`.

A line is {"index": 12, "decision": "accept", "mask": "review/000012_mask.png", "time": 1760000000.0}; the last line of
an index counts, a torn or damaged line does not. "mask" is null where the generated mask stands. Other commands need
`read_decisions` and `mask_name_of` alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from seas_runtime.dataset.review.inside import refuse_link
from seas_runtime.errors import DataError

REVIEW, MASKS = "review.jsonl", "review"
Verdict = Literal["accept", "reject", "undecided"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
TOP_INDEX = 10**9
_LONGEST_LINE = 4096
_MOST_BYTES = 1 << 28


class Decision(BaseModel):
    """A line of `review.jsonl`: what was decided on pair `index`, and the path of its mended mask in OUT, if any."""

    model_config = ConfigDict(frozen=True, strict=True)

    index: int = Field(ge=0, le=TOP_INDEX)
    decision: Verdict
    mask: str | None = None
    time: float = Field(allow_inf_nan=False)

    @model_validator(mode="after")
    def _own_mask(self) -> Decision:
        if self.mask not in {None, mask_name(self.index)}:
            raise ValueError(f"mask {self.mask!r} found, {mask_name(self.index)} expected")
        return self


def mask_name(index: int) -> str:
    """Where the mended mask of a pair lies, relative to OUT."""
    return f"{MASKS}/{index:06d}_mask.png"


def read_decisions(out: Path) -> dict[int, Decision]:
    """The decision on each pair that has one, by index; none where nobody has reviewed.

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
        return {decision.index: decision for decision in _decisions(path)}
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); mend that") from None


def _decisions(path: Path) -> Iterator[Decision]:
    with path.open("rb") as stream:
        begun = False
        while text := stream.readline(_LONGEST_LINE):
            begun, rest = not text.endswith(b"\n"), begun
            if begun or rest:  # torn, or a part of a line too long to be ours
                continue
            try:
                yield Decision.model_validate_json(text)
            except ValidationError:
                continue
