"""`--estimate` of each training: its stages prepared as they are for training, one step of each timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import nn

from seas_train import decoder, masks, run_folder, tune
from seas_train.base import decoder_gan, text_encoder, unet, vae
from seas_train.base import train as base
from seas_train.base.settings import BaseSettings
from seas_train.config import MaskSettings, TuneSettings
from seas_train.data.dataset import ImageSet
from seas_train.data.layouts import Product
from seas_train.models import components, small_decoder
from seas_train.models.origin import Origin
from seas_train.run_folder import Run
from seas_train.training import compute
from seas_train.training.estimate import Estimate, measure, module_bytes, told

NOWHERE = Path("estimate")  # no stage writes before it runs


def of_tune(product: Product, source: str | Origin, settings: TuneSettings, say: Callable[[str], None]) -> Iterator[str]:
    """Lines on `seas-train tune`; arguments and errors are those of `tune.train`."""
    begun, found = _tuned(product, source, settings, say)
    yield from told([found], _run_bytes(begun))


def of_masks(run: Path, product: Product, settings: MaskSettings) -> Iterator[str]:
    """Lines on `seas-train masks`; arguments and errors are those of `masks.train`."""
    yield from told(*_masked(run_folder.load(run, own_decoder=True), product, settings))


def of_both(
    product: Product, source: str | Origin, settings: tuple[TuneSettings, MaskSettings], say: Callable[[str], None]
) -> Iterator[str]:
    """Lines on `tune` and on `masks` of its run; errors are those of both."""
    begun, first = _tuned(product, source, settings[0], say)
    model, none = begun.learner.model, torch.zeros(0)
    components.freeze(*model.networks.values())
    second, more = _masked(Run(NOWHERE, begun.facts, model, none, none), product, settings[1])
    yield from told([first, *second], _run_bytes(begun) + more)


def of_base(folders: Sequence[Path], settings: BaseSettings) -> Iterator[str]:
    """Lines on `seas-train base`; arguments and errors are those of `base.train`. Latents are of the right sizes alone."""
    records, captions = base.collect(folders, settings.defects)
    geometry = components.GEOMETRIES[settings.geometry]
    records, captions = base.fitted(records, captions, settings, geometry.image_size)
    images = ImageSet(records[: settings.vae_batch], geometry.image_size)
    model = components.build(geometry, sorted({caption.text() for caption in captions}))
    stages = [measure(vae.stage_of(model.vae, images, NOWHERE, settings))]
    components.freeze(model.vae)
    latents = torch.zeros(1, len(images), *model.latent_shape)
    if settings.align_steps:
        stage = text_encoder.stage_of(model, latents[0], lambda i, _chance: captions[i].text(), NOWHERE, settings)
        stages.append(measure(stage))
        components.freeze(model.text_encoder)
    seen = unet.Looked(latents, torch.ones_like(latents), latents[:, :, :1])
    parts = ("unet",) if settings.align_steps else ("text_encoder", "unet")
    stages.append(measure(unet.stage_of(model, parts, seen, lambda i, _chance: captions[i].text(), NOWHERE, settings)))
    if settings.sharpen_steps:
        stages.append(measure(decoder_gan.stage_of(model.vae, images, NOWHERE, settings)))
    yield from told(stages, module_bytes(model.networks.values()))


def _tuned(
    product: Product, source: str | Origin, settings: TuneSettings, say: Callable[[str], None]
) -> tuple[tune.Begun, Estimate]:
    begun = tune.begin(product, source, NOWHERE, settings.model_copy(update={"watch_every": 0}), {}, say=say)
    return begun, measure(begun.stage)


def _masked(frozen: Run, product: Product, settings: MaskSettings) -> tuple[list[Estimate], int]:
    settings = settings.model_copy(update={"watch_every": 0})
    images, stages, learned = masks.images_of(frozen, product, settings), list[Estimate](), list[nn.Module]()
    if settings.decoder == "small":
        blank = torch.zeros(1, *frozen.model.latent_shape)
        small, stage = decoder.begin(frozen, images, blank, settings, compute.machine(settings))
        stages.append(measure(stage))
        small_decoder.attach(frozen.model.vae, small)
        learned.append(small)
    begun = masks.begin(frozen, images, settings)
    return [*stages, measure(begun.stage)], module_bytes([*learned, begun.rmp])


def _run_bytes(begun: tune.Begun) -> int:
    """What a run folder holds: the networks, two moments of the latent of each normal image, and the image."""
    model, normals = begun.learner.model, len(begun.images[1])
    latents = 2 * 4 * int(torch.tensor(model.latent_shape).prod())
    return module_bytes(model.networks.values()) + normals * (latents + 3 * model.image_size**2)
