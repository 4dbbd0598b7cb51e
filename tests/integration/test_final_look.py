"""A run whose masks are of one look, its bundle, and pairs out of it, against the PyTorch reference."""

import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import seas_runtime
from seas_export import bundle, to_onnx
from seas_export.cli import main as export_command
from seas_runtime import Options
from seas_runtime.bundle.manifest import Defaults
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.sampling.noise import draw_latents
from seas_runtime.sampling.pairs import draw_pair
from seas_runtime.sampling.recipe import Plan
from seas_train import masks, reference, run_folder
from tests.smallest import MASKS

INTERVAL = (0.3, 0.9)


@pytest.fixture(scope="module")
def looking(tuned, product, tmp_path_factory):
    folder = shutil.copytree(tuned, tmp_path_factory.mktemp("looking") / "run")
    masks.train(folder, product, MASKS.model_copy(update={"look": "final", "look_timestep": 17}))
    return folder


@pytest.fixture(scope="module")
def plan(looking, tmp_path_factory):
    out = tmp_path_factory.mktemp("plans") / "look.plan"
    defaults = Defaults(steps=4, guidance=3.0, threshold=0.5, mask_steps=3, guidance_interval=INTERVAL)
    bundle.export(run_folder.load(looking), out, bundle.ExportSettings(True, defaults), lambda _stage: None)
    return out


def test_the_bundle_says_how_and_holds_no_branch_of_steps(plan):
    manifest = read_bundle(plan).manifest
    assert (manifest.look, manifest.defaults.mask_steps, manifest.defaults.guidance_interval) == (17, 1, INTERVAL)
    assert set(manifest.graphs) == {"unet", "vae_decoder", "mask_head", "decoder", "finish"}
    for precision in ("fp32", "fp16"):
        assert set(manifest.parity[precision]["finish"]) == {"image", "probability"}
        assert manifest.parity[precision]["finish"]["probability"]["iou"] >= 0.99


def test_every_step_and_the_look_are_within_the_bounds(looking, plan):
    result = CliRunner().invoke(export_command, [str(looking), "--parity", str(plan)])
    assert result.exit_code == 0, result.output
    assert "ok: 5 steps" in result.output  # four of the solver, and the look
    assert "fp16  finish.image" in result.output


def test_the_bundle_makes_the_pairs_of_the_pytorch_sampler(looking, plan):
    held = read_bundle(plan).conditioning
    run = run_folder.load(looking)
    to_onnx.round_to_half([run.model.unet, run.model.vae, run.rmp])
    drawn = [draw_pair(Plan(run.facts.defects, 3, 4, 4), index, 0, len(held.mean)) for index in range(4)]
    parts = [draw_latents(draw.stream, held.mean[draw.normal], held.std[draw.normal]) for draw in drawn]
    normal, noise = (torch.from_numpy(np.stack(part)) for part in zip(*parts, strict=True))
    settings = reference.SampleSettings(steps=4, guidance=3.0, interval=INTERVAL)
    truth = reference.sample(run, [draw.defect for draw in drawn], normal, noise, settings)
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
