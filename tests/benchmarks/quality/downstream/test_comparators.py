"""Pairs made without a generator: the protocol that all keep, and what each one promises."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from benchmarks.quality.downstream.comparators import COMPARATORS, crop_paste, perlin, placed, poisson, standard
from seas_runtime.errors import DataError

SIDE = 48
RED = (250, 20, 20)


def normals(count=4, side=SIDE):
    """Textured grey images."""
    rng = np.random.default_rng(7)
    coarse = rng.integers(40, 200, (count, side // 6, side // 6, 3), dtype=np.uint8)
    return coarse.repeat(6, axis=1).repeat(6, axis=2)


def anomalies(side=SIDE):
    """Two images with a red patch each: 8 x 12 pixels in the middle, 2 x 2 in a corner."""
    images, masks = normals(2, side), np.zeros((2, side, side), bool)
    masks[0, 20:28, 16:28] = True
    masks[1, :2, :2] = True
    images[masks] = RED
    return images, masks


@pytest.mark.parametrize("name", COMPARATORS)
class TestProtocol:
    def test_gives_pairs(self, name):
        clean, (images, masks) = normals(), anomalies()
        kept = clean.copy(), images.copy()
        found, marks = COMPARATORS[name](clean, images, masks, 6, 0)
        assert (found.shape, found.dtype) == ((6, SIDE, SIDE, 3), np.uint8)
        assert (marks.shape, marks.dtype) == ((6, SIDE, SIDE), bool)
        assert marks.any(axis=(1, 2)).all()
        assert not marks.all(axis=(1, 2)).any()
        np.testing.assert_array_equal(clean, kept[0])
        np.testing.assert_array_equal(images, kept[1])

    def test_is_the_same_for_the_same_seed_and_a_larger_count_extends(self, name):
        make, data = COMPARATORS[name], (normals(), *anomalies())
        few, many, other = make(*data, 2, 3), make(*data, 5, 3), make(*data, 2, 4)
        np.testing.assert_array_equal(few[0], many[0][:2])
        np.testing.assert_array_equal(few[1], many[1][:2])
        assert (few[0] != other[0]).any()

    def test_none_asked_none_made(self, name):
        found, marks = COMPARATORS[name](normals(), *anomalies(), 0, 0)
        assert (found.shape, marks.shape) == ((0, SIDE, SIDE, 3), (0, SIDE, SIDE))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 1))
def test_a_pasted_defect_lies_inside_and_leaves_the_rest_alone(seed, which):
    (images, masks), normal = anomalies(), np.full((SIDE, SIDE, 3), 100, np.uint8)
    image, mask = crop_paste.paste(normal, images[which], masks[which], np.random.default_rng(seed))
    share = (image - 100.0) / (np.array(RED) - 100.0)  # of the defect's colour; the rest is the normal image's
    np.testing.assert_allclose(share, share[..., :1].repeat(3, axis=2), atol=0.03)
    assert (share[mask] > 0.47).all()
    assert (share[~mask] < 0.53).all()
    around = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert (image[~around] == 100).all()
    area, low, high = masks[which].sum(), *crop_paste.SCALE
    edge = 2 * math.sqrt(8 * area)  # a pixel along the outline may count or not
    assert area * low**2 - edge <= mask.sum() <= area * high**2 + edge
    assert mask.any()


def test_a_defect_larger_than_the_image_when_turned_is_made_smaller():
    mask = np.ones((SIDE, SIDE), bool)
    image = np.full((SIDE, SIDE, 3), RED, np.uint8)
    for seed in range(20):
        move = crop_paste._placement(mask, np.random.default_rng(seed))
        corners = np.array([[0, 0, 1], [0, SIDE - 1, 1], [SIDE - 1, 0, 1], [SIDE - 1, SIDE - 1, 1]]).T
        moved = move @ corners
        assert moved.min() >= -1e-6
        assert moved.max() <= SIDE - 1 + 1e-6
        assert crop_paste.paste(normals()[0], image, mask, np.random.default_rng(seed))[1].any()


def test_defects_are_taken_from_all_anomalies_to_all_normals():
    clean = np.stack([np.full((SIDE, SIDE, 3), value, np.uint8) for value in (50, 150)])
    images, masks = anomalies()
    found, marks = crop_paste.make(clean, images, masks, 40, 0)
    assert {int(np.bincount(image.ravel()).argmax()) for image in found} == {50, 150}
    small = marks.sum(axis=(1, 2)) < 20
    assert small.any()
    assert not small.all()


def test_perlin_noise_against_a_plain_loop():
    height, width, cells = 12, 20, (3, 2)
    noise = perlin.perlin_noise(height, width, cells, np.random.default_rng(5))
    angle = np.random.default_rng(5).uniform(0, 2 * np.pi, (4, 3))

    def fade(t):
        return t * t * t * (t * (t * 6 - 15) + 10)

    for i in range(height):
        for j in range(width):
            y, x = (i + 0.5) * 3 / height, (j + 0.5) * 2 / width
            total = 0.0
            for row in (math.floor(y), math.floor(y) + 1):
                for column in (math.floor(x), math.floor(x) + 1):
                    weight = fade(1 - abs(y - row)) * fade(1 - abs(x - column))
                    a = angle[row, column]
                    total += weight * (math.cos(a) * (x - column) + math.sin(a) * (y - row))
            assert noise[i, j] == pytest.approx(math.sqrt(2) * total, abs=1e-12)


@given(st.integers(0, 2**32), st.sampled_from(perlin.CELLS))
def test_perlin_noise_is_within_one(seed, cells):
    noise = perlin.perlin_noise(32, 32, (cells, 3), np.random.default_rng(seed))
    assert np.abs(noise).max() <= 1
    assert noise.std() > 0


def test_a_texture_shows_in_its_mask_alone():
    clean = normals(1)
    textures = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)
    for own in (None, textures):
        found, marks = perlin.make(clean, *anomalies(), 5, 0, own)
        for image, mask in zip(found, marks, strict=True):
            np.testing.assert_array_equal(image[~mask], clean[0][~mask])
        assert (found != clean[0]).any()


def test_opacity_is_in_its_range():
    normal, texture = np.full((8, 8, 3), 100, np.uint8), np.full((8, 8, 3), 200, np.uint8)
    seen = {int(perlin._blend(normal, texture, np.ones((8, 8), bool), np.random.default_rng(seed))[0].max()) for seed in range(200)}
    assert 120 <= min(seen) < 130  # 20 to 100 % of the way from 100 to 200
    assert 190 < max(seen) <= 200


def test_torn_tiles_hold_the_same_pixels():
    image = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    torn = perlin._tear(image, np.random.default_rng(1))
    assert (torn != image).any()
    np.testing.assert_array_equal(np.sort(torn.reshape(-1, 3), axis=0), np.sort(image.reshape(-1, 3), axis=0))


def test_poisson_marks_what_changed():
    before = np.full((20, 20, 3), 100, np.uint8)
    after = before.copy()
    after[4:11, 4:11] += np.array([0, 0, 60], np.uint8)  # 20 on average
    after[15, 15] = 255  # one pixel is noise to the median
    after[2:5, 14:18] += 10  # too little
    expected = np.zeros((20, 20), bool)
    expected[4:11, 4:11] = True
    for corner in ((4, 4), (4, 10), (10, 4), (10, 10)):  # 9 of 25 pixels around it are changed, less than half
        expected[corner] = False
    for beside in ((4, 5), (5, 4), (4, 9), (5, 10), (9, 4), (10, 5), (9, 10), (10, 9)):  # 12 of 25
        expected[beside] = False
    np.testing.assert_array_equal(poisson.changed(before, after, 12.0), expected)


def test_level_is_twice_the_grain():
    image = np.full((1, 40, 40, 3), 100, np.uint8)
    assert poisson.level(image) == poisson.FAINTEST
    image[:, ::4, ::4] += 80  # lone pixels, which a median takes out: 80 of 255 in each 16th pixel
    assert poisson.level(image) == pytest.approx(2 * 80 / 16)


def test_a_cloned_patch_changes_the_inside_of_one_rectangle():
    source, target = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    for seed in range(20):
        image = poisson.clone_patch(target, source, np.random.default_rng(seed))
        rows, columns = np.nonzero((image != target).any(axis=2))
        most = poisson.SIDES[1] * SIDE
        assert len(rows) > 0
        assert np.ptp(rows) + 1 <= most
        assert np.ptp(columns) + 1 <= most


def test_normals_without_texture_are_refused_by_poisson():
    with pytest.raises(DataError, match="no patch that changes"):
        poisson.make(np.full((2, SIDE, SIDE, 3), 90, np.uint8), *anomalies(), 1, 0)


def test_augmented_masks_follow_their_images():
    images, masks = np.full((1, SIDE, SIDE, 3), 60, np.uint8), np.zeros((1, SIDE, SIDE), bool)
    masks[0, 10:30, 14:26] = True
    images[masks] = 220
    found, marks = standard.make(normals(), images, masks, 20, 0)
    bright = found.mean(axis=3) > 140
    union = (bright | marks).sum(axis=(1, 2))
    assert ((bright & marks).sum(axis=(1, 2)) / union > 0.9).all()
    assert (marks != masks[0]).any(axis=(1, 2)).all()


def test_augmentation_takes_anomalies_in_turn_and_loses_none():
    images, masks = anomalies()
    _, marks = standard.make(normals(), images, masks, 60, 0)
    assert (marks[::2].sum(axis=(1, 2)) > 40).all()  # 96 pixels, by factors from 0.74 to 1.35, some beyond the edge
    assert marks[1::2].any(axis=(1, 2)).all()


@pytest.mark.parametrize("name", ["standard", "crop-paste", "placed"])
def test_anomalies_that_do_not_fit_are_refused(name):
    images, masks = anomalies()
    empty = masks.copy()
    empty[1] = False
    for given_images, given_masks, says in (
        (images[:0], masks[:0], "k of 1 or more"),
        (images, masks[:1], r"masks \(1, 48, 48\)"),
        (images / 255, masks, "float64"),
        (images, empty, "mask of anomaly 1 is empty"),
    ):
        with pytest.raises(DataError, match=says):
            COMPARATORS[name](normals(), given_images, given_masks, 1, 0)


@pytest.mark.parametrize("name", ["crop-paste", "placed", "perlin", "poisson"])
def test_normals_that_do_not_fit_are_refused(name):
    for clean in (normals(0), normals() / 255, normals()[..., :2]):
        with pytest.raises(DataError, match="normal images"):
            COMPARATORS[name](clean, *anomalies(), 1, 0)


@pytest.mark.parametrize("name", ["crop-paste", "placed"])
def test_two_sizes_are_refused(name):
    with pytest.raises(DataError, match="expected one; resize"):
        COMPARATORS[name](normals(side=96), *anomalies(), 1, 0)


def test_a_placed_defect_is_one_of_the_real_ones_and_a_larger_count_extends_a_smaller_one():
    images, masks = anomalies()
    pairs, marks = COMPARATORS["placed"](normals(), images, masks, 12, 3)
    again, marks_again = COMPARATORS["placed"](normals(), images, masks, 5, 3)
    np.testing.assert_array_equal(pairs[:5], again)
    np.testing.assert_array_equal(marks[:5], marks_again)
    assert marks.any(axis=(1, 2)).all()
    other, _ = COMPARATORS["placed"](normals(), images, masks, 5, 4)
    assert (other != again).any()


@pytest.mark.parametrize(("turns", "upright"), [(False, True), (True, False)])
def test_a_placed_defect_is_turned_only_where_the_product_lies_anyhow(turns, upright):
    """A bar, on parts with a bright corner, always the same one or any."""
    normals = np.zeros((8, 64, 64, 3), np.uint8)
    for number, image in enumerate(normals):
        image[:24, :24] = 200
        image[...] = np.rot90(image, number if turns else 0)
    mask = np.zeros((1, 64, 64), bool)
    mask[0, 30:34, 10:50] = True
    anomaly = np.where(mask[..., None], np.uint8(90), normals[:1])
    _, masks = placed.make(normals, anomaly, mask, 20, 0)
    pieces = [piece for each in masks for piece in ndimage.find_objects(ndimage.label(each)[0])]
    assert (np.median([rows.stop - rows.start for rows, _ in pieces]) < 16) == upright  # 15 degrees make 10 of 40
