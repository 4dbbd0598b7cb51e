"""The figures of the demo engine's quality, on cases worked by hand."""

import numpy as np
import pytest
import torch

from benchmarks import demo_quality
from benchmarks.demo import figures
from benchmarks.demo.oracle import Drawn, Oracle, draw_pieces


def _mask(rows):
    return np.array(rows, bool)[None]


def test_iou_of_one_image_by_hand():
    found = _mask([[1, 1, 0], [0, 0, 0]])
    true = _mask([[0, 1, 1], [0, 0, 0]])
    assert figures.ious(found, true) == pytest.approx([1 / 3])
    assert figures.ious(found & ~found, true & ~true) == pytest.approx([1.0])


def test_segmentation_by_hand():
    maps = np.array([[[0.9, 0.8], [0.7, 0.1]]], np.float32)
    masks = _mask([[1, 0], [1, 0]])
    scores = figures.segmentation(maps, masks)
    assert scores["iou"] == pytest.approx(2 / 3)
    assert scores["ap"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)  # precision at each new recall


def test_distance_is_that_of_unit_channel_vectors():
    generator = torch.Generator().manual_seed(0)
    first, second = ([torch.randn(n, 5, 3, 3, generator=generator), torch.randn(n, 2, 1, 1, generator=generator)] for n in (2, 3))
    expected = np.zeros((2, 3))
    for i in range(2):
        for j in range(3):
            for a, b in zip(first, second, strict=True):
                x, y = a[i] / a[i].norm(dim=0), b[j] / b[j].norm(dim=0)
                expected[i, j] += float(((x - y) ** 2).sum(dim=0).mean())
    np.testing.assert_allclose(figures.distances(first, second), expected, atol=1e-5)


def test_frechet_of_two_normal_distributions():
    rng = np.random.default_rng(0)
    first = rng.standard_normal((200_000, 2))
    second = first * [2.0, 3.0] + [1.0, -2.0]
    assert figures.frechet(first, first) == pytest.approx(0, abs=1e-6)
    expected = 1 + 4 + (2 - 1) ** 2 + (3 - 1) ** 2  # of diagonal covariances: means, and spreads one by one
    assert figures.frechet(first, second) == pytest.approx(expected, rel=0.02)


def test_copies_of_the_training_anomalies_are_found():
    defects = ("broken_large", "broken_small", "contamination")
    judge = Oracle(defects)  # random weights see a difference too
    judge.network.eval()
    few = draw_pieces("bottle", defects * 2, 64, seed=1)
    fresh = draw_pieces("bottle", defects * 3, 64, seed=2)
    whole = draw_pieces("bottle", [None] * 6, 64, seed=3)
    made = draw_pieces("bottle", defects, 64, seed=4)
    mixed = Drawn(
        *(
            np.concatenate(parts)
            for parts in zip((few.images[:3], few.masks[:3], few.types[:3]), (made.images, made.masks, made.types), strict=True)
        )
    )
    table = figures.measure(judge, mixed, fresh, whole, few)
    assert 0.5 <= table["generated"]["copies"] < 1
    assert np.array(table["generated"]["nearest"][:3]) == pytest.approx(0, abs=1e-4)
    assert table["real"]["iou by type"].keys() == set(defects)


def test_a_kept_score_is_never_that_of_other_pairs(tmp_path, monkeypatch):
    pieces, normals = draw_pieces("bottle", ["contamination"] * 2, 64, 1), draw_pieces("bottle", [None], 64, 2)
    few, trained = demo_quality.Few(pieces, normals.images), []
    monkeypatch.setattr(demo_quality.segmentation, "train", lambda *_: trained.append(1))
    monkeypatch.setattr(demo_quality, "predict", lambda _, images: np.zeros(images.shape[:3], np.float32))

    def score(few, pairs):
        return demo_quality.segmenter_scores(tmp_path, "real + generated", 0, list, few, pieces, pairs)

    assert score(few, "engine 600") == score(few, "engine 600")
    assert len(trained) == 1
    score(few, "other 600")
    score(few, "engine 900")
    score(demo_quality.Few(pieces, 255 - normals.images), "engine 600")
    assert len(trained) == 4
