"""Training and export tell nobody of themselves: no network, and nothing in the user's home."""

import pytest

from tests.runtime.traces import run

TRAIN = "from seas_train.cli import main; main()"
EXPORT = "from seas_export.cli import main; main()"
FEW = ("--steps", 1, "--anomaly-batch", 1, "--normal-batch", 1, "--normal-count", 1)


@pytest.mark.slow
def test_training_leaves_no_trace(base, product, tmp_path):
    words = ("tune", product.root, "--base", base, "--out", tmp_path / "run", *FEW)
    assert run(tmp_path, TRAIN, *words, timeout=600) == ([], [])


@pytest.mark.slow
def test_exporting_leaves_no_trace(tuned, tmp_path):
    assert run(tmp_path, EXPORT, tuned, "--out", tmp_path / "x.plan", timeout=600) == ([], [])
