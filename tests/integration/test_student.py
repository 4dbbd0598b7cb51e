"""A student with one look: its bundle within the bounds, and pairs out of it, against the PyTorch reference."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import seas_runtime
from seas_export import to_onnx
from seas_export.cli import main as export_command
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.options import Options
from seas_runtime.sampling.noise import RENOISE, draw_latents
from seas_runtime.sampling.pairs import draw_pair
from seas_runtime.sampling.recipe import Plan
from seas_train import masks, reference, run_folder
from seas_train.distill import train
from seas_train.distill.settings import DistillSettings
from tests.smallest import MASKS

SETTINGS = DistillSettings(steps=2, guidance=3.0, solver_steps=6, generated=0, train_steps=1, batch=1)


@pytest.fixture(scope="module")
def fast(tuned, product, tmp_path_factory):
    out = tmp_path_factory.mktemp("student") / "fast"
    train.train(tuned, None, out, SETTINGS)
    masks.train(out, product, MASKS.model_copy(update={"look": "final", "steps": 1, "calibrate": "off"}))
    return out


@pytest.fixture(scope="module")
def plan(fast, tmp_path_factory):
    out = tmp_path_factory.mktemp("plans") / "fast.plan"
    refused = CliRunner().invoke(export_command, [str(fast), "--out", str(out), "--guidance", "8"])
    assert (refused.exit_code, out.exists()) == (2, False)
    assert "distilled for 2 steps with guidance 3 inside" in refused.output
    done = CliRunner().invoke(export_command, [str(fast), "--out", str(out), "--threshold", "0.5"])
    assert done.exit_code == 0, done.output
    return out


def test_the_bundle_says_what_it_is_for(plan):
    manifest = read_bundle(plan).manifest
    assert manifest.student == SETTINGS.student
    assert (manifest.schedule.solver, manifest.look) == ("consistency", 20)
    assert (manifest.defaults.steps, manifest.defaults.guidance, manifest.defaults.mask_steps) == (2, 3.0, 1)
    assert manifest.provenance["distill"]["solver_steps"] == 6
    stored = json.loads((plan / "manifest.json").read_text())
    assert stored["student"] == {"method": "consistency", "steps": 2, "guidance": 3.0, "grid": 6}


def test_every_step_and_the_look_are_within_the_bounds(fast, plan):
    result = CliRunner().invoke(export_command, [str(fast), "--parity", str(plan)])
    assert result.exit_code == 0, result.output
    assert "ok: 3 steps" in result.output


def test_the_bundle_makes_the_pairs_of_the_pytorch_sampler(fast, plan):
    held, run = read_bundle(plan).conditioning, run_folder.load(fast)
    to_onnx.require_finite([run.model.unet])
    drawn = [draw_pair(Plan(run.facts.defects, 3, 4, 4), index, 0, len(held.mean)) for index in range(4)]
    parts = [draw_latents(draw.stream, held.mean[draw.normal], held.std[draw.normal]) for draw in drawn]
    normal, noise = (torch.from_numpy(np.stack(part)) for part in zip(*parts, strict=True))
    fresh = np.stack([draw.stream.normals(RENOISE, (1, *normal.shape[1:])) for draw in drawn], axis=1)
    given = run, [draw.defect for draw in drawn], normal, noise, reference.usual(run)
    truth = reference.sample(*given, torch.from_numpy(fresh))
    limit = float(truth.probability.median())
    with seas_runtime.open(plan, "cpu", threads=1) as generator:
        recipe = generator.recipe(Options(count=4, seed=3, batch=3, threshold=limit, max_area=1.0, retries=0))
        pairs = [pair for batch in generator.batches(*recipe) for pair in batch]
    images = ((truth.images.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    for pair, image, probability in zip(pairs, images, truth.probability[:, 0].numpy(), strict=True):
        error = np.mean((pair.image - np.rint(image)) ** 2)
        assert error == 0 or 10 * np.log10(255**2 / error) >= 50
        union = ((pair.mask > 0) | (probability > limit)).sum()
        assert ((pair.mask > 0) & (probability > limit)).sum() >= 0.99 * union
