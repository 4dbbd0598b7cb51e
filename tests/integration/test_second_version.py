"""Stable Diffusion 2.x at a small geometry of the same shape, all the way: base, run, bundle; against diffusers' own pipeline."""

import json

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

from seas_export import bundle as exporting
from seas_export import check, parity
from seas_runtime.backends.ort import open_graphs
from seas_runtime.backends.workers import Workers
from seas_runtime.bundle.manifest import Defaults
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.sampling.loop import solve
from seas_runtime.sampling.prompted import PromptedUnet
from seas_runtime.sampling.recipe import Sampling
from seas_runtime.sampling.solver import solver_table
from seas_train import masks, reference, run_folder, tune
from seas_train.models import components
from tests.smallest import CAPTIONS, GEOMETRY, MASKS, TUNE

SECOND = GEOMETRY.model_copy(
    update={"unet_heads": (1, 2, 3, 4), "linear_projection": True, "text_activation": "gelu", "text_layers": 2}
)
"""Heads by level, linear projections, OpenCLIP's activation: what 2.x has and 1.x has not."""
STEPS, GUIDANCE = 6, 3.0


@pytest.fixture(scope="module", params=[("epsilon", False), ("v_prediction", False), ("v_prediction", True)], ids=str)
def run(request, product, tmp_path_factory):
    """A run on a base of 2.x."""
    folder = tmp_path_factory.mktemp("second")
    torch.manual_seed(0)
    model = components.build(SECOND, CAPTIONS)
    model.scheduler = components.build_scheduler(*request.param)
    model.save(folder / "base")
    tune.train(product, str(folder / "base"), folder / "run", TUNE, {"licence": "CC0"})
    masks.train(folder / "run", product, MASKS)
    return run_folder.load(folder / "run")


@pytest.fixture(scope="module")
def start(run):
    """Start latents of two pairs, and what the pipeline makes of them."""
    defects = list(run.facts.defects)[:2]
    noise = torch.randn(2, *run.normal_mean.shape[1:], generator=torch.Generator().manual_seed(3))
    zero_snr = run.model.scheduler.config.rescale_betas_zero_snr
    scheduler = DPMSolverMultistepScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=run.model.scheduler.config.prediction_type,
        rescale_betas_zero_snr=zero_snr,
        timestep_spacing="trailing" if zero_snr else "linspace",
    )
    model = run.model
    pipeline = StableDiffusionPipeline(
        model.vae, model.text_encoder, model.tokenizer, model.unet, scheduler, None, None, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    normal = run.normal_mean[:2]
    latents = run.facts.tune.signal * normal + run.facts.tune.noise * noise
    final = pipeline(
        [run.facts.prompts.anomaly[d] for d in defects],
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        latents=latents,
        output_type="latent",
    ).images
    return defects, normal, noise, latents, final


def close(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_the_reference_sampler_gives_the_pipeline_s_latents(run, start):
    defects, normal, noise, _, final = start
    settings = reference.SampleSettings(STEPS, GUIDANCE)
    *_, last = reference.trajectory(run, defects, normal, noise, settings)
    close(last.leaving, final)


@pytest.mark.slow  # three exports
def test_the_bundle_gives_the_pipeline_s_latents(run, start, tmp_path):
    defects, _, _, latents, final = start
    defaults = Defaults(steps=STEPS, guidance=GUIDANCE, threshold=0.5, mask_steps=3)
    path = tmp_path / "second.plan"
    exporting.export(run, path, exporting.ExportSettings(half=False, defaults=defaults), lambda _: None)
    noise = run.model.scheduler.config
    schedule = json.loads((path / "manifest.json").read_text())["schedule"]
    assert schedule.get("prediction", "epsilon") == noise.prediction_type
    assert schedule.get("zero_snr", False) == noise.rescale_betas_zero_snr
    bundle = read_bundle(path)
    sampling = Sampling(solver_table(bundle.manifest.schedule, STEPS), GUIDANCE, 3, {}, 0)
    backend = open_graphs("cpu", bundle, 1)
    prompts = np.stack([bundle.conditioning.prompts[d] for d in defects])
    unet = PromptedUnet(backend, prompts, bundle.conditioning.empty, GUIDANCE)
    with Workers(1) as workers:
        found, _ = solve(backend, unet, latents.numpy(), sampling, workers)
    close(found, final)
    parity.require(check.check(run, path, lambda _: None))
