"""The engine that ships with the repository still makes bottles: a dark ring on a light table, and masks that mark something."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seas_runtime.bundle import read_bundle

ENGINE = Path(__file__).parents[2] / "engines" / "bottle.plan"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    out = tmp_path_factory.mktemp("shipped") / "out"
    code = "import sys; from seas_runtime.cli import generate; sys.exit(generate())"
    options = ["--engine", str(ENGINE), "--count", "6", "--batch", "6", "--out", str(out), "--quiet"]
    done = subprocess.run([sys.executable, "-c", code, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    images = sorted(out.glob("bottle/test/*/*.png"), key=lambda p: p.name)
    masks = sorted(out.glob("bottle/ground_truth/*/*.png"), key=lambda p: p.name)
    return [(np.asarray(Image.open(i)), np.asarray(Image.open(m))) for i, m in zip(images, masks, strict=True)]


def test_it_is_the_size_it_should_be_and_says_what_it_is():
    manifest = read_bundle(ENGINE).manifest
    assert sum(entry.bytes for entry in manifest.files.values()) <= 15_000_000
    assert manifest.provenance["quality"] == "provisional"
    assert manifest.defect_names == ("broken_large", "broken_small", "contamination")


def test_pictures_are_bottles(pairs):
    assert len(pairs) == 6
    for image, _ in pairs:
        corners = np.concatenate([image[:8, :8].ravel(), image[-8:, -8:].ravel(), image[:8, -8:].ravel()])
        centre = image[54:74, 54:74]
        assert corners.mean() > 180
        assert centre.mean() < 90


def test_masks_mark_something_and_not_everything(pairs):
    for _, mask in pairs:
        assert set(np.unique(mask)) == {0, 255}
        assert 0.0001 < (mask > 0).mean() < 0.5
