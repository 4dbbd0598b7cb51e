"""The autoencoder's decoder against a discriminator of patches: textures that a mean of absolute errors blurs.

The encoder stays as it is, and with it the latents that the U-Net has learned.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from seas_train.base.vae import crop, reconstruction, whole_images
from seas_train.config import BaseSettings
from seas_train.data.dataset import ImageSet, draw, step_generator
from seas_train.models import components
from seas_train.training import loop

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


def losses(
    vae: AutoencoderKL,
    judge: Discriminator,
    images: Tensor,
    masks: Tensor,
    step: int,
    settings: BaseSettings,
    generator: torch.Generator,
) -> loop.Losses:
    """Reconstruction, and hinge losses of decoder and discriminator, balanced as by Esser et al. (2021, sec. 3.1).

    Args:
        vae: the autoencoder, whose encoder is frozen.
        judge: the discriminator, whose weights only its own loss moves.
        images: (n, 3, H, W) in [-1, 1].
        masks: (n, 1, H, W), 1 on anomalies.
        step: counted from 0; the discriminator's word counts more from step to step at first.
        settings: weights of the terms.
        generator: draws posterior samples and crops.
    """
    mean, std = components.encode_moments(vae, images)
    latents = mean + std * torch.randn(mean.shape, generator=generator)
    decoded = vae.decode(latents / vae.config.scaling_factor).sample.float()
    _, rebuilt = reconstruction(decoded, images, masks, settings)
    both = torch.cat([decoded, images, masks], dim=1)
    crops = torch.stack([crop(x, settings.vae_crop, settings.vae_focus, generator) for x in both for _ in range(CROPS)])
    made, real = crops[:, :3], crops[:, 3:6]
    fixed = {name: weight.detach() for name, weight in judge.named_parameters()}
    fooled = -functional_call(judge, fixed, (made,)).float().mean()
    caught = F.relu(1 - judge(real).float()).mean() + F.relu(1 + judge(made.detach()).float()).mean()
    weight = balance(rebuilt, fooled, vae.decoder.conv_out.weight) * settings.sharpen_weight * min(1.0, step / RAMP)
    return {"loss": rebuilt + weight * fooled + caught, "rebuilt": rebuilt, "fooled": fooled, "caught": caught}


def balance(first: Tensor, second: Tensor, weights: Tensor) -> Tensor:
    """The factor that gives the second loss as large a gradient in these weights as the first has, at most 1000."""
    norms = [torch.autograd.grad(loss, weights, retain_graph=True)[0].norm() for loss in (first, second)]
    return (norms[0] / (norms[1] + 1e-6)).clamp(max=1000).detach()


def train(vae: AutoencoderKL, images: ImageSet, out: Path, settings: BaseSettings) -> None:
    """Train decoder and discriminator for `sharpen_steps`; the decoder becomes the average of its weights on the way."""
    decoder = nn.ModuleDict({"decoder": vae.decoder, "post_quant_conv": vae.post_quant_conv}).requires_grad_(True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        judge = Discriminator()
    average = loop.average(decoder, settings.ema)
    rates = [settings.sharpen_lr, 2 * settings.sharpen_lr]
    groups = [{"params": list(decoder.parameters()), "lr": rates[0]}, {"params": list(judge.parameters()), "lr": rates[1]}]
    optimizer = torch.optim.AdamW(groups, betas=(0.5, 0.9), weight_decay=settings.weight_decay, fused=True)
    count = whole_images(images[0][0].shape[-1], settings)

    def losses_of(step: int) -> loop.Losses:
        generator = step_generator(settings.seed + 2, step)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * loop.cosine(step, settings.sharpen_steps)
        chosen = [images[i] for i in draw(len(images), count, generator)]
        pictures, masks = (torch.stack(part) for part in zip(*chosen, strict=True))
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.vae_precision == "bf16"):
            return losses(vae, judge, pictures, masks, step, settings, generator)

    task = {"stage": "base-decoder", "settings": settings.model_dump(mode="json"), "images": len(images)}
    modules: dict[str, nn.Module] = {"decoder": decoder, "judge": judge, "average": average}
    stage = loop.Stage(out, task, settings.sharpen_steps, modules, optimizer, settings.checkpoint_every, settings.log_every)
    loop.run(stage, losses_of, after=lambda _: average.update_parameters(decoder))
    decoder.load_state_dict(average.module.state_dict())
    components.freeze(vae)
