"""What part of a photograph is written: by hand, by brute force, and as training resizes masks."""

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from seas_runtime.dataset.shapes.widths import width
from seas_runtime.fit import View, cut, cut_mask, shrunk, views
from seas_train.data.dataset import resize_mask


def fitted(size, fit, marked=None, side=100):
    return views(size, fit, side, 0.25, marked)


def test_pictures_are_kept_unless_asked():
    (view,) = fitted((300, 200), "keep")
    assert view.is_whole((300, 200))
    assert view.scale == 1


def test_stretching_takes_all_and_scales_by_the_longer_side():
    (view,) = fitted((400, 200), "stretch")
    assert view == View((0, 0, 400, 200), (100, 100))
    assert view.scale == 0.25


def test_padding_puts_the_picture_in_the_middle():
    (view,) = fitted((400, 200), "pad")
    assert view == View((0, -100, 400, 400), (100, 100))
    padded = np.asarray(cut(Image.new("RGB", (400, 200), "white"), view))
    assert (padded[:22] == 0).all()
    assert (padded[28:72] == 255).all()
    assert (padded[78:] == 0).all()


def test_cropping_takes_the_middle_of_a_normal_picture():
    assert fitted((400, 200), "crop")[0].box == (100, 0, 200, 200)


@pytest.mark.parametrize(
    ("columns", "left"),
    [((150, 160), 100), ((10, 40), 10), ((350, 390), 190), ((20, 380), 100), ((0, 250), 25)],
)
def test_cropping_moves_as_little_as_keeps_the_mark(columns, left):
    marked = np.zeros((200, 400), bool)
    marked[90:95, slice(*columns)] = True
    assert fitted((400, 200), "crop", marked)[0].box == (left, 0, 200, 200)


@pytest.mark.parametrize("size", [(100, 100), (101, 250), (1000, 730), (40, 260)])
def test_tiles_cover_every_pixel_and_overlap_enough(size):
    tiles = fitted(size, "tile")
    covered = np.zeros(size[::-1], int)
    for tile in tiles:
        left, top, across, down = tile.box
        assert (across, down) == (100, 100)
        assert tile.scale == 1
        covered[max(top, 0) : top + down, max(left, 0) : left + across] += 1
    assert covered.min() >= 1
    for axis, length in enumerate(size):
        starts = sorted({tile.box[axis] for tile in tiles})
        assert all(later - earlier <= 75 for earlier, later in pairwise(starts))
        assert len(starts) == 1 or (starts[0] == 0 and starts[-1] == length - 100)


def test_tiles_put_together_are_the_photograph():
    pixels = np.random.default_rng(0).integers(0, 256, (230, 310, 3), dtype=np.uint8)
    mask = np.random.default_rng(1).random((230, 310)) < 0.1
    again, mask_again = np.zeros_like(pixels), np.zeros_like(mask)
    for tile in fitted((310, 230), "tile", mask):
        left, top, across, down = tile.box
        again[top : top + down, left : left + across] = np.asarray(cut(Image.fromarray(pixels), tile))
        mask_again[top : top + down, left : left + across] = cut_mask(mask, tile)
    assert np.array_equal(again, pixels)
    assert np.array_equal(mask_again, mask)


@pytest.mark.parametrize("shape", [(300, 400), (97, 61), (64, 64), (30, 200), (10, 12)])
def test_masks_shrink_as_in_training(shape):
    generator = np.random.default_rng(shape[0])
    for share in (0.002, 0.05, 0.5):
        mask = generator.random(shape) < share
        assert np.array_equal(shrunk(mask, (64, 64)), resize_mask(mask, 64))


def test_a_mask_keeps_its_place_when_padded():
    mask = np.zeros((200, 400), bool)
    mask[50:100, 40:80] = True
    expected = np.zeros((100, 100), bool)
    expected[37:50, 10:20] = True  # (100 + 50) / 4 = 37.5 up to (100 + 100) / 4
    assert np.array_equal(cut_mask(mask, fitted((400, 200), "pad", mask)[0]), expected)


def slow_width(mask):
    """The shortest run through each pixel, walked step by step."""

    def run(i, j, di, dj):
        length = 1
        for sign in (1, -1):
            y, x = i + sign * di, j + sign * dj
            while 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and mask[y, x]:
                length += 1
                y, x = y + sign * di, x + sign * dj
        return length * np.hypot(di, dj)

    steps = ((0, 1), (1, 0), (1, 1), (1, -1))
    return np.median([min(run(i, j, *step) for step in steps) for i, j in np.argwhere(mask)])


@pytest.mark.parametrize("seed", range(5))
def test_width_is_the_median_of_the_shortest_runs(seed):
    mask = np.random.default_rng(seed).random((17, 23)) < 0.6
    assert width(mask) == pytest.approx(slow_width(mask))


def test_the_width_of_a_scratch_is_what_lies_across_it():
    straight, slanted = np.zeros((2, 200, 200), bool)
    straight[50:55, 10:190] = True
    for i in range(150):
        slanted[20 + i, 20 + i : 27 + i] = True
    assert width(straight) == 5
    assert width(slanted) == pytest.approx(7 / np.sqrt(2), abs=0.75)  # half a diagonal step
    assert width(np.zeros((5, 5), bool)) == 0
