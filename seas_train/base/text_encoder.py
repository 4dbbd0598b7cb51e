"""A start for the text encoder of a small base: contrastive, as CLIP's was trained before Stable Diffusion took it.

A text encoder of random weights gives all captions nearly the same embedding, and a U-Net that learns noise hears little of what
is left of them: the words would decide nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from seas_train.config import BaseSettings
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


def train(model: Components, latents: Tensor, caption: Callable[[int, list[float]], str], settings: BaseSettings) -> list[float]:
    """Train the text encoder beside a small encoder of latents, which is not kept.

    Args:
        model: whose text encoder learns.
        latents: (n, C, h, w), scaled.
        caption: of image i, from three numbers in 0..1 that decide which words of it are generic.
        settings: `align_steps` and the seed.

    Returns:
        The loss of every step.
    """
    width = model.text_encoder.config.hidden_size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        eye = nn.Sequential(
            nn.Conv2d(latents.shape[1], 64, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(64, 128, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(128, 128, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
            nn.Linear(128, width),
        )
    weights = [*eye.parameters(), *model.text_encoder.parameters()]
    optimizer = torch.optim.AdamW(weights, PEAK_LR, weight_decay=settings.weight_decay, fused=True)
    end, found = model.tokenizer.eos_token_id, []
    for step in range(settings.align_steps):
        generator = step_generator(settings.seed + 3, step)
        optimizer.param_groups[0]["lr"] = PEAK_LR * loop.cosine(step, settings.align_steps)
        chosen = draw(len(latents), BATCH, generator)
        chance = torch.rand(BATCH, 3, generator=generator).tolist()
        texts = [caption(i, c) for i, c in zip(chosen, chance, strict=True)]
        ids = tokenize(model.tokenizer, texts)
        read = model.text_encoder(ids).last_hidden_state
        first_end = (ids == end).int().argmax(dim=1)
        loss = contrastive(eye(latents[chosen]), read[torch.arange(BATCH), first_end], texts)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        found.append(float(loss.detach()))
    return found
