"""The PyTorch sampler: diffusers' own solver and the plain modules, slow; the truth that parity is measured against."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from seas_train import run as runs
from seas_train.models import taps
from seas_train.run import Run


@dataclass(frozen=True)
class SampleSettings:
    """How to generate; the defaults are those of the paper for MVTec AD."""

    steps: int = 25
    guidance: float = 8.0
    mask_steps: int = 3
    final: str = "zero"


@dataclass(frozen=True)
class Sampled:
    """images (n, 3, H, W), about [-1, 1]; probability (n, 1, H, W), mean anomaly probability of the last steps."""

    images: Tensor
    probability: Tensor


def solver(run: Run, settings: SampleSettings) -> DPMSolverMultistepScheduler:
    """DPM-Solver++ (2M) over the run's noise schedule."""
    scheduler = DPMSolverMultistepScheduler.from_config(
        run.model.scheduler.config,
        algorithm_type="dpmsolver++",
        solver_order=2,
        timestep_spacing="linspace",
        final_sigmas_type="zero" if settings.final == "zero" else "sigma_min",
    )
    scheduler.set_timesteps(settings.steps)
    return scheduler


@torch.inference_mode()
def sample(run: Run, defects: list[str], normal: Tensor, noise: Tensor, settings: SampleSettings) -> Sampled:
    """Generate one image-mask pair per entry of `defects` (paper sec. 3.4).

    Args:
        run: a tuned run with its mask branch.
        defects: n defect types.
        normal: (n, C, h, w) scaled latents of normal images.
        noise: (n, C, h, w) standard normal.
        settings: see `SampleSettings`.

    Raises:
        DataError: the run has no mask branch.
    """
    rmp = runs.require_masks(run)
    facts, model, n = run.facts, run.model, len(defects)
    prompt = run.embed([facts.prompts.anomaly[d] for d in defects] + [""] * n)
    latents = facts.tune.signal * normal + facts.tune.noise * noise
    scheduler = solver(run, settings)
    probabilities = []
    with taps.decoder_taps(model.unet) as tap:
        for i, t in enumerate(scheduler.timesteps):
            both = model.unet(torch.cat([latents, latents]), t.expand(2 * n), prompt).sample
            if i >= settings.steps - settings.mask_steps:
                probabilities.append(rmp(tap.up2[:n], tap.up3[:n], *taps.decode_features(model.vae, latents)))
            conditional, empty = both.chunk(2)
            latents = scheduler.step(empty + settings.guidance * (conditional - empty), t, latents).prev_sample
    return Sampled(taps.decode(model.vae, latents), torch.stack(probabilities).mean(dim=0))
