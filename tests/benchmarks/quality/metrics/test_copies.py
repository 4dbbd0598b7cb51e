"""Checks of generated pairs, on pairs whose faults are known."""

import numpy as np
import pytest

from benchmarks.quality.metrics import backbones
from benchmarks.quality.metrics.copies import mask_fit, nearest, report, shares, symmetric_views
from benchmarks.quality.metrics.perceptual import Perceptual
from benchmarks.quality.pairs import LoadedPairs
from seas_train.data import demo

SIDE = 64


@pytest.fixture(scope="module")
def perceptual() -> Perceptual:
    return backbones.own_proxy().perceptual


def pieces(count: int, seed: int, defect: str = "contamination") -> LoadedPairs:
    drawn = [demo.draw("bottle", defect, SIDE, np.random.default_rng((seed, i))) for i in range(count)]
    images, masks = (np.stack(part) for part in zip(*drawn, strict=True))
    return LoadedPairs(images, masks > 0)


def test_shares_by_hand():
    """Of five pairs one mask is empty, one full, and the last two images repeat the first."""
    pairs = pieces(5, seed=0)
    pairs.images[3:] = pairs.images[0]
    pairs.masks[1], pairs.masks[2] = False, True
    found = shares(pairs, {})
    assert (found.count, found.empty, found.full) == (5, 0.2, 0.2)
    assert found.duplicate == pytest.approx(0.4)


def test_shares_of_refused_pairs_by_hand():
    """Of four pairs one mask is empty; of six refused three were empty, one too small and two too large."""
    pairs = pieces(4, seed=0)
    pairs.images[3] = pairs.images[0]
    pairs.masks[1] = False
    found = shares(pairs, {"empty": 3, "too small": 1, "too large": 2})
    assert (found.count, found.empty, found.full, found.duplicate) == (10, 0.5, 0.2, 0.1)


def test_a_copy_is_found_whatever_is_around_it(perceptual):
    """Pair 0 is training anomaly 2; pair 1 is it too, with another brightness outside the defect; pair 2 is new."""
    training, generated = pieces(3, seed=1), pieces(3, seed=2)
    generated.images[:2], generated.masks[:2] = training.images[2], training.masks[2]
    generated.images[1][~training.masks[2]] = training.images[2][~training.masks[2]] // 8 * 7
    found = nearest(perceptual, generated, training)
    assert found.index[:2].tolist() == [2, 2]
    assert found.feature[0] == pytest.approx(0, abs=1e-5)
    assert 0 < found.feature[1] < found.feature[2]
    assert found.pixel[:2].tolist() == [0, 0]
    assert found.pixel[2] > 0.02
    assert found.mask_iou[:2].tolist() == [1, 1]
    assert found.mask_iou[2] < 1


def test_pixel_difference_and_mask_overlap_by_hand(perceptual):
    """Masks of 2 and 3 pixels share 1; in the 4 of both together the images differ by 51 in one channel of one pixel."""
    images = np.full((2, 32, 32, 3), 100, dtype=np.uint8)
    masks = np.zeros((2, 32, 32), dtype=bool)
    masks[0, 5, 5:7] = masks[1, 5, 6:9] = True
    images[1, 5, 8, 1] += 51
    images[1, 20, 20] = 255  # outside both
    found = nearest(perceptual, LoadedPairs(images[:1], masks[:1]), LoadedPairs(images[1:], masks[1:]))
    assert found.pixel[0] == pytest.approx(0.2 / np.sqrt(12), abs=1e-9)
    assert found.mask_iou[0] == 1 / 4


def test_without_masks_whole_images_are_compared(perceptual):
    images = np.full((2, 32, 32, 3), 100, dtype=np.uint8)
    images[1] += 51
    blank = np.zeros((1, 32, 32), dtype=bool)
    found = nearest(perceptual, LoadedPairs(images[:1], blank), LoadedPairs(images[1:], blank))
    assert found.pixel[0] == pytest.approx(0.2)
    assert found.mask_iou[0] == 0


def test_turned_and_flipped_copies_are_found_among_the_views(perceptual):
    training = pieces(2, seed=3)
    views = symmetric_views(training)
    assert len(views.images) == len(views.masks) == 16
    assert len({image.tobytes() for image in views.images}) == 16
    turned = LoadedPairs(np.rot90(training.images, 3, (1, 2))[:, ::-1], np.rot90(training.masks, 3, (1, 2))[:, ::-1])
    found = nearest(perceptual, turned, views)
    assert (found.index % 2).tolist() == [0, 1]
    assert found.pixel.tolist() == [0, 0]
    assert found.mask_iou.tolist() == [1, 1]


@pytest.mark.parametrize(("product", "defect"), [("bottle", "contamination"), ("tile", "crack"), ("nut", "scratch")])
def test_masks_that_fit_and_masks_that_do_not(product, defect):
    fitting, missing = [], []
    for i in range(12):
        image, mask = demo.draw(product, defect, 128, np.random.default_rng(i))
        whole, _ = demo.draw(product, None, 128, np.random.default_rng(i))  # the same piece without the defect
        fitting.append(mask_fit(image, mask > 0))
        missing.append(mask_fit(whole, mask > 0))
    assert np.mean(fitting) > 0.95
    assert 0.3 < np.mean(missing) < 0.75


def test_a_mask_on_noise_fits_by_chance_alone():
    rng = np.random.default_rng(0)
    fits = []
    for _ in range(40):
        mask = np.zeros((96, 96), dtype=bool)
        y, x = rng.integers(20, 60, 2)
        mask[y : y + 18, x : x + 12] = True
        fits.append(mask_fit(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8), mask))
    assert np.mean(fits) == pytest.approx(0.5, abs=4 * np.std(fits) / np.sqrt(len(fits)))


def test_on_a_plain_image_every_place_is_alike():
    mask = np.zeros((64, 64), dtype=bool)
    mask[20:30, 20:30] = True
    assert mask_fit(np.full((64, 64, 3), 80, np.uint8), mask) == 0.5


@pytest.mark.parametrize("value", [False, True])
def test_an_empty_or_full_mask_has_no_fit(value):
    assert mask_fit(np.zeros((64, 64, 3), np.uint8), np.full((64, 64), value)) is None


def test_a_mask_too_large_to_be_moved_has_no_fit():
    mask = np.zeros((64, 64), dtype=bool)
    mask[1:63, 1:63] = True
    assert mask_fit(np.zeros((64, 64, 3), np.uint8), mask) is None


def test_report_tells_copies_from_new_pairs(perceptual):
    training = pieces(4, seed=4)
    copied = report(perceptual, LoadedPairs(*(np.repeat(part, 2, axis=0) for part in training)), training)
    new = report(perceptual, pieces(8, seed=5), training)
    assert copied.near_copies == 1
    assert copied.shares.duplicate == 0.5
    assert (copied.pixel, copied.mask_iou) == (0, 1)
    assert new.near_copies < 0.5
    assert new.feature > 10 * copied.feature
    assert new.training_feature == copied.training_feature > 0
    assert new.fitted == 8
    assert new.mask_fit > 0.9
    marked = sorted(float(mask.sum()) / mask.size for mask in pieces(8, seed=5).masks)
    assert new.area == pytest.approx((marked[3] + marked[4]) / 2)


def test_report_finds_turned_and_flipped_copies_unless_the_pose_is_fixed(perceptual):
    training = pieces(4, seed=4)
    turned = LoadedPairs(*(np.rot90(part, 3, (1, 2))[:, ::-1] for part in training))
    found = report(perceptual, turned, training)
    assert found.near_copies == 1
    assert found.feature < 1e-5
    assert (found.pixel, found.mask_iou) == (0, 1)
    assert found.training_feature > 0  # an anomaly's own views are no other anomaly
    fixed = report(perceptual, turned, training, augment=False)
    assert fixed.near_copies < 1
    assert fixed.feature > 10 * found.feature


def test_training_images_come_in_parts(perceptual, monkeypatch):
    training, generated = pieces(3, seed=1), pieces(2, seed=2)
    whole = nearest(perceptual, generated, training)
    monkeypatch.setattr("benchmarks.quality.metrics.copies._HELD", 2)
    parts = nearest(perceptual, generated, training)
    assert parts.index.tolist() == whole.index.tolist()
    assert parts.feature == pytest.approx(whole.feature, abs=1e-5)


def test_report_says_what_it_cannot(perceptual):
    training = pieces(1, seed=6)
    blank = LoadedPairs(training.images, np.zeros_like(training.masks))
    found = report(perceptual, blank, training)
    assert found.training_feature is found.near_copies is found.mask_fit is None
    assert found.fitted == 0
