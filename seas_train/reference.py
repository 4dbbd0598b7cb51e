"""The PyTorch sampler: diffusers' own solver and the plain modules, slow; the truth that parity is measured against."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler
from torch import Tensor

from seas_runtime.errors import DataError, SettingsError
from seas_runtime.sampling.defaults import PAPER
from seas_runtime.sampling.solver import boundary
from seas_train import run_folder
from seas_train.distill.consistency import clean_and_noise
from seas_train.models import prediction, taps
from seas_train.run_folder import Run


@dataclass(frozen=True)
class SampleSettings:
    """How to generate; `interval` is the part of the schedule that is guided, 1 its first step's level."""

    steps: int = PAPER.steps
    guidance: float = PAPER.guidance
    mask_steps: int = PAPER.mask_steps
    final: str = "zero"
    interval: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class Sampled:
    """images (n, 3, H, W), about [-1, 1]; probability (n, 1, H, W), mean anomaly probability of the last steps."""

    images: Tensor
    probability: Tensor


def usual(run: Run) -> SampleSettings:
    """How pairs of a run are sampled where nobody says it: as in the paper, or as a student was made for."""
    student = run.facts.student
    if student is None:
        return SampleSettings()
    return SampleSettings(student.steps, student.guidance, min(PAPER.mask_steps, student.steps))


def fits(run: Run, settings: SampleSettings) -> None:
    """Refuse what a student was not distilled for.

    Raises:
        SettingsError: other guidance, or steps whose timesteps it does not know.
    """
    student = run.facts.student
    if student is None:
        return
    trained = f"{run.folder} was distilled for {student.steps} steps with guidance {student.guidance:g} inside"
    if settings.guidance != student.guidance or settings.interval != SampleSettings.interval:
        raise SettingsError(f"guidance {settings.guidance:g} or an interval found, but {trained}; leave it out")
    if student.runs and settings.steps not in student.runs:
        known = ", ".join(map(str, student.runs))
        raise SettingsError(f"steps {settings.steps} found, but {trained}, and knows the timesteps of {known}; take one of these")


def last_timesteps(run: Run) -> Tensor:
    """The timesteps (m,) int64 that a consistency student's masks are made at, none of other runs, whose sampler is finer."""
    settings = usual(run)
    if run.facts.student is None or run.facts.student.method != "consistency":
        return torch.zeros(0, dtype=torch.int64)
    return solver(run, settings).timesteps[-settings.mask_steps :]


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


def is_guided(level: float, settings: SampleSettings) -> bool:
    """Whether a step at this share of the schedule is guided."""
    return settings.guidance != 1 and settings.interval[0] <= level <= settings.interval[1]


@dataclass(frozen=True)
class Step:
    """One solver step of n pairs.

    index counts from 0; timestep is a scalar int64; prompt (2n, L, D), the defect types' embeddings, then the empty prompt's,
    or (n, L, D) without guidance; latents entering and leaving (n, C, h, w), scaled; up2 and up3 are the conditional half's taps,
    `more` those of an ablation (tab. 25).
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
def trajectory(
    run: Run, defects: Sequence[str | None], normal: Tensor, noise: Tensor, settings: SampleSettings, fresh: Tensor | None = None
) -> Iterator[Step]:
    """The latents' way from noise to an image, step by step; arguments as in `sample`, None stands for the normal prompt."""
    facts, model, n = run.facts, run.model, len(defects)
    prompt = torch.cat([run.prompt(defects), run.embed([""] * n)])
    latents = (facts.tune.signal * normal + facts.tune.noise * noise).to(prompt.device)
    scheduler = solver(run, settings)
    consistency = facts.student is not None and facts.student.method == "consistency"
    levels = run.rmp.config.taps if run.rmp else ()
    for i, t in enumerate(scheduler.timesteps):
        # Both halves, prompted and not, or the first alone.
        guides = facts.student is None and is_guided(float(t / scheduler.timesteps[0]), settings)
        copies = 2 if guides else 1
        with taps.decoder_taps(model.unet) as tap:
            timesteps = t.expand(copies * n).to(prompt.device)
            predicted = model.unet(torch.cat([latents] * copies), timesteps, prompt[: copies * n]).sample
        # Guidance.
        guided, empty = predicted[:n], predicted[n:]
        if copies == 2:
            guided = empty + settings.guidance * (guided - empty)
        # Solver step.
        entering = latents
        if consistency:
            again = latents[:0, None] if fresh is None else fresh[i : i + 1]
            latents = consistency_step(model.scheduler, guided, latents, scheduler.timesteps[i:], again)
        else:
            latents = scheduler.step(guided, t, latents).prev_sample
        more = tuple(x[:n] for x in tap.more(levels))
        yield Step(i, t, prompt[: copies * n], entering, latents, tap.up2[:n], tap.up3[:n], more)


def consistency_step(scheduler: DDPMScheduler, output: Tensor, latents: Tensor, timesteps: Tensor, fresh: Tensor) -> Tensor:
    """One step of multistep consistency sampling (Song et al. 2023, algorithm 1; Luo et al. 2023).

    Args:
        scheduler: the noise schedule.
        output: of the U-Net for latents (n, C, h, w).
        latents: those that enter.
        timesteps: this step's and all later ones.
        fresh: noise (1, n, C, h, w) that it adds; empty at the last step, which ends at the clean latents.
    """
    level = scheduler.alphas_cumprod[timesteps[0]].double()
    clean, _ = clean_and_noise(output, latents, level.sqrt(), (1 - level).sqrt(), scheduler.config.prediction_type)
    skip, out = boundary(timesteps[:1].numpy())
    clean = float(skip[0]) * latents + float(out[0]) * clean
    if len(timesteps) == 1:
        return clean.to(latents.dtype)
    level = scheduler.alphas_cumprod[timesteps[1]].double()
    return (level.sqrt() * clean + (1 - level).sqrt() * fresh[0].to(clean.device)).to(latents.dtype)


@dataclass(frozen=True)
class Look:
    """One look at latents: taps up2 and up3 of the conditional half, and probability (n, 1, H, W)."""

    up2: Tensor
    up3: Tensor
    probability: Tensor


@torch.no_grad()
def look(run: Run, latents: Tensor, prompt: Tensor) -> Look:
    """What the mask branch makes of finished latents (n, C, h, w), scaled, under prompts (n, L, D).

    Raises:
        DataError: the run has no mask branch, or one that sees the latents of the last steps.
    """
    rmp, model = run_folder.require_masks(run), run.model
    if run.look is None:
        raise DataError(f"{run.folder}: its mask branch sees the last steps, not the finished picture; train it with --look final")
    timestep = torch.full((len(latents),), run.look, device=latents.device)
    with taps.decoder_taps(model.unet) as tap:
        model.unet(latents, timestep, prompt)
    features = taps.vae_features(model.vae, latents, rmp.config.features)
    return Look(tap.up2, tap.up3, rmp(tap.up2, tap.up3, *features, more=tap.more(rmp.config.taps)))


@torch.inference_mode()
def sample(
    run: Run, defects: list[str], normal: Tensor, noise: Tensor, settings: SampleSettings, fresh: Tensor | None = None
) -> Sampled:
    """Generate one image-mask pair per entry of `defects` (paper sec. 3.4); the mask is of the finished picture if the run says so.

    Args:
        run: a tuned run with its mask branch.
        defects: n defect types.
        normal: (n, C, h, w) scaled latents of normal images.
        noise: (n, C, h, w) standard normal.
        settings: see `SampleSettings`.
        fresh: (s - 1, n, C, h, w) standard normal, what the steps of a consistency student add.

    Raises:
        DataError: the run has no mask branch.
        SettingsError: a student was not made for these settings.
    """
    fits(run, settings)
    rmp, vae = run_folder.require_masks(run), run.model.vae
    probabilities = []
    for step in trajectory(run, defects, normal, noise, settings, fresh):
        if run.look is None and step.index >= settings.steps - settings.mask_steps:
            features = taps.vae_features(vae, step.entering, rmp.config.features)
            probabilities.append(rmp(step.up2, step.up3, *features, more=step.more))
    if run.look is not None:
        probabilities = [look(run, step.leaving, step.prompt[: len(defects)]).probability]
    return Sampled(taps.decode(vae, step.leaving), torch.stack(probabilities).mean(dim=0))
