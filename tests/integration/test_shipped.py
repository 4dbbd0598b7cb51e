"""The engine that ships with the repository makes bottles with defects where its masks are; judged by drawn bottles alone."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seas_runtime.bundle.reader import read_bundle
from seas_train.data import demo

ENGINE = Path(__file__).parents[2] / "engines" / "bottle.plan"
COUNT = 12
ZONES = {"table": (1.05, 2.0), "wall": (0.72, 0.94), "mouth": (0.0, 0.38)}  # radii, in half sides of the image


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    out = tmp_path_factory.mktemp("shipped") / "out"
    code = "import sys; from seas_runtime.cli import generate; sys.exit(generate())"
    options = ["--engine", str(ENGINE), "--count", str(COUNT), "--out", str(out), "--backend", "cpu", "--quiet"]
    done = subprocess.run([sys.executable, "-c", code, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    images = sorted(out.glob("bottle/test/*/*.png"), key=lambda p: p.name)
    masks = sorted(out.glob("bottle/ground_truth/*/*.png"), key=lambda p: p.name)
    assert len(images) == COUNT
    return [(np.asarray(Image.open(i)), np.asarray(Image.open(m)) > 0) for i, m in zip(images, masks, strict=True)]


@pytest.fixture(scope="module")
def drawn():
    return np.stack([demo.draw("bottle", None, 128, np.random.default_rng(seed))[0] for seed in range(40)]).astype(float)


def zone(name):
    axis = (np.arange(128) + 0.5) / 64 - 1
    radius = np.hypot(axis[:, None], axis[None, :])
    low, high = ZONES[name]
    return (radius >= low) & (radius < high)


def test_it_is_the_size_it_should_be_and_says_what_it_is():
    manifest = read_bundle(ENGINE).manifest
    assert sum(entry.bytes for entry in manifest.files.values()) <= 26_000_000
    assert manifest.defect_names == ("broken_large", "broken_small", "contamination")
    assert "procedural" in str(manifest.provenance["licence"])


@pytest.mark.parametrize("name", ["table", "wall", "mouth"])
def test_colours_are_those_of_the_product(pairs, drawn, name):
    real = drawn[:, zone(name)].mean(axis=1)  # (40, 3)
    room = 25 + 3 * real.std(axis=0)
    for image, mask in pairs:
        seen = zone(name) & ~mask
        assert np.abs(image[seen].mean(axis=0) - real.mean(axis=0)).max() < room.max()


def test_masks_mark_something_and_little(pairs):
    areas = [mask.mean() for _, mask in pairs]
    assert min(areas) > 0.0005
    assert max(areas) < 0.25


def test_what_masks_mark_differs_from_a_whole_bottle(pairs, drawn):
    """Inside a mask the picture is further from the usual bottle than outside, in nearly every pair."""
    usual, spread = np.median(drawn, axis=0), drawn.std(axis=0).mean(axis=-1) + 8
    ratios = []
    for image, mask in pairs:
        strange = np.abs(image - usual).mean(axis=-1) / spread
        ratios.append(strange[mask].mean() / strange[~mask].mean())
    assert np.median(ratios) > 2
    assert sum(ratio > 1.2 for ratio in ratios) >= COUNT - 2
