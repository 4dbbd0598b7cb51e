"""A start for the text encoder of a small base: contrastive, as CLIP's was trained before Stable Diffusion took it.

A text encoder of random weights gives all captions nearly the same embedding, and a U-Net that learns noise hears little of what
is left of them: the words would decide nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from seas_train.base.settings import BaseSettings
from seas_train.data.dataset import draw, step_generator
from seas_train.models.components import Components
from seas_train.prompts import tokenize
from seas_train.training import loop

BATCH, PEAK_LR = 64, 1e-3
TEMPERATURE = 0.07


def contrastive(images: Tensor, texts: Tensor, captions: Sequence[str]) -> Tensor:
    """Cross-entropy over the batch in both directions (Radford et al. 2021, fig. 3); equal captions are all right answers.

    Args:
        images: (n, D), of any length.
        texts: (n, D), of any length.
        captions: of each pair.
    """
    same = torch.tensor([[a == b for b in captions] for a in captions], dtype=images.dtype)
    target = same / same.sum(dim=1, keepdim=True)
    scores = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / TEMPERATURE
    return (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2


@dataclass(frozen=True)
class Batch:
    """Latents (n, C, h, w), scaled; the caption of each."""

    latents: Tensor
    captions: list[str]


def losses(model: Components, eye: nn.Module, batch: Batch) -> loop.Losses:
    """The contrastive loss of what the text encoder says at each caption's end, and of what `eye` sees, (n, D) both."""
    ids = tokenize(model.tokenizer, batch.captions)
    read = model.text_encoder(ids).last_hidden_state
    first_end = (ids == model.tokenizer.eos_token_id).int().argmax(dim=1)
    said = read[torch.arange(len(ids)), first_end]
    return {"loss": contrastive(eye(batch.latents), said, batch.captions)}


def train(
    model: Components, latents: Tensor, caption: Callable[[int, list[float]], str], out: Path, settings: BaseSettings
) -> None:
    """Train the text encoder beside a small encoder of latents, which is not kept.

    Args:
        model: whose text encoder learns.
        latents: (n, C, h, w), scaled.
        caption: of image i, from three numbers in 0..1 that decide which words of it are generic.
        out: the base's folder.
        settings: `align_steps` and the seed.
    """
    loop.run(stage_of(model, latents, caption, out, settings))


def stage_of(
    model: Components, latents: Tensor, caption: Callable[[int, list[float]], str], out: Path, settings: BaseSettings
) -> loop.Stage[Batch]:
    """What `train` runs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        eye = _eye(latents.shape[1], model.text_encoder.config.hidden_size)

    def batch_of(step: int) -> Batch:
        generator = step_generator(settings.seed + 3, step)
        chosen = draw(len(latents), BATCH, generator)
        chance = torch.rand(BATCH, 3, generator=generator).tolist()
        return Batch(latents[chosen], [caption(i, c) for i, c in zip(chosen, chance, strict=True)])

    weights = [*eye.parameters(), *model.text_encoder.parameters()]
    return loop.Stage(
        out,
        {"stage": "base-text", "settings": settings.model_dump(mode="json"), "images": len(latents)},
        settings.align_steps,
        {"eye": eye, "text_encoder": model.text_encoder},
        torch.optim.AdamW(weights, PEAK_LR, weight_decay=settings.weight_decay, fused=True),
        batch_of,
        lambda batch: losses(model, eye, batch),
        settings,
        lr=lambda step: loop.cosine(step, settings.align_steps),
    )


def _eye(channels: int, width: int) -> nn.Sequential:
    """An encoder of latents (n, channels, h, w) -> (n, width)."""
    return nn.Sequential(
        nn.Conv2d(channels, 64, 3, padding=1),
        nn.SiLU(),
        nn.Conv2d(64, 128, 3, stride=2, padding=1),
        nn.SiLU(),
        nn.Conv2d(128, 128, 3, stride=2, padding=1),
        nn.SiLU(),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(128, width),
    )
