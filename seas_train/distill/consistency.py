"""What distillation computes: levels of noise, predictions, targets, losses. Pure functions of tensors.

Notation: z_t = alpha_t * z + sigma_t * eps; f(z_t, t) = c_skip(t) * z_t + c_out(t) * z^(z_t, t) is the consistency function, z^ the
U-Net's prediction of z; it leads to the end of a run from everywhere on the way, and is z itself there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import DDPMScheduler
from torch import Tensor

from seas_runtime.bundle.manifest import Schedule
from seas_runtime.sampling.solver import boundary, solver_table
from seas_train.models import prediction as predicts


@dataclass(frozen=True)
class Levels:
    """Noise levels, falling: timesteps (s,) int64; alpha, sigma, c_skip, c_out (s + 1,), the last is where a run ends."""

    timesteps: Tensor
    alpha: Tensor
    sigma: Tensor
    c_skip: Tensor
    c_out: Tensor

    def __len__(self) -> int:
        return len(self.timesteps)

    def to(self, device: torch.device) -> Levels:
        """The same on a device."""
        return Levels(*(part.to(device) for part in vars(self).values()))


def schedule_of(scheduler: DDPMScheduler) -> Schedule:
    """The runtime's form of a noise schedule, for runs that end at sigma 0."""
    noise = scheduler.config
    return Schedule(
        beta_start=noise.beta_start,
        beta_end=noise.beta_end,
        beta_schedule=noise.beta_schedule,
        train_steps=noise.num_train_timesteps,
        spacing=predicts.spacing(scheduler),
        final="zero",
        prediction="v_prediction" if noise.prediction_type == "v_prediction" else None,
        zero_snr=predicts.zero_snr(scheduler) or None,
    )


def levels_of(scheduler: DDPMScheduler, steps: int | None) -> Levels:
    """The levels of a run of so many solver steps, or all those of training."""
    if steps is not None:
        table = solver_table(schedule_of(scheduler), steps)
        timesteps, alpha, sigma = table.timesteps, table.alpha, table.sigma
    else:
        signal = np.append(scheduler.alphas_cumprod.double().numpy()[::-1], 1.0)
        timesteps, alpha, sigma = np.arange(len(signal) - 1)[::-1], np.sqrt(signal), np.sqrt(1 - signal)
    skip, out = boundary(timesteps)
    parts = (alpha, sigma, np.append(skip, 1.0), np.append(out, 0.0))
    return Levels(torch.from_numpy(timesteps.copy()), *(torch.from_numpy(part).float() for part in parts))


def at(values: Tensor, index: Tensor) -> Tensor:
    """Values (s,) of each of n latents, (n, 1, 1, 1)."""
    return values[index].view(-1, 1, 1, 1)


def clean_and_noise(output: Tensor, latents: Tensor, alpha: Tensor, sigma: Tensor, prediction: str) -> tuple[Tensor, Tensor]:
    """z^ and eps^ of a U-Net's output for latents (n, C, h, w) at a level, of a model that predicts noise or velocity.

    Args:
        output: of the U-Net, like latents.
        latents: z_t.
        alpha: (n, 1, 1, 1).
        sigma: (n, 1, 1, 1).
        prediction: the scheduler's `prediction_type`.
    """
    if prediction == "v_prediction":
        return alpha * latents - sigma * output, alpha * output + sigma * latents
    return (latents - sigma * output) / alpha, output


def pseudo_huber(found: Tensor, expected: Tensor, width: float) -> Tensor:
    """Mean of sqrt(d^2 + width^2) - width of the differences d: quadratic near 0, then their size (Song and Dhariwal 2023)."""
    return (((found - expected) ** 2 + width**2).sqrt() - width).mean()
