"""Training of the Refined Mask Prediction branch on a fine-tuned, frozen model (paper sec. 3.3, eq. 7)."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import DDPMScheduler
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from seas_train import checkpoint, loop, run
from seas_train.config import MaskSettings
from seas_train.data.dataset import ImageSet, step_generator
from seas_train.data.layouts import Product, Record
from seas_train.errors import DataError, SettingsError
from seas_train.losses import focal_loss
from seas_train.models import components, taps
from seas_train.models.rmp import RefinedMaskPredictor, RmpConfig
from seas_train.run import Run
from seas_train.tune import Batch, sample_batch


def previous_latents(scheduler: DDPMScheduler, noisy: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """One deterministic (DDIM) step from t to t - 1, or to the clean latent at t = 0.

    Args:
        scheduler: holds the cumulative alphas.
        noisy: latents (n, C, h, w) at t.
        noise: predicted noise, same shape.
        timesteps: (n,) int64.
    """
    alphas = torch.cat([torch.ones(1), scheduler.alphas_cumprod])
    now, before = (alphas[timesteps + i].view(-1, 1, 1, 1) for i in (1, 0))
    clean = (noisy - (1 - now).sqrt() * noise) / now.sqrt()
    return before.sqrt() * clean + (1 - before).sqrt() * noise


@torch.no_grad()
def features(
    frozen: Run, batch: Batch, max_timestep: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Taps (up2, up3) of the whole batch at a random timestep, and VAE features of its anomaly images' previous latent."""
    model, a, n = frozen.model, len(batch.defects), len(batch.images)
    mean, std = components.encode_moments(model.vae, batch.images)
    noise, posterior = torch.randn(2, *mean.shape, generator=generator)
    timesteps = torch.randint(max_timestep, (n,), generator=generator)
    noisy = model.scheduler.add_noise(mean + std * posterior, noise, timesteps)
    prompts = frozen.facts.prompts
    prompt = frozen.embed([*(prompts.anomaly[d] for d in batch.defects), *[prompts.normal] * (n - a)])
    with taps.decoder_taps(model.unet) as tap:
        predicted = model.unet(noisy, timesteps, prompt).sample
    entering = previous_latents(model.scheduler, noisy, predicted, timesteps)
    return tap.up2, tap.up3, taps.decode_features(model.vae, entering[:a])


def losses(rmp: RefinedMaskPredictor, frozen: Run, batch: Batch, settings: MaskSettings, generator: torch.Generator) -> loop.Losses:
    """L_M, eq. 7: focal losses of coarse and refined masks, normal images against an empty mask."""
    up2, up3, vae_features = features(frozen, batch, settings.max_timestep, generator)
    a = len(batch.defects)
    coarse = rmp.coarse(up2, up3)
    coarse_logits = rmp.coarse_logits(coarse)
    fine_logits = rmp.refined_logits(coarse[:a], vae_features)
    side = coarse.shape[-1]
    small = F.interpolate(batch.masks, size=(side, side), mode="area")
    small = (small >= (small.amax(dim=(2, 3), keepdim=True) / 2).clamp(max=0.5)).float()
    raised = F.interpolate(coarse[a:], size=batch.masks.shape[-2:], mode="bilinear", align_corners=False)
    normal_logits = rmp.coarse_logits(raised)
    terms = {
        "coarse": focal_loss(coarse_logits[:a], small, settings.gamma),
        "fine": focal_loss(fine_logits, batch.masks, settings.gamma),
        "normal_coarse": _against_nothing(coarse_logits[a:], settings.gamma),
        "normal_raised": _against_nothing(normal_logits, settings.gamma),
    }
    return {"loss": torch.stack(list(terms.values())).sum(), **terms}


def _against_nothing(logits: Tensor, gamma: float) -> Tensor:
    return focal_loss(logits, torch.zeros_like(logits[:, :1]), gamma)


def config_for(frozen: Run, settings: MaskSettings) -> RmpConfig:
    """Sizes of the branch for this model."""
    up2, up3, features = taps.channels(frozen.model.unet, frozen.model.vae)
    if (settings.up2_width + settings.up3_width) % settings.heads:
        raise SettingsError(
            f"widths {settings.up2_width} + {settings.up3_width} are not a multiple of {settings.heads} heads; change one"
        )
    names = ("up2_width", "up3_width", "layers", "heads", "groups", "fuse")
    return RmpConfig(
        up2_channels=up2,
        up3_channels=up3,
        feature_channels=features,
        **{name: getattr(settings, name) for name in names},
    )


def train(folder: Path, product: Product, settings: MaskSettings) -> None:
    """Train the mask branch of a run on the run's own split and add it to the run folder.

    Raises:
        DataError: the run is not tuned, or its images are not in this data set.
    """
    frozen = run.load(folder)
    torch.manual_seed(settings.seed)
    rmp = RefinedMaskPredictor(config_for(frozen, settings))
    by_name = {r.image.relative_to(product.root).as_posix(): r for r in (*product.anomalies, *product.normals)}
    anomalies = ImageSet(_find(frozen.facts.train, by_name, product), frozen.model.image_size)
    normals = ImageSet(_find(frozen.facts.normals, by_name, product), frozen.model.image_size)
    optimizer = torch.optim.AdamW(rmp.parameters(), settings.lr, weight_decay=settings.weight_decay)
    counts = (settings.anomaly_batch, settings.normal_batch)

    def losses_of(step: int) -> loop.Losses:
        generator = step_generator(settings.seed, step)
        batch = sample_batch(anomalies, normals, counts, settings.augment, generator)
        return losses(rmp, frozen, batch, settings, generator)

    steps = settings.steps or settings.steps_per_type * len(frozen.facts.defects)
    task = {"stage": "masks", "settings": settings.model_dump(mode="json")}
    stage = loop.Stage(folder, task, steps, {"rmp": rmp}, optimizer, settings.checkpoint_every, settings.log_every)
    loop.run(stage, losses_of)
    run.save_masks(folder, frozen.facts.model_copy(update={"masks": settings}), rmp)
    checkpoint.clear(folder)


def _find(names: tuple[str, ...], records: dict[str, Record], product: Product) -> list[Record]:
    missing = [name for name in names if name not in records]
    if missing:
        raise DataError(f"{product.root}: has no {missing[0]}, which the run was tuned on; give the run's own data set")
    return [records[name] for name in names]
