"""Trainings that are kept in files."""

import numpy as np
import pytest

from benchmarks.quality import real
from benchmarks.quality.downstream import trials
from benchmarks.quality.downstream.segmentation import SegmenterSettings
from benchmarks.quality.downstream.sources import Method
from benchmarks.quality.downstream.trials import Trial
from seas_runtime.errors import OutputError
from seas_train.config import TuneSettings


def test_a_file_of_weights_is_known_by_its_bytes(data, tmp_path, monkeypatch):
    calls = []

    def segment(posed, settings, _seed):
        calls.append(settings.weights)
        return {name: np.zeros(task.test_masks.shape, np.float32) for name, task in posed.items()}

    monkeypatch.setattr(trials, "segment", segment)
    first, moved = tmp_path / "first", tmp_path / "moved"
    first.write_bytes(b"one")
    moved.write_bytes(b"one")
    (product,) = real.read_products(data / "nut").values()
    materials = {"nut": real.load(real.divide(product, TuneSettings()), 32)}

    def run(weights):
        how = (materials, SegmenterSettings(), tmp_path / "kept", lambda _line: None, {"lfd": weights})
        trials.run([Trial("perlin", "lfd", "unified", 2, 0)], [Method("perlin", comparator="perlin")], *how)

    run(first)
    run(moved)
    assert calls == [first]
    first.write_bytes(b"two")
    with pytest.raises(OutputError, match="was made with other settings"):
        run(first)
