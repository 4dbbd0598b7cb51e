"""What is known of a picture, as a flat line that formats with metadata hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from seas_runtime.dataset.pictures import Item
from seas_runtime.dataset.read import Record
from seas_runtime.dataset.shapes.pieces import whole

NORMAL = "good"
NONE = -1


def line(record: Record, item: Item, classes: tuple[str, ...]) -> dict[str, Any]:
    """Defect type ("good" for a normal picture), class from 1 (0), area and box of the mask, pair and normal image (-1).

    Lines have the same keys and types whatever the picture, and no nulls: columns of tables get their types from them.
    """
    return {
        "defect": record.defect or NORMAL,
        "class": classes.index(record.defect) + 1 if record.defect else 0,
        "area": int(np.count_nonzero(item.mask)),
        "bbox": list(whole(item.mask).box) if item.mask.any() else [0, 0, 0, 0],
        "index": _number(record, "index"),
        "normal": _number(record, "normal"),
    }


def _number(record: Record, name: str) -> int:
    value = record.facts.get(name)
    return value if isinstance(value, int) else NONE
