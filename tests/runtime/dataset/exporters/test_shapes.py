"""Pieces, run lengths and outlines against SciPy, pycocotools, OpenCV and Pillow."""

from functools import partial

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageDraw
from pycocotools import mask as coco
from scipy import ndimage

from seas_runtime.dataset.shapes.outlines import outline
from seas_runtime.dataset.shapes.pieces import pieces, whole
from seas_runtime.dataset.shapes.rle import encode

from .out_folder import masks

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # of pycocotools under NumPy 2
HARD = pytest.mark.parametrize("mask", masks().values(), ids=masks().keys())
SIZES = st.tuples(st.integers(1, 12), st.integers(1, 12))
ANY = arrays.arrays(np.bool_, SIZES)


def full(piece, shape):
    """The piece as a mask of the whole image."""
    x, y, width, height = piece.box
    mask = np.zeros(shape, bool)
    mask[y : y + height, x : x + width] = piece.crop()
    return mask


def labelled(mask):
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    return [labels == number for number in range(1, count + 1)]


def check_pieces(mask):
    found = pieces(mask)
    expected = sorted(labelled(mask), key=lambda part: int(np.flatnonzero(part.T)[0]))
    assert len(found) == len(expected)
    for piece, part in zip(found, expected, strict=True):
        rows, columns = np.nonzero(part)
        assert piece.area == len(rows)
        assert piece.box == (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
        assert np.array_equal(full(piece, mask.shape), part)


def check_rle(mask):
    for piece in (whole(mask), *pieces(mask)):
        part = mask if piece.area == mask.sum() else full(piece, mask.shape)
        theirs = coco.encode(np.asfortranarray(part.astype(np.uint8)))
        assert encode(piece) == {"size": list(mask.shape), "counts": theirs["counts"].decode()}


def check_outlines(mask, inset):
    height, width = mask.shape
    for piece in pieces(mask):
        part = full(piece, mask.shape)
        corners = outline(piece)
        x, y = corners.T
        assert np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) / 2 == piece.area  # the shoelace formula
        theirs = coco.frPyObjects([corners.ravel().tolist()], height, width)
        assert np.array_equal(coco.decode(coco.merge(theirs)), part)
        inside = outline(piece, inset)
        drawn = np.zeros(mask.shape, np.uint8)
        cv2.fillPoly(drawn, [inside.astype(np.int32)], 1)  # as Ultralytics does
        assert np.array_equal(drawn, part)
        canvas = Image.new("L", (width, height))
        ImageDraw.Draw(canvas).polygon([tuple(point) for point in inside], outline=1, fill=1)  # as LabelMe does
        assert np.array_equal(np.asarray(canvas), part)
        left, top, wide, high = piece.box
        assert np.allclose(inside.min(axis=0), (left + inset, top + inset))
        assert np.allclose(inside.max(axis=0), (left + wide - inset, top + high - inset))


CHECKS = pytest.mark.parametrize(
    "check",
    [check_pieces, check_rle, partial(check_outlines, inset=1 / 16), partial(check_outlines, inset=3 / 8)],
)


@CHECKS
@HARD
def test_hard_masks(check, mask):
    check(mask)


@CHECKS
@given(data=st.data())
def test_any_mask(check, data):
    check(data.draw(ANY))


def test_a_mask_of_nothing_has_no_piece_and_one_count():
    nothing = np.zeros((3, 5), np.uint8)
    assert pieces(nothing) == []
    theirs = coco.encode(np.asfortranarray(nothing))
    assert encode(whole(nothing))["counts"].encode() == theirs["counts"]


def test_long_counts_are_written_in_groups_of_five_bits():
    mask = np.zeros((3000, 2000), bool)
    mask[100:2900, 50:1900] = True
    mask[1500, 1000] = False
    check_rle(mask)
