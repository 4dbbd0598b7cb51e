"""The whole pipeline with real parts: a small trained run, its bundle, and pairs out of it, against the PyTorch reference."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import seas_runtime
from seas_export import to_onnx
from seas_runtime import Options
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.sampling.noise import POSTERIOR, START
from seas_runtime.sampling.pairs import draw_pair
from seas_runtime.sampling.recipe import Plan
from seas_train import reference, run_folder

STEPS = 6
GUIDANCE = 3.0


def pairs_of(plan, count, batch, threshold):
    options = Options(
        count=count, seed=3, batch=batch, steps=STEPS, guidance=GUIDANCE, mask_steps=3,
        threshold=threshold, max_area=1.0, retries=0,
    )  # fmt: skip
    with seas_runtime.open(plan, "cpu", threads=1) as generator:
        return [pair for pairs in generator.batches(*generator.recipe(options)) for pair in pairs]


def iou(a, b):
    union = np.logical_or(a, b).sum()
    return 1.0 if union == 0 else np.logical_and(a, b).sum() / union


@pytest.fixture(scope="module")
def truth(tuned, plan):
    """What the PyTorch sampler makes of the same rounded weights, latents and noise, for eight pairs."""
    conditioning = read_bundle(plan).conditioning
    rounded = run_folder.load(tuned)
    to_onnx.round_to_half([rounded.model.unet, rounded.model.vae, rounded.rmp])
    order = Plan(rounded.facts.defects, seed=3, count=8, batch=8)
    drawn = [draw_pair(order, i, 0, len(conditioning.mean)) for i in range(8)]
    mean, std = (np.stack([part[p.normal] for p in drawn]) for part in (conditioning.mean, conditioning.std))
    posterior = np.stack([p.stream.normals(POSTERIOR, mean.shape[1:]) for p in drawn])
    noise = torch.from_numpy(np.stack([p.stream.normals(START, mean.shape[1:]) for p in drawn]))
    settings = reference.SampleSettings(steps=STEPS, guidance=GUIDANCE, mask_steps=3)
    normal = torch.from_numpy(mean + std * posterior)
    return reference.sample(rounded, [p.defect for p in drawn], normal, noise, settings)


def test_bundle_makes_the_pairs_of_the_pytorch_sampler(plan, truth):
    threshold = float(truth.probability.median())
    samples = pairs_of(plan, 8, 8, threshold)
    images = ((truth.images.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    for sample, image, probability in zip(samples, images, truth.probability[:, 0].numpy(), strict=True):
        error = np.mean((sample.image - np.rint(image)) ** 2)
        assert error == 0 or 10 * np.log10(255**2 / error) >= 50
        assert iou(sample.mask > 0, probability >= threshold) >= 0.99


def test_every_batch_size_gives_the_same_pairs(plan, truth):
    threshold = float(truth.probability.median())
    one, three, eight = (pairs_of(plan, 8, batch, threshold) for batch in (1, 3, 8))
    for a, b, c in zip(one, three, eight, strict=True):
        for other in (b, c):
            assert np.abs(a.image.astype(int) - other.image).max() <= 1
            assert iou(a.mask > 0, other.mask > 0) >= 0.99


def test_console_commands_make_a_data_set(plan, tmp_path):
    code = "import sys; from seas_runtime.cli import generate; sys.exit(generate())"
    options = ["--engine", str(plan), "--count", "4", "--out", str(tmp_path / "o"), "--max-area", "1"]
    options += ["--threshold", "0.001"]  # an untrained head: any mask will do
    done = subprocess.run([sys.executable, "-c", code, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "o" / "metadata.jsonl").read_text().splitlines()]
    assert [line["defect"] for line in lines] == ["broken_large", "broken_small", "contamination", "broken_large"]
    for line in lines:
        with Image.open(tmp_path / "o" / line["file_name"]) as image:
            assert (image.size, image.mode) == ((64, 64), "RGB")
