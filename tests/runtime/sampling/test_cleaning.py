"""Specks and holes, against OpenCV's connected components and masks worked by hand."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from seas_runtime.sampling.cleaning import clean, label

SMALL = arrays.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@given(SMALL, st.booleans())
def test_labels_are_opencvs_up_to_their_numbers(marked, corners):
    number, expected, stats, _ = cv2.connectedComponentsWithStats(marked.astype(np.uint8), connectivity=8 if corners else 4)
    labels, areas = label(marked, corners)
    assert len(areas) == number
    pairs = set(zip(labels[marked].tolist(), expected[marked].tolist(), strict=True))
    assert len(pairs) == number - 1  # each label of ours is one of theirs and the other way round
    assert all(areas[ours] == stats[theirs, cv2.CC_STAT_AREA] for ours, theirs in pairs)
    assert areas.sum() == marked.size


def picture(*rows):
    return np.array([[255 if mark == "#" else 0 for mark in row] for row in rows], np.uint8)


def test_specks_go_and_holes_are_filled():
    mask = picture("#......", "..####.", "..#..#.", "..####.", ".......")
    expected = picture(".......", "..####.", "..####.", "..####.", ".......")
    np.testing.assert_array_equal(clean(mask, 3), expected)


def test_pieces_and_holes_as_large_as_the_limit_stay():
    mask = picture("##.....", "...###.", "...#.#.", "...###.")
    np.testing.assert_array_equal(clean(mask, 1), mask)
    np.testing.assert_array_equal(clean(mask, 2), picture("##.....", "...###.", "...###.", "...###."))


def test_the_largest_piece_stays_however_small():
    mask = picture("#..", "...", ".##")
    np.testing.assert_array_equal(clean(mask, 100), picture("...", "...", ".##"))


def test_what_is_open_to_the_outside_is_no_hole():
    mask = picture("###", "#.#", "#.#")
    np.testing.assert_array_equal(clean(mask, 100), mask)


def test_pixels_that_touch_at_a_corner_are_one_piece():
    mask = picture("#....", ".#...", "..#..", ".....", ".....")
    np.testing.assert_array_equal(clean(mask, 3), mask)


@pytest.mark.parametrize("value", [0, 255])
def test_an_empty_and_a_full_mask_stay(value):
    mask = np.full((8, 8), value, np.uint8)
    np.testing.assert_array_equal(clean(mask, 5), mask)
