"""The autoencoder's decoder against a discriminator of patches: textures that a mean of absolute errors blurs.

The encoder stays as it is, and with it the latents that the U-Net has learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from seas_train.base.settings import BaseSettings
from seas_train.base.vae import Window, whole_images, window
from seas_train.data.dataset import ImageSet, draw, step_generator
from seas_train.losses import reconstruction
from seas_train.models import components
from seas_train.training import loop
from seas_train.training.compute import Machine

CROPS = 2
"""Crops of each image that the discriminator sees."""
RAMP = 200
"""Steps over which the discriminator's word comes to count."""


class Discriminator(nn.Sequential):
    """Judges patches of 18 pixels (Isola et al. 2017): images (n, 3, s, s) -> (n, 1, s/4 - 2, s/4 - 2), high for real."""

    def __init__(self, width: int = 32) -> None:
        super().__init__(
            nn.Conv2d(3, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.GroupNorm(8, 2 * width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 4 * width, 3, padding=0),
            nn.GroupNorm(8, 4 * width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(4 * width, 1, 1),
        )


@dataclass(frozen=True)
class Batch:
    """What decoder and discriminator see.

    images (n, 3, H, W) in [-1, 1]; masks (n, 1, H, W), 1 on anomalies; noise (n, C, h, w) standard normal, for the posterior
    sample; windows, the crops of each image; trust in 0..1, how much the discriminator's word counts.
    """

    images: Tensor
    masks: Tensor
    noise: Tensor
    windows: tuple[tuple[Window, ...], ...]
    trust: float


def losses(vae: AutoencoderKL, judge: Discriminator, batch: Batch, settings: BaseSettings) -> loop.Losses:
    """Reconstruction, and hinge losses of decoder and discriminator, balanced as by Esser et al. (2021, sec. 3.1).

    Args:
        vae: the autoencoder, whose encoder is frozen.
        judge: the discriminator, whose weights only its own loss moves.
        batch: what both see.
        settings: weights of the terms.
    """
    # Reconstruction.
    mean, std = components.encode_moments(vae, batch.images)
    latents = mean + std * batch.noise
    decoded = vae.decode(latents / vae.config.scaling_factor).sample.float()
    _, rebuilt = reconstruction(decoded, batch.images, batch.masks, settings.vae_anomaly_weight, settings.vae_edges)
    # Crops, made and real.
    both = torch.cat([decoded, batch.images], dim=1)
    crops = torch.stack([each.cut(x) for x, windows in zip(both, batch.windows, strict=True) for each in windows])
    made, real = crops[:, :3], crops[:, 3:]
    # The decoder's loss: the discriminator is fooled.
    fixed = {name: weight.detach() for name, weight in judge.named_parameters()}
    fooled = -functional_call(judge, fixed, (made,)).float().mean()
    # The discriminator's own.
    caught = F.relu(1 - judge(real).float()).mean() + F.relu(1 + judge(made.detach()).float()).mean()
    # Balance.
    weight = balance(rebuilt, fooled, vae.decoder.conv_out.weight) * settings.sharpen_weight * batch.trust
    return {"loss": rebuilt + weight * fooled + caught, "rebuilt": rebuilt, "fooled": fooled, "caught": caught}


def balance(first: Tensor, second: Tensor, weights: Tensor) -> Tensor:
    """The factor that gives the second loss as large a gradient in these weights as the first has, at most 1000."""
    norms = [torch.autograd.grad(loss, weights, retain_graph=True)[0].norm() for loss in (first, second)]
    return (norms[0] / (norms[1] + 1e-6)).clamp(max=1000).detach()


def batch_of(step: int, images: ImageSet, latent_channels: int, settings: BaseSettings) -> Batch:
    """What step `step` sees: as many whole images as the autoencoder's steps had pixels.

    Args:
        step: counted from 0; the discriminator's word counts more from step to step at first.
        images: to draw from.
        latent_channels: C.
        settings: the seed, and the crops.
    """
    generator = step_generator(settings.seed + 2, step)
    chosen = [images[i] for i in draw(len(images), whole_images(images.size, settings), generator)]
    pictures, masks = (torch.stack(part) for part in zip(*chosen, strict=True))
    noise = torch.randn(len(pictures), latent_channels, images.size // 8, images.size // 8, generator=generator)
    windows = tuple(
        tuple(window(mask[0], settings.vae_crop, settings.vae_focus, generator) for _ in range(CROPS)) for mask in masks
    )
    return Batch(pictures, masks, noise, windows, min(1.0, step / RAMP))


def train(vae: AutoencoderKL, images: ImageSet, out: Path, settings: BaseSettings) -> None:
    """Train decoder and discriminator for `sharpen_steps`; the decoder becomes the average of its weights on the way."""
    loop.run(stage_of(vae, images, out, settings))
    components.freeze(vae)


def stage_of(vae: AutoencoderKL, images: ImageSet, out: Path, settings: BaseSettings) -> loop.Stage[Batch]:
    """What `train` runs."""
    decoder = nn.ModuleDict({"decoder": vae.decoder, "post_quant_conv": vae.post_quant_conv}).requires_grad_(True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        judge = Discriminator()
    groups = [
        {"params": list(decoder.parameters()), "lr": settings.sharpen_lr},
        {"params": list(judge.parameters()), "lr": 2 * settings.sharpen_lr},
    ]
    return loop.Stage(
        out,
        {"stage": "base-decoder", "settings": settings.model_dump(mode="json"), "images": len(images)},
        settings.sharpen_steps,
        {"decoder": decoder, "judge": judge},
        torch.optim.AdamW(groups, betas=(0.5, 0.9), weight_decay=settings.weight_decay, fused=True),
        lambda step: batch_of(step, images, vae.config.latent_channels, settings),
        lambda batch: losses(vae, judge, batch, settings),
        settings,
        lr=lambda step: loop.cosine(step, settings.sharpen_steps),
        machine=Machine(precision=settings.vae_precision),
        average=loop.Average(decoder, settings.ema),
    )
