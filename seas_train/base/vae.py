"""The autoencoder of a small base model: its losses, and what it sees."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from seas_train.base.settings import BaseSettings
from seas_train.data.dataset import ImageSet, draw, step_generator
from seas_train.losses import reconstruction
from seas_train.training import loop
from seas_train.training.compute import Machine


def losses(vae: AutoencoderKL, images: Tensor, masks: Tensor, noise: Tensor, settings: BaseSettings) -> loop.Losses:
    """Reconstruction (L1 on pixels and on their differences, weighted means) and KL of a batch.

    Args:
        vae: the autoencoder.
        images: (n, 3, s, s) in [-1, 1].
        masks: (n, 1, s, s), 1 on anomalies, whose pixels weigh more by `vae_anomaly_weight`.
        noise: (n, C, s/8, s/8) standard normal, for the posterior sample.
        settings: weights of the terms.
    """
    posterior = vae.encode(images).latent_dist
    decoded = vae.decode(posterior.mean + posterior.std * noise).sample
    l1, rebuilt = reconstruction(decoded, images, masks, settings.vae_anomaly_weight, settings.vae_edges)
    kl = posterior.kl().mean()
    return {"loss": rebuilt + settings.vae_kl * kl, "l1": l1, "kl": kl}


Seen = tuple[Tensor, Tensor, Tensor]


def train(vae: AutoencoderKL, images: ImageSet, out: Path, settings: BaseSettings) -> None:
    """Train it for `vae_steps`."""
    loop.run(stage_of(vae, images, out, settings))


def stage_of(vae: AutoencoderKL, images: ImageSet, out: Path, settings: BaseSettings) -> loop.Stage[Seen]:
    """What `train` runs."""

    def batch_of(step: int) -> Seen:
        generator = step_generator(settings.seed, step)
        side, count = crop_of(step, images.size, settings)
        crops = torch.stack(
            [crop(torch.cat(images[i]), side, settings.vae_focus, generator) for i in draw(len(images), count, generator)]
        )
        noise = torch.randn(count, vae.config.latent_channels, side // 8, side // 8, generator=generator)
        return crops[:, :3], crops[:, 3:], noise

    return loop.Stage(
        out,
        {"stage": "base-vae", "settings": settings.model_dump(mode="json"), "images": len(images)},
        settings.vae_steps,
        {"vae": vae},
        torch.optim.AdamW(vae.parameters(), settings.vae_lr, weight_decay=settings.weight_decay, fused=True),
        batch_of,
        lambda batch: losses(vae, *batch, settings),
        settings,
        lr=lambda step: loop.cosine(step, settings.vae_steps),
        machine=Machine(precision=settings.vae_precision),
    )


def crop_of(step: int, whole: int, settings: BaseSettings) -> tuple[int, int]:
    """Side and number of the autoencoder's crops at a step; the last ones are whole images, of side `whole`, of as many pixels."""
    if step < round(settings.vae_steps * (1 - settings.vae_whole)):
        return settings.vae_crop, settings.vae_batch
    return whole, whole_images(whole, settings)


def whole_images(side: int, settings: BaseSettings) -> int:
    """How many whole images have as many pixels as a batch of crops; at least one."""
    return max(1, settings.vae_batch * settings.vae_crop**2 // side**2)


@dataclass(frozen=True)
class Window:
    """A square of an image, and whether it is flipped."""

    top: int
    left: int
    side: int
    flip: bool

    def cut(self, image: Tensor) -> Tensor:
        """(C, H, W) -> (C, side, side)."""
        image = image[:, self.top : self.top + self.side, self.left : self.left + self.side]
        return image.flip(-1) if self.flip else image


def window(mask: Tensor, side: int, focus: float, generator: torch.Generator) -> Window:
    """Draw a square: anywhere, or with the chance `focus` around a pixel that the mask (H, W) marks."""
    room = mask.shape[-1] - side + 1
    top, left = torch.randint(room, (2,), generator=generator).tolist()
    marked = mask.nonzero()
    if len(marked) and float(torch.rand((), generator=generator)) < focus:
        at = marked[int(torch.randint(len(marked), (), generator=generator))]
        top, left = (at - side // 2).clamp(0, room - 1).tolist()
    return Window(top, left, side, bool(torch.randint(2, (), generator=generator)))


def crop(image: Tensor, side: int, focus: float, generator: torch.Generator) -> Tensor:
    """A square of (C, H, W), whose last channel is the mask that `window` asks."""
    return window(image[-1], side, focus, generator).cut(image)
