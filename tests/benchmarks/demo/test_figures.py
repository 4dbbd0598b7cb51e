"""The figures of the demo engine's quality, on cases worked by hand."""

import numpy as np
import pytest

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
