"""Run-length codes, against pycocotools, Label Studio's own encoder and codes made by hand."""

import numpy as np
import pytest
from pycocotools import mask as pycocotools_mask

from seas_runtime.dataset.importers import rle
from seas_runtime.dataset.importers.records import BrokenError
from tests.runtime.dataset.written_sources import brush

SIZES = [(1, 1), (7, 5), (64, 48), (333, 200)]
# What label_studio_sdk 2.1.2 (converter.brush.mask2rle) makes of the mask below.
FROM_LABEL_STUDIO = [
    *(0, 0, 0, 252, 57, 27, 252, 127, 248, 156, 3, 9, 255, 223, 0, 194, 127, 247, 192, 39, 255, 140, 2, 127),
    *(251, 224, 24, 79, 255, 37, 128, 71, 254),
]
DRAWN = """
#........
..#####..
..#####..
..##.##..
..#####..
.........
........#
"""


def masks(width, height):
    generator = np.random.default_rng(width)
    return [generator.random((height, width)) < share for share in (0, 0.02, 0.5, 0.98, 1)]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_coco_codes_are_those_of_pycocotools(width, height):
    for mask in masks(width, height):
        code = pycocotools_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert np.array_equal(rle.coco(code["counts"].decode(), (width, height)), mask)
        flat = mask.ravel(order="F")
        runs = np.diff([0, *np.flatnonzero(np.diff(flat, prepend=False)), flat.size]).tolist()
        assert np.array_equal(rle.coco(runs, (width, height)), mask)


def test_a_code_along_rows_begins_with_what_is_not_marked():
    assert rle.rows([1, 3, 1, 1], (3, 2)).tolist() == [[False, True, True], [True, False, True]]


def test_label_studios_own_code_is_read():
    expected = np.array([[char == "#" for char in line] for line in DRAWN.split()])
    assert np.array_equal(rle.label_studio(FROM_LABEL_STUDIO, (9, 7)), expected)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_brush_codes_are_read(width, height):
    for mask in masks(width, height):
        assert np.array_equal(rle.label_studio(brush(mask), (width, height)), mask)


@pytest.mark.parametrize(
    "counts",
    [
        [3, 4],
        [-1, 7],
        [6.5, 1e300],
        "not a code",
        "PPPPPPPPPPPPPPPPPP",
        "é",
        [[1], [2, 3]],
        None,
        {"a": 1},
        [float("nan"), 6],
    ],
)
def test_damaged_coco_codes_are_refused(counts):
    with pytest.raises(BrokenError, match="run-length"):
        rle.coco(counts, (3, 2))


@pytest.mark.parametrize(
    "code",
    [
        FROM_LABEL_STUDIO[:-3],
        FROM_LABEL_STUDIO[:5],
        [300, 2] * 9,
        "text",
        None,
        [[0] * 9] * 2,
        [0] * 40,
        [float("inf")] * 9,
    ],
)
def test_damaged_brush_codes_are_refused(code):
    with pytest.raises(BrokenError, match="brush code"):
        rle.label_studio(code, (9, 7))


def test_a_brush_code_of_another_size_is_refused():
    with pytest.raises(BrokenError, match="63 pixels, expected 10 x 7"):
        rle.label_studio(FROM_LABEL_STUDIO, (10, 7))
