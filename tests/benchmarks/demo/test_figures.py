"""The figures of the demo engine's quality, on cases worked by hand."""

import numpy as np
import pytest

from benchmarks import demo_quality
from benchmarks.demo import figures
from benchmarks.demo.oracle import Oracle, Pieces, draw_pieces


def test_copies_of_the_training_anomalies_are_found():
    defects = ("broken_large", "broken_small", "contamination")
    judge = Oracle(defects)  # random weights see a difference too
    judge.network.eval()
    few = draw_pieces("bottle", defects * 2, 64, seed=1)
    fresh = draw_pieces("bottle", defects * 3, 64, seed=2)
    whole = draw_pieces("bottle", [None] * 6, 64, seed=3)
    made = draw_pieces("bottle", defects, 64, seed=4)
    mixed = Pieces(
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
