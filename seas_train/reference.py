"""The PyTorch sampler: diffusers' own solver and the plain modules, slow; the truth that parity is measured against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from seas_runtime.sampling.defaults import PAPER
from seas_train import run_folder
from seas_train.models import prediction, taps
from seas_train.run_folder import Run


@dataclass(frozen=True)
class SampleSettings:
    """How to generate."""

    steps: int = PAPER.steps
    guidance: float = PAPER.guidance
    mask_steps: int = PAPER.mask_steps
    final: str = "zero"


@dataclass(frozen=True)
class Sampled:
    """images (n, 3, H, W), about [-1, 1]; probability (n, 1, H, W), mean anomaly probability of the last steps."""

    images: Tensor
    probability: Tensor


def solver(run: Run, settings: SampleSettings) -> DPMSolverMultistepScheduler:
    """DPM-Solver++ (2M) over the run's noise schedule; how a base was sampled before it came here does not matter."""
    noise = run.model.scheduler
    names = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "prediction_type", "rescale_betas_zero_snr")
    scheduler = DPMSolverMultistepScheduler(
        **{name: noise.config[name] for name in names},
        algorithm_type="dpmsolver++",
        solver_order=2,
        timestep_spacing=prediction.spacing(noise),
        final_sigmas_type="zero" if settings.final == "zero" else "sigma_min",
    )
    scheduler.set_timesteps(settings.steps)
    return scheduler


@dataclass(frozen=True)
class Step:
    """One solver step of n pairs.

    index counts from 0; timestep is a scalar int64; prompt (2n, L, D), the defect types' embeddings, then the empty prompt's;
    latents entering and leaving (n, C, h, w), scaled; up2 and up3 are the conditional half's taps, `more` those of an
    ablation (tab. 25).
    """

    index: int
    timestep: Tensor
    prompt: Tensor
    entering: Tensor
    leaving: Tensor
    up2: Tensor
    up3: Tensor
    more: tuple[Tensor, ...] = ()


@torch.inference_mode()
def trajectory(run: Run, defects: list[str], normal: Tensor, noise: Tensor, settings: SampleSettings) -> Iterator[Step]:
    """The latents' way from noise to an image, step by step; arguments as in `sample`."""
    facts, model, n = run.facts, run.model, len(defects)
    prompt = run.embed([facts.prompts.anomaly[d] for d in defects] + [""] * n)
    latents = facts.tune.signal * normal + facts.tune.noise * noise
    scheduler = solver(run, settings)
    levels = run.rmp.config.taps if run.rmp else ()
    for i, t in enumerate(scheduler.timesteps):
        # Both halves, prompted and not.
        with taps.decoder_taps(model.unet) as tap:
            both = model.unet(torch.cat([latents, latents]), t.expand(2 * n), prompt).sample
        # Guidance.
        conditional, empty = both.chunk(2)
        guided = empty + settings.guidance * (conditional - empty)
        # Solver step.
        entering, latents = latents, scheduler.step(guided, t, latents).prev_sample
        more = tuple(x[:n] for x in tap.more(levels))
        yield Step(i, t, prompt, entering, latents, tap.up2[:n], tap.up3[:n], more)


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
    rmp, vae = run_folder.require_masks(run), run.model.vae
    probabilities = []
    for step in trajectory(run, defects, normal, noise, settings):
        if step.index >= settings.steps - settings.mask_steps:
            features = taps.vae_features(vae, step.entering, rmp.config.features)
            probabilities.append(rmp(step.up2, step.up3, *features, more=step.more))
    return Sampled(taps.decode(vae, step.leaving), torch.stack(probabilities).mean(dim=0))
