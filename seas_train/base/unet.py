"""The U-Net of a small base model, and its text encoder where that was not trained before: noise prediction on latents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from seas_train.base.settings import BaseSettings
from seas_train.data.dataset import draw, step_generator
from seas_train.models import components, prediction
from seas_train.models.components import Components
from seas_train.prompts import tokenize
from seas_train.training import loop

Caption = Callable[[int, list[float]], str]
"""The caption of an image, from three numbers in 0..1 that decide what of it is said."""
Mark = Callable[[int, dict[str, nn.Module]], None]
"""Told after every step: steps done, and the average's networks by name."""


@dataclass(frozen=True)
class Looked:
    """All images through every symmetry: scaled latent mean and std (symmetries, images, C, h, w), masks with C = 1, of 0 and 1."""

    mean: Tensor
    std: Tensor
    masks: Tensor


@dataclass(frozen=True)
class Batch:
    """latents and noise (n, C, h, w); masks (n, 1, h, w); timesteps (n,) int64; the caption of each."""

    latents: Tensor
    noise: Tensor
    masks: Tensor
    timesteps: Tensor
    captions: list[str]


def noise_loss(predicted: Tensor, wanted: Tensor, masks: Tensor, weight: float) -> Tensor:
    """Weighted mean of the squared error of the predicted noise or v; cells that an anomaly touches weigh 1 + `weight`, others 1.

    Args:
        predicted: (n, C, h, w).
        wanted: same shape.
        masks: (n, 1, h, w) of 0 and 1.
        weight: 0 for the plain mean.
    """
    weights = 1 + weight * masks
    return ((predicted - wanted) ** 2 * weights).mean() / weights.mean()


def timestep_weights(alphas: Tensor, most: float) -> Tensor:
    """How often each timestep is drawn: 1 / alpha-bar, at most `most`.

    The error of v is that of the noise divided by the square root of alpha-bar (Salimans & Ho 2022). What a prompt decides is
    decided while there is hardly anything but noise, where the plain loss of the noise is all but blind to it. Drawing such
    timesteps more often is the same as weighing them more, with less noise in the gradients.

    Args:
        alphas: (T,) alpha-bar of every timestep.
        most: 1 for all alike.
    """
    return (1 / alphas).clamp(max=most)


def losses(model: Components, batch: Batch, settings: BaseSettings) -> loop.Losses:
    """The error of what is predicted, noise or v."""
    prompt = model.text_encoder(tokenize(model.tokenizer, batch.captions)).last_hidden_state
    noisy = model.scheduler.add_noise(batch.latents, batch.noise, batch.timesteps)
    predicted = model.unet(noisy, batch.timesteps, prompt).sample
    wanted = prediction.target(model.scheduler, batch.latents, batch.noise, batch.timesteps)
    return {"loss": noise_loss(predicted, wanted, batch.masks, settings.anomaly_weight)}


def rate(step: int, settings: BaseSettings) -> float:
    """The factor of the learning rate at a step."""
    return loop.cosine(step, settings.steps) if settings.lr_schedule == "cosine" else loop.warm_up(step)


def train(
    model: Components, parts: tuple[str, ...], seen: Looked, caption: Caption, mark: Mark, out: Path, settings: BaseSettings
) -> None:
    """Train for `steps`; what learned becomes the average of its weights on the way.

    Args:
        model: whose networks learn.
        parts: names of those that do.
        seen: what there is to learn from.
        caption: of image i.
        mark: may keep what a step leaves.
        out: the base's folder.
        settings: see `BaseSettings`.
    """
    loop.run(stage_of(model, parts, seen, caption, out, settings, mark))
    components.freeze(*(model.networks[name] for name in parts))


def _pass(_done: int, _networks: dict[str, nn.Module]) -> None:
    pass


def stage_of(
    model: Components, parts: tuple[str, ...], seen: Looked, caption: Caption, out: Path, settings: BaseSettings, mark: Mark = _pass
) -> loop.Stage[Batch]:
    """What `train` runs."""
    live = nn.ModuleDict({name: model.networks[name] for name in parts})
    average = loop.Average(live, settings.ema)
    often = timestep_weights(model.scheduler.alphas_cumprod, settings.max_noise_weight)
    symmetries, images, *latent = seen.mean.shape

    def batch_of(step: int) -> Batch:
        generator = step_generator(settings.seed + 1, step)
        chosen = draw(images, settings.batch, generator)
        views = draw(symmetries, settings.batch, generator)
        noise, posterior = torch.randn(2, settings.batch, *latent, generator=generator)
        timesteps = torch.multinomial(often, settings.batch, replacement=True, generator=generator)
        chance = torch.rand(settings.batch, 3, generator=generator).tolist()
        latents = seen.mean[views, chosen] + seen.std[views, chosen] * posterior
        captions = [caption(i, c) for i, c in zip(chosen, chance, strict=True)]
        return Batch(latents, noise, seen.masks[views, chosen], timesteps, captions)

    return loop.Stage(
        out,
        {"stage": "base-unet", "settings": settings.model_dump(mode="json"), "images": images},
        settings.steps,
        {"live": live},
        torch.optim.AdamW(live.parameters(), settings.lr, weight_decay=settings.weight_decay, fused=True),
        batch_of,
        lambda batch: losses(model, batch, settings),
        settings,
        lr=lambda step: rate(step, settings),
        average=average,
        after=lambda done: mark(done, dict(average.module.named_children())),
    )
