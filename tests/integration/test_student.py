"""A student with one look and a small decoder: its bundle within the bounds, and pairs out of it, against the PyTorch reference."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from seas_export import to_onnx
from seas_export.cli import main as export_command
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.sampling.noise import RENOISE
from seas_train import masks, reference, run_folder
from seas_train.distill import train
from seas_train.distill.settings import DistillSettings
from tests.integration.against_reference import drawn, require_alike
from tests.smallest import MASKS

SETTINGS = DistillSettings(steps=2, guidance=3.0, solver_steps=6, generated=0, train_steps=1, batch=1)


@pytest.fixture(scope="module")
def fast(tuned, product, tmp_path_factory):
    out = tmp_path_factory.mktemp("student") / "fast"
    train.train(tuned, None, out, SETTINGS)
    small = {"decoder": "small", "decoder_channels": (4, 4, 8, 12), "decoder_steps": 1, "decoder_latents": 1}
    masks.train(out, product, MASKS.model_copy(update={"look": "final", "steps": 1, "calibrate": "off", **small}))
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
    assert manifest.provenance["decoder"]["channels"] == [4, 4, 8, 12]
    assert manifest.graphs["mask_head"].inputs[2].shape == ("n", 12, 16, 16)
    stored = json.loads((plan / "manifest.json").read_text())
    assert stored["student"] == {"method": "consistency", "steps": 2, "guidance": 3.0, "grid": 6}


def test_every_step_and_the_look_are_within_the_bounds(fast, plan):
    result = CliRunner().invoke(export_command, [str(fast), "--parity", str(plan)])
    assert result.exit_code == 0, result.output
    assert "ok: 3 steps" in result.output


def test_the_bundle_makes_the_pairs_of_the_pytorch_sampler(fast, plan):
    held, run = read_bundle(plan).conditioning, run_folder.load(fast)
    to_onnx.require_finite([run.model.unet])
    draws, normal, noise = drawn(run, held)
    fresh = np.stack([draw.stream.normals(RENOISE, (1, *normal.shape[1:])) for draw in draws], axis=1)
    given = run, [draw.defect for draw in draws], normal, noise, reference.usual(run)
    truth = reference.sample(*given, torch.from_numpy(fresh))
    require_alike(plan, truth)
