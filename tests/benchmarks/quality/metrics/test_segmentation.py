"""Scores against scikit-learn, hand-made masks and brute force."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, jaccard_score, roc_auc_score

from benchmarks.quality.metrics.segmentation import overlaps, pro, score, score_images, score_pixels
from seas_runtime.errors import DataError

TOLERANCE = 1e-6


def case(seed: int, count: int = 6, side: int = 16, levels: int = 40):
    """Noisy maps with ties, masks of several components, half of the images normal."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, side, side), dtype=bool)
    for mask in masks[: count // 2]:
        for _ in range(3):
            y, x = rng.integers(0, side - 3, 2)
            h, w = rng.integers(1, 4, 2)
            mask[y : y + h, x : x + w] = True
    maps = rng.random(masks.shape) + 0.5 * masks
    return (np.floor(maps * levels) / levels).astype(np.float32), masks


def components(mask: np.ndarray) -> list[set[tuple[int, int]]]:
    """8-connected components by flood fill."""
    todo = {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}
    found = []
    while todo:
        component, edge = set(), [todo.pop()]
        while edge:
            y, x = edge.pop()
            component.add((y, x))
            around = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & todo
            todo -= around
            edge += around
        found.append(component)
    return found


def brute_force_pro(maps: np.ndarray, masks: np.ndarray, limit: float) -> float:
    """Threshold by threshold: predict, measure every component's overlap, the area by trapezoids cut at the limit."""
    points = [(0.0, 0.0)]
    for threshold in sorted(set(maps.ravel().tolist()), reverse=True):
        predicted = maps >= threshold
        overlaps = [
            np.mean([predicted[i][pixel] for pixel in component]) for i in range(len(masks)) for component in components(masks[i])
        ]
        points.append((float(predicted[~masks].mean()), float(np.mean(overlaps))))
    area = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x0 >= limit:
            break
        share = min(1.0, (limit - x0) / (x1 - x0)) if x1 > x0 else 0.0
        area += share * (x1 - x0) * (y0 + y0 + share * (y1 - y0)) / 2
    return area / limit


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_pro_agrees_with_brute_force(seed, limit):
    maps, masks = case(seed)
    assert pro(maps, masks, limit) == pytest.approx(brute_force_pro(maps, masks, limit), abs=TOLERANCE)


def at_the_limit():
    """Three of ten normal pixels come first, then, at the same false positive rate, an anomalous one."""
    levels, masks = np.zeros((2, 4, 4), np.int64), np.ones((2, 4, 4), bool)
    levels[0, 0, :3], levels[0, 3, 0] = 2, 1
    masks[0, :2], masks[0, 2, :2] = False, False
    return levels, masks


@settings(max_examples=40, deadline=None)
@given(arrays(np.int64, (2, 4, 4), elements=st.integers(0, 4)), arrays(np.bool_, (2, 4, 4)))
@example(*at_the_limit())
def test_pro_agrees_with_brute_force_on_anything(levels, masks):
    if masks.all() or not masks.any():
        return
    maps = levels.astype(np.float64)
    assert pro(maps, masks) == pytest.approx(brute_force_pro(maps, masks, 0.3), abs=TOLERANCE)


@pytest.mark.parametrize("seed", range(5))
def test_pixel_scores_agree_with_scikit_learn_and_brute_force(seed):
    maps, masks = case(seed)
    found = score_pixels(maps, masks)
    labels, values = masks.ravel(), maps.ravel()
    assert found.auroc == pytest.approx(roc_auc_score(labels, values), abs=TOLERANCE)
    assert found.ap == pytest.approx(average_precision_score(labels, values), abs=TOLERANCE)
    f1 = {t: 2 * (labels & (values >= t)).sum() / (labels.sum() + (values >= t).sum()) for t in np.unique(values)}
    assert found.f1_max == pytest.approx(max(f1.values()), abs=TOLERANCE)
    assert f1[np.float32(found.threshold)] == max(f1.values())
    at_best = jaccard_score(labels, values >= np.float32(found.threshold))
    assert found.iou_pooled == pytest.approx(at_best, abs=TOLERANCE)
    best = [
        max(jaccard_score(mask.ravel(), map_.ravel() >= t) for t in np.unique(map_))
        for map_, mask in zip(maps, masks, strict=True)
        if mask.any()
    ]
    assert found.iou == pytest.approx(np.mean(best), abs=TOLERANCE)
    assert found.pro == pytest.approx(brute_force_pro(maps, masks, 0.3), abs=TOLERANCE)


@pytest.mark.parametrize("seed", range(3))
def test_image_scores_agree_with_scikit_learn_on_each_images_maximum(seed):
    maps, masks = case(seed, count=12, side=6)
    found = score_images(maps, masks)
    labels = np.array([mask.any() for mask in masks])
    values = np.array([max(map_.ravel()) for map_ in maps])
    assert found.auroc == pytest.approx(roc_auc_score(labels, values), abs=TOLERANCE)
    assert found.ap == pytest.approx(average_precision_score(labels, values), abs=TOLERANCE)
    f1 = [2 * (labels & (values >= t)).sum() / (labels.sum() + (values >= t).sum()) for t in values]
    assert found.f1_max == pytest.approx(max(f1), abs=TOLERANCE)


def test_by_hand():
    """Anomaly pixels 0.9 and 0.6 of one component, one of 0.3 in another; normal pixels 0.8 and four of 0.1."""
    maps = np.array([[[0.9, 0.6, 0.1, 0.3], [0.8, 0.1, 0.1, 0.1]]])
    masks = np.array([[[True, True, False, True], [False, False, False, False]]])
    found = score_pixels(maps, masks)
    assert found.auroc == pytest.approx(13 / 15)  # pairs in order: 5 + 4 + 4 of 3 * 5
    assert found.ap == pytest.approx((1 / 1 + 2 / 3 + 3 / 4) / 3)
    assert found.f1_max == pytest.approx(6 / 7)  # at 0.3: 3 true, 1 false, 0 missed
    assert found.threshold == pytest.approx(0.3)
    assert found.iou == found.iou_pooled == pytest.approx(3 / 4)
    # mean overlap 1/4 from FPR 0 to 1/5 (components 1/2 and 0 found), then 1
    assert found.pro == pytest.approx((0.2 * 0.25 + 0.1 * 1) / 0.3)


def test_iou_at_one_half_by_hand():
    """Marked at one half: 3 of which 2 are anomalous, and no other is."""
    maps = np.array([[[0.9, 0.8], [0.5, 0.1]]], np.float32)
    masks = np.array([[[True, False], [True, False]]])
    found = score_pixels(maps, masks)
    assert found.iou_half == pytest.approx(2 / 3)
    assert found.ap == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)  # precision at each new recall


def test_overlaps_by_hand():
    first = np.array([[[1, 1, 0]], [[0, 0, 0]], [[1, 0, 0]]], bool)
    second = np.array([[[0, 1, 1]], [[0, 0, 0]], [[0, 0, 1]]], bool)
    assert overlaps(first, second).tolist() == [pytest.approx(1 / 3), 1, 0]
    assert overlaps(first, second, both_empty=0).tolist() == [pytest.approx(1 / 3), 0, 0]


def test_a_perfect_map_and_a_wrong_one():
    _, masks = case(0)
    perfect = score(masks.astype(np.float32), masks)
    assert set(perfect.row().values()) == {1.0}
    wrong = score_pixels(1 - masks.astype(np.float32), masks)
    assert wrong.auroc == wrong.pro == 0
    assert wrong.f1_max == pytest.approx(2 * masks.mean() / (1 + masks.mean()))  # all pixels called anomalous


def test_row_names_every_score_once():
    maps, masks = case(1)
    found = score(maps, masks)
    assert list(found.row()) == [
        *(
            "pixel_auroc",
            "pixel_ap",
            "pixel_f1_max",
            "pixel_threshold",
            "pixel_iou",
            "pixel_iou_pooled",
            "pixel_iou_half",
            "pixel_pro",
        ),
        *("image_auroc", "image_ap", "image_f1_max"),
    ]
    assert found.row()["image_ap"] == found.image.ap


@pytest.mark.parametrize(
    ("masks", "told"),
    [
        (np.zeros((2, 4, 4), bool), "all 32 test pixels are normal, expected anomalous ones too"),
        (np.ones((2, 4, 4), bool), "all 32 test pixels are anomalous, expected normal ones too"),
    ],
)
def test_one_class_of_pixels_is_an_error(masks, told):
    for measure in (score_pixels, pro, score):
        with pytest.raises(DataError, match=told) as caught:
            measure(np.random.default_rng(0).random(masks.shape), masks)
        assert caught.value.exit_code == 3


def test_one_class_of_images_is_an_error_of_images_alone():
    maps, masks = case(2)
    maps, masks = maps[:3], masks[:3]
    assert 0 < score_pixels(maps, masks).auroc < 1
    with pytest.raises(DataError, match=r"all 3 test images are anomalous.*undefined; add normal images"):
        score_images(maps, masks)


@pytest.mark.parametrize(
    ("maps", "masks", "told"),
    [
        (np.zeros((2, 4, 4)), np.zeros((3, 4, 4), bool), r"maps \(2, 4, 4\) and masks \(3, 4, 4\)"),
        (np.zeros((2, 4, 4)), np.zeros((2, 4, 4)), "float64, expected"),
        (np.zeros((0, 4, 4)), np.zeros((0, 4, 4), bool), "found maps"),
        (np.full((1, 2, 2), np.nan), np.eye(2, dtype=bool)[None], "no numbers"),
    ],
)
def test_what_does_not_fit(maps, masks, told):
    with pytest.raises(DataError, match=told):
        score(maps, masks)
