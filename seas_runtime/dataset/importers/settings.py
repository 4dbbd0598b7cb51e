"""What the user may ask of an import."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from seas_runtime.fit import OVERLAP, Fit

Unmarked = Literal["auto", "normal", "leave"]
Inverted = Literal["auto", "yes", "no"]


class ImportSettings(BaseModel):
    """Settings of an import, checked before anything is read.

    Attributes:
        format: The name of a format, or "auto".
        images: More folders in which annotated pictures may lie.
        normals: More folders, of pictures of faultless products.
        types: Words of the annotations (a label, a number, a colour) -> titles; "" leaves these marks out.
        unmarked: What pictures without any mark are; "auto" takes those for normal that lie in a folder of such a name.
        inverted: Whether mask pictures are dark where the anomaly is; "auto" looks.
        line_width: Of lines and points, in pixels; None leaves their pictures out.
        fit: What becomes of pictures that are not `size` pixels square.
        size: Side of the written pictures, and of the model, in pixels.
        overlap: Share of a tile that it has in common with the next.
        normal_tiles: Whether tiles without a mark, of a picture with marks, are normal pictures.
        name: The product's title, in any script; None is that of its folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: str = "auto"
    images: tuple[Path, ...] = ()
    normals: tuple[Path, ...] = ()
    types: dict[str, str] = Field(default_factory=dict)
    unmarked: Unmarked = "auto"
    inverted: Inverted = "auto"
    line_width: float | None = Field(default=None, gt=0, le=1000)
    fit: Fit | Literal["keep"] = "keep"
    size: int = Field(default=512, ge=16, le=4096)
    overlap: float = Field(default=OVERLAP, ge=0, lt=0.9)
    normal_tiles: bool = False
    name: str | None = None
