"""What a U-Net predicts: the noise, or v (Salimans & Ho 2022), which holds noise and image at every level of noise."""

from __future__ import annotations

import torch
from diffusers import DDPMScheduler
from torch import Tensor

KINDS = ("epsilon", "v_prediction")


def target(scheduler: DDPMScheduler, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """What the U-Net is to predict of noised latents; the losses of eq. 4 and 5 compare it.

    Args:
        scheduler: says which, and holds the cumulative alphas.
        clean: latents (n, C, h, w).
        noise: what was added, same shape.
        timesteps: (n,) int64.
    """
    if scheduler.config.prediction_type == "epsilon":
        return noise
    alpha, sigma = _coefficients(scheduler, timesteps, noise)
    return alpha * noise - sigma * clean


def split(scheduler: DDPMScheduler, noisy: Tensor, predicted: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
    """The clean latents and the noise that a prediction says noised latents are made of.

    Args:
        scheduler: as in `target`.
        noisy: latents (n, C, h, w) at t.
        predicted: what the U-Net gave, same shape.
        timesteps: (n,) int64.
    """
    alpha, sigma = _coefficients(scheduler, timesteps, noisy)
    if scheduler.config.prediction_type == "epsilon":
        return (noisy - sigma * predicted) / alpha, predicted
    return alpha * noisy - sigma * predicted, sigma * noisy + alpha * predicted


def zero_snr(scheduler: DDPMScheduler) -> bool:
    """Whether the last timestep is noise alone (Lin et al. 2024); sampling then begins there, with "trailing" timesteps."""
    return bool(scheduler.config.rescale_betas_zero_snr)


def spacing(scheduler: DDPMScheduler) -> str:
    """How the solver's timesteps are spaced."""
    return "trailing" if zero_snr(scheduler) else "linspace"


def _coefficients(scheduler: DDPMScheduler, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Square roots of alpha-bar and of its rest, (n, 1, 1, 1)."""
    alpha_bar = scheduler.alphas_cumprod.to(like.device)[timesteps].view(-1, 1, 1, 1)
    return torch.sqrt(alpha_bar), torch.sqrt(1 - alpha_bar)
