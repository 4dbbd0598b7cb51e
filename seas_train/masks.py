"""Training of the Refined Mask Prediction branch on a fine-tuned, frozen model (paper sec. 3.3, eq. 7)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler
from PIL import Image
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from seas_runtime.errors import DataError
from seas_train import decoder, reference, run_folder
from seas_train.calibrate import calibrate
from seas_train.config import MaskSettings, require_heads
from seas_train.data import fitting, layouts
from seas_train.data.dataset import ImageSet, step_generator
from seas_train.data.layouts import Product, Record
from seas_train.losses import at_least_single, focal_loss
from seas_train.models import components, prediction, taps
from seas_train.models.rmp import RefinedMaskPredictor, RmpConfig
from seas_train.run_folder import Calibration, Run
from seas_train.training import batches, compute, kept, loop, tensorboard
from seas_train.training.batches import Batch, Drawn, Draws, sample_batch
from seas_train.training.compute import Encoder


def previous_latents(scheduler: DDPMScheduler, noisy: Tensor, predicted: Tensor, timesteps: Tensor) -> Tensor:
    """One deterministic (DDIM) step from t to t - 1, or to the clean latent at t = 0.

    Args:
        scheduler: holds the cumulative alphas.
        noisy: latents (n, C, h, w) at t.
        predicted: by the U-Net, same shape.
        timesteps: (n,) int64.
    """
    alphas = torch.cat([torch.ones(1), scheduler.alphas_cumprod.cpu()]).to(noisy.device)
    before = alphas[timesteps].view(-1, 1, 1, 1)
    clean, noise = prediction.split(scheduler, noisy, predicted, timesteps)
    return before.sqrt() * clean + (1 - before).sqrt() * noise


@dataclass(frozen=True)
class Seen:
    """What the branch is given: taps of the whole batch, VAE features of its anomaly images' previous latent."""

    up2: Tensor
    up3: Tensor
    more: tuple[Tensor, ...]
    features: tuple[Tensor, Tensor, Tensor]


@torch.no_grad()
def features(frozen: Run, batch: Batch, drawn: Draws, settings: MaskSettings, encode: Encoder | None = None) -> Seen:
    """Run the frozen networks at a random timestep, or, for one look at the finished picture, on the latents as they are."""
    model, a, n = frozen.model, len(batch.defects), len(batch.images)
    final = settings.look == "final"
    # z_t, the latents with noise
    mean, std = (encode or Encoder(model.vae))(batch.images, batch.views)
    drawn = drawn.to(mean.device)
    clean = mean + std * drawn.posterior
    timesteps = torch.full_like(drawn.timesteps, settings.look_timestep) if final else drawn.timesteps
    noisy = clean if final else model.scheduler.add_noise(clean, drawn.noise, timesteps)
    # eps_theta, and the U-Net's taps on the way
    prompts = frozen.facts.prompts
    prompt = frozen.embed([*(prompts.anomaly[d] for d in batch.defects), *[prompts.normal] * (n - a)])
    with taps.decoder_taps(model.unet) as tap:
        predicted = model.unet(noisy, timesteps, prompt).sample
    # z_(t-1), and the VAE's features of it
    entering = clean if final else previous_latents(model.scheduler, noisy, at_least_single(predicted), timesteps)
    with torch.autocast(entering.device.type, enabled=False):
        vae_features = taps.vae_features(model.vae, entering[:a], settings.features)
    return Seen(tap.up2, tap.up3, tap.more(settings.taps), vae_features)


def losses(
    rmp: RefinedMaskPredictor,
    frozen: Run,
    batch: Batch,
    drawn: Draws,
    settings: MaskSettings,
    encode: Encoder | None = None,
) -> loop.Losses:
    """L_M, eq. 7: focal losses of coarse and refined masks, normal images against an empty mask."""
    seen = features(frozen, batch, drawn, settings, encode)
    a = len(batch.defects)
    masks = batch.masks.to(seen.up2.device)
    coarse = rmp.coarse(seen.up2, seen.up3, *seen.more)
    logits = rmp.coarse_logits(coarse)
    # The four terms of eq. 7
    terms: loop.Losses = {}
    if settings.coarse_supervision:
        terms["coarse"] = focal_loss(logits[:a], small_masks(masks, coarse.shape[-1]), settings.gamma)
    terms["fine"] = focal_loss(rmp.refined_logits(coarse[:a], seen.features), masks, settings.gamma)
    if settings.coarse_supervision and settings.normal_supervision:
        terms["normal_coarse"] = _against_nothing(logits[a:], settings.gamma)
    if settings.normal_supervision:
        raised = F.interpolate(coarse[a:], size=masks.shape[-2:], mode="bilinear", align_corners=False)
        terms["normal_raised"] = _against_nothing(rmp.coarse_logits(raised), settings.gamma)
    return {"loss": torch.stack(list(terms.values())).sum(), **terms}


def small_masks(masks: Tensor, side: int) -> Tensor:
    """Masks (n, 1, H, W) at the latent side: cells half covered, or the most covered ones where none is."""
    small = F.interpolate(masks, size=(side, side), mode="area")
    return (small >= (small.amax(dim=(2, 3), keepdim=True) / 2).clamp(max=0.5)).float()


def _against_nothing(logits: Tensor, gamma: float) -> Tensor:
    return focal_loss(logits, torch.zeros_like(logits[:, :1]), gamma)


def config_for(frozen: Run, settings: MaskSettings) -> RmpConfig:
    """Sizes of the branch for this model."""
    model = frozen.model
    up2, up3, features = taps.channels(model.unet, model.vae, settings.features)
    require_heads(settings)
    names = ("up2_width", "up3_width", "layers", "heads", "groups", "fuse", "features", "mrm", "refinement")
    return RmpConfig(
        up2_channels=up2,
        up3_channels=up3,
        up1_channels=taps.tap_channels(model.unet, 1) if 1 in settings.taps else 0,
        up4_channels=taps.tap_channels(model.unet, 4) if 4 in settings.taps else 0,
        feature_channels=features,
        **{name: getattr(settings, name) for name in names},
    )


def train(folder: Path, product: Product, settings: MaskSettings) -> None:
    """Train the mask branch of a run on the run's own split and add it to the run folder, after the small decoder it may ask for.

    Raises:
        DataError: the run is not tuned, its images are not in this data set, or they are fewer than a batch.
        OutputError: a training with another decoder was interrupted here.
    """
    frozen = run_folder.load(folder, own_decoder=True)
    images = images_of(frozen, product, settings)
    if settings.decoder == "small":
        decoder.train(frozen, images, settings)
    else:
        decoder.require_not_begun(folder, decoder.STAGE)
    begun = begin(frozen, images, settings)
    loop.run(begun.stage)
    if not begun.stage.machine.main:
        return
    frozen, known = begun.frozen, dict[str, Calibration]()
    if settings.calibrate != "off":
        known = calibrate(dataclasses.replace(frozen, rmp=begun.rmp), images[0], settings.calibrate)
    run_folder.save_masks(folder, frozen.facts.model_copy(update={"calibration": known}), begun.rmp)
    kept.clear(folder)


@dataclass(frozen=True)
class Begun:
    """A training before its first step: the branch that learns, and the frozen model."""

    rmp: RefinedMaskPredictor
    frozen: Run
    stage: loop.Stage[Drawn]


def images_of(frozen: Run, product: Product, settings: MaskSettings) -> tuple[ImageSet, ImageSet]:
    """The run's training anomalies and normal images, fitted as they were then.

    Raises:
        DataError: as `train`.
    """
    side, facts = frozen.model.image_size, frozen.facts
    anomalies, normals = (find_records(names, product) for names in (facts.train, facts.normals))
    layouts.require_batch(anomalies, settings.anomaly_batch, "anomaly")
    layouts.require_batch(normals, settings.normal_batch, "normal")
    pictures = fitting.pictures(normals, facts.fit, side, facts.tune.normals, facts.tune.seed)
    return ImageSet(fitting.fitted(anomalies, facts.fit, side), side), ImageSet(pictures, side)


def begin(frozen: Run, images: tuple[ImageSet, ImageSet], settings: MaskSettings) -> Begun:
    """Prepare what `train` does with `images_of` a run, and write nothing."""
    machine = compute.machine(settings)
    frozen = dataclasses.replace(frozen, facts=frozen.facts.model_copy(update={"masks": settings}))
    task = {
        "stage": "masks",
        "settings": settings.model_dump(mode="json"),
        "weights": components.fingerprint(*frozen.model.networks.values()),
    }
    torch.manual_seed(settings.seed)
    rmp = RefinedMaskPredictor(config_for(frozen, settings)).to(machine.device)
    if settings.gradient_checkpointing:
        rmp.enable_gradient_checkpointing()
    for network in frozen.model.networks.values():
        network.to(machine.device)
    return Begun(rmp, frozen, _stage(rmp, frozen, images, task, settings, machine))


def _stage(
    rmp: RefinedMaskPredictor,
    frozen: Run,
    images: tuple[ImageSet, ImageSet],
    task: dict[str, Any],
    settings: MaskSettings,
    machine: compute.Machine,
) -> loop.Stage[Drawn]:
    """What `train` runs."""
    model, counts = frozen.model, (settings.anomaly_batch, settings.normal_batch)
    encode = Encoder(model.vae, settings.cache_latents)
    own = reference.last_timesteps(frozen)

    def batch_of(index: int) -> Drawn:
        generator = step_generator(settings.seed, index)
        batch = sample_batch(*images, counts, settings.augment, generator, machine.rank, machine.processes)
        drawn = batches.draws(batch, model.latent_shape, len(own) or settings.max_timestep, generator)
        return batch, dataclasses.replace(drawn, timesteps=own[drawn.timesteps]) if len(own) else drawn

    def picture(drawn: Drawn) -> Image.Image:
        return _predicted(rmp, frozen, *drawn, settings)

    return loop.Stage(
        frozen.folder,
        task,
        settings.steps or settings.steps_per_type * len(frozen.facts.defects),
        {"rmp": rmp},
        compute.optimizer([{"params": list(rmp.parameters()), "lr": settings.lr}], settings),
        batch_of,
        lambda drawn: losses(rmp, frozen, *drawn, settings, encode),
        settings,
        accumulation=settings.accumulation,
        machine=machine,
        describe=batches.named,
        watch=tensorboard.watcher(frozen.folder, "masks", settings, machine, picture),
        watch_every=settings.watch_every,
    )


@torch.no_grad()
def _predicted(rmp: RefinedMaskPredictor, frozen: Run, batch: Batch, drawn: Draws, settings: MaskSettings) -> Image.Image:
    """A batch's anomaly images, their masks and what the branch makes of them."""
    a = len(batch.defects)
    seen = features(frozen, batch, drawn, settings)
    more = [x[:a] for x in seen.more]
    return tensorboard.mask_sheet(batch.images[:a], batch.masks, rmp(seen.up2[:a], seen.up3[:a], *seen.features, more=more))


def find_records(names: tuple[str, ...], product: Product) -> list[Record]:
    """The images of a data set that a run names.

    Raises:
        DataError: one is not in it.
    """
    records = {r.image.relative_to(product.root).as_posix(): r for r in (*product.anomalies, *product.normals)}
    missing = [name for name in names if name not in records]
    if missing:
        raise DataError(f"{product.root}: has no {missing[0]}, which the run was tuned on; give the run's own data set")
    return [records[name] for name in names]
