"""Pairs whose mask repeats another's to the pixel: of a generator that has learned one mask by heart."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from seas_runtime.dataset.records import Line
from seas_runtime.errors import OutputError
from seas_runtime.files import inside, open_regular


def repeats(out: Path, lines: Iterable[Line]) -> dict[str, list[int]]:
    """The indices of pairs, by defect type, with the very mask of an earlier pair of their type.

    Only masks of equal area and box are opened, so that a run of ten thousand different ones costs no reading.

    Args:
        out: the folder of a run.
        lines: of its `metadata.jsonl`, in rising order.

    Raises:
        OutputError: a mask is gone or damaged.
    """
    alike: defaultdict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for line in lines:
        place = f"{line.get('area')} {line.get('bbox')}"
        alike[line["defect"], place].append((line["index"], line["mask_file_name"]))
    found: dict[str, list[int]] = {}
    for (defect, _), pairs in alike.items():
        if len(pairs) > 1 and (again := list(_again(out, pairs))):
            found[defect] = sorted((*found.get(defect, ()), *again))
    return found


def _again(out: Path, pairs: Iterable[tuple[int, str]]) -> Iterator[int]:
    seen = set()
    for index, name in pairs:
        digest = _digest(inside(out, name))
        if digest in seen:
            yield index
        seen.add(digest)


def _digest(path: Path) -> bytes:
    try:
        with open_regular(path) as stream, Image.open(stream) as image:
            pixels = np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise OutputError(f"{path}: cannot be read ({error}); remove it and run the same command again") from None
    return hashlib.blake2b(repr(pixels.shape).encode() + pixels.tobytes(), digest_size=16).digest()
