"""Where on a photograph of the user's a picture of the training lies: what a generated one is put back with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from seas_runtime.bundle.manifest import Place
from seas_runtime.fit import Box, Size
from seas_train.data.images import read_size
from seas_train.data.layouts.records import Record

IMPORT = "import.json"


class _Written(BaseModel):
    """What the record of `seas-data import` says of a picture."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    file: str
    source: str
    photograph: Size
    box: Box
    size: Size


class _Record(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    pictures: tuple[_Written, ...]


def places(records: Sequence[Record], root: Path) -> tuple[Place, ...]:
    """The place of each record; of a picture that was cut out at an import, on the photograph before that.

    Args:
        records: With their views, or stretched.
        root: The product's folder, which names of files are relative to.

    Raises:
        DataError: A picture cannot be read.
    """
    imported = _imported(root)
    sizes = {file: read_size(file) for file in dict.fromkeys(record.image for record in records)}
    found = []
    for record in records:
        size = sizes[record.image]
        box = record.view.box if record.view is not None else (0, 0, *size)
        name = record.image.relative_to(root).as_posix()
        before = imported.get(name)
        if before is not None and before.size == size:
            found.append(Place(file=before.source, size=before.photograph, box=_composed(before.box, before.size, box)))
        else:
            found.append(Place(file=name, size=size, box=box))
    return tuple(found)


def _composed(outer: Box, size: Size, inner: Box) -> Box:
    """A box of a picture of this size that shows the box `outer`, in the pixels that `outer` is told in."""
    across, down = outer[2] / size[0], outer[3] / size[1]
    return (
        outer[0] + round(inner[0] * across),
        outer[1] + round(inner[1] * down),
        max(1, round(inner[2] * across)),
        max(1, round(inner[3] * down)),
    )


def _imported(root: Path) -> dict[str, _Written]:
    """The pictures of an import by their names; none where the product was not imported, or its record is another's."""
    try:
        record = _Record.model_validate(json.loads((root / IMPORT).read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError):
        return {}
    return {one.file: one for one in record.pictures}
