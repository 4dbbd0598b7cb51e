"""Likeness, heat maps and areas, against loops and pairs that are alike by making."""

import numpy as np
import pytest
from PIL import Image

from seas_runtime.dataset.review.figures import BINS, figures, histogram, side_of
from seas_runtime.dataset.review.likeness import SIDE, Likeness, look
from seas_runtime.dataset.review.survey import CELLS, Scene, Survey, measure

RANDOM = np.random.default_rng(3)


def scene(seed, top=20, left=30, side=64, defect="crack"):
    """Noise, with a textured defect of 10 x 14 pixels."""
    pixels = np.random.default_rng((7, seed)).integers(0, 60, (side, side, 3), dtype=np.uint8)
    mask = np.zeros((side, side), dtype=bool)
    mask[top : top + 10, left : left + 14] = True
    pixels[mask] = np.random.default_rng((8, seed)).integers(60, 256, (140, 3))
    return Scene(Image.fromarray(pixels), mask, defect)


def test_a_look_is_the_square_around_the_mask():
    pixels = np.zeros((128, 128, 3), dtype=np.uint8)
    mask = np.zeros((128, 128), dtype=bool)
    mask[20:52, 10:42] = True  # 32 wide; a quarter on each side makes 48: 16 cells of 3
    pixels[mask] = 255
    seen = look(Image.fromarray(pixels), mask)
    assert seen.shape == (SIDE, SIDE, 3)
    assert seen.dtype == np.float32
    assert seen[8, 8, 0] == 1
    assert seen[0, 0, 0] == 0
    assert seen.mean() == pytest.approx((32 / 48) ** 2, abs=1e-3)
    assert look(Image.fromarray(pixels), np.zeros((128, 128), dtype=bool)) is None
    assert look(Image.fromarray(pixels), np.ones((32, 32), dtype=bool)) is None


def distance(one, other):
    """Root mean square difference, the smallest over turns and flips, by a loop."""
    views = [np.rot90(flip, turns) for flip in (other, other[::-1]) for turns in range(4)]
    return min(float(np.sqrt(np.mean((one - view) ** 2))) for view in views)


def test_the_nearest_real_anomaly_and_its_distance():
    reals = [look(*scene(seed)[:2]) for seed in range(4)]
    found = look(*scene(9)[:2])
    likeness = Likeness([10, 11, 12, 13], reals)
    apart = [distance(found, real) for real in reals]
    nearest = likeness.nearest(found)
    assert nearest.real == 10 + int(np.argmin(apart))
    assert nearest.likeness == pytest.approx(1 - min(apart), abs=1e-6)
    between = [distance(reals[i], reals[k]) for i in range(4) for k in range(4) if i != k]
    assert likeness.threshold == pytest.approx(min(between), abs=1e-6)
    assert nearest.copy == (min(apart) < min(between))


def test_a_copy_is_suspected_moved_turned_or_flipped_and_another_is_not():
    real = scene(1)
    likeness = Likeness([0, 1, 2], [look(*scene(seed)[:2]) for seed in (1, 2, 3)])
    pixels, mask = np.asarray(real.image), real.mask
    for copy in (
        (pixels, mask),
        (np.roll(pixels, 9, axis=1), np.roll(mask, 9, axis=1)),
        (np.rot90(pixels), np.rot90(mask)),
        (pixels[:, ::-1], mask[:, ::-1]),
    ):
        nearest = likeness.nearest(look(Image.fromarray(np.ascontiguousarray(copy[0])), copy[1]))
        assert (nearest.real, nearest.copy) == (0, True)
        assert nearest.likeness > 0.9  # a square may begin a pixel beside
    smooth = Scene(Image.new("RGB", (64, 64), (128, 128, 128)), mask, "crack")
    assert not likeness.nearest(look(*smooth[:2])).copy


def test_one_real_anomaly_suspects_nobody():
    likeness = Likeness([0], [look(*scene(1)[:2])])
    assert likeness.threshold is None
    assert likeness.nearest(look(*scene(1)[:2])) == (0, 1.0, False)


def test_a_measure_says_where_and_how_much():
    mask = np.zeros((48, 96), dtype=bool)
    mask[:2, :4] = True  # one cell of 24 x 24
    mask[46:, 92:94] = True  # half of the last
    found = measure(Scene(Image.new("RGB", (96, 48)), mask, "crack"), None)
    assert found.cover.shape == (CELLS, CELLS)
    assert found.cover[0, 0] == 255
    assert found.cover[-1, -1] == pytest.approx(128, abs=1)
    assert np.count_nonzero(found.cover) == 2
    assert (found.pixels, found.area) == (12, 12 / (48 * 96))
    assert found.nearest is None


def test_heat_counts_how_often_a_place_is_marked():
    found = [measure(scene(seed, top=4 * seed), None) for seed in range(5)]
    side = side_of(found)
    total = sum(one.cover.astype(int) for one in found)
    assert side["count"] == 5
    assert np.array_equal(np.reshape(side["heat"], (CELLS, CELLS)), total * 255 // total.max())
    assert side["peak"] == pytest.approx(total.max() / 255 / 5)
    assert side["median"] == pytest.approx(140 / 4096)


def test_areas_fall_into_their_bins():
    shares = [0, 1e-9, 1e-5, 1.7e-5, 1.8e-5, 0.011, 0.5, 0.99, 1.0]
    expected = [0] * BINS
    for share in shares:
        edges = [1e-5 * 10 ** (b / 4) for b in range(BINS + 1)]
        inside = [b for b in range(BINS) if edges[b] <= share * (1 + 1e-12) < edges[b + 1]]
        expected[inside[0] if inside else (0 if share < 1e-5 else BINS - 1)] += 1
    assert histogram(shares) == expected


def test_nothing_measured_has_figures_too():
    empty = figures([], [])
    assert empty["generated"] == empty["real"]
    assert (empty["generated"]["count"], sum(empty["generated"]["heat"])) == (0, 0)


def survey(scenes, reals=(), busy=lambda: False):
    """A survey of scenes by index, which a test may change; keys are the scenes themselves."""
    return Survey(
        len(reals),
        lambda i: reals[i],
        lambda: [(i, id(s)) for i, s in scenes.items()],
        lambda i: scenes[i],
        busy,
    )


def test_a_survey_measures_what_is_new_or_changed():
    scenes = {0: scene(1), 1: None, 2: scene(2)}
    found = survey(scenes, [scene(1), None, scene(3)])
    found.measure_all()
    assert [index for index, _ in found.since(0, 10)] == [0, 2]
    assert found.done[0].nearest == (0, 1.0, True)
    assert sorted(found.real_done) == [0, 2]
    found.measure_all()
    assert len(found.since(0, 10)) == 2
    scenes[0], scenes[5] = scene(4), scene(5)
    found.measure_all()
    assert [index for index, _ in found.since(2, 10)] == [0, 5]
    assert [index for index, _ in found.since(1, 2)] == [2, 0]


def test_a_survey_compares_within_a_type():
    found = survey({0: scene(1, defect="hole"), 1: scene(1)}, [scene(1), scene(2)])
    found.measure_all()
    assert found.done[0].nearest is None
    assert found.done[1].nearest.real == 0


def test_a_survey_holds_back_while_somebody_waits_and_ends_when_told():
    waits = [True]
    found = survey({0: scene(1)}, busy=lambda: waits[0])
    found.start()
    found.stop()
    assert found.since(0, 9) == []
    waits[0] = False
    found.measure_all()  # stopped: nothing more
    assert found.since(0, 9) == []
