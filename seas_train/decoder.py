"""Distillation of the small decoder: it learns to draw what the autoencoder's own decoder draws, from latents of the product.

Half of a batch are latents of the run's photographs, anomalies among them, and half latents that the run generates, which is what
it will be given. The target is a function of the latent and not a photograph, so a mean of absolute errors blurs nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.vae import Decoder
from safetensors import SafetensorError
from torch import Tensor

from seas_runtime import voice
from seas_runtime.errors import OutputError
from seas_train import reference, samples
from seas_train.config import MaskSettings
from seas_train.data.dataset import ImageSet, draw, step_generator
from seas_train.losses import at_least_single, reconstruction
from seas_train.models import components, small_decoder, taps
from seas_train.models.small_decoder import DecoderConfig
from seas_train.output import writing
from seas_train.run_folder import Run
from seas_train.training import compute, kept, loop
from seas_train.training.batches import draws, sample_batch
from seas_train.training.compute import Encoder, Machine

STAGE = "masks-decoder"
SEED = 40_000
"""Added to the settings' seed: what is generated here is nobody's pairs."""
MADE_OF = (
    *("decoder_channels", "decoder_steps", "decoder_latents", "decoder_lr"),
    *("seed", "anomaly_batch", "normal_batch", "accumulation", "weight_decay", "augment"),
)
"""Settings that it depends on."""
HELD = 16
"""Generated latents that it does not learn from, and is measured on."""
TOGETHER = 8
ANOMALY_WEIGHT, EDGES = 4.0, 1.0
"""As an anomaly's pixels and the differences of neighbours weigh in the small bases' autoencoder."""


Seen = tuple[Tensor, Tensor]
"""Scaled latents (n, C, h, w), and masks (n, 1, H, W), 1 on anomalies where they are known."""


def train(run: Run, images: tuple[ImageSet, ImageSet], settings: MaskSettings) -> None:
    """Put a small decoder in the place of the run's own, trained now and kept in its folder, or read where that is done.

    Args:
        run: tuned, with the autoencoder's own decoder.
        images: its anomalies and its normal images.
        settings: of the mask branch, which is to read the small decoder's features.

    Raises:
        TrainError, DataError: as `loop.run`.
        OutputError: as that, or the mask branch was begun with another decoder.
    """
    machine, config = compute.machine(settings), config_for(run, settings)
    for network in run.model.networks.values():
        network.to(machine.device)
    decoder = _known(run, config)
    if decoder is None:
        require_not_begun(run.folder, "masks")
        generated = latents_of(run, settings.decoder_latents + HELD, SEED + settings.seed)
        decoder, stage = begin(run, images, generated[:-HELD], settings, machine)
        loop.run(stage)
        components.freeze(decoder)
        found = psnr(run, decoder, generated[-HELD:])
        if machine.main:
            with writing(run.folder):
                small_decoder.keep(run.folder, config.model_copy(update={"psnr": found}), decoder)
            kept.clear(run.folder)
        machine.wait()
        voice.note(f"small decoder: {found:.1f} dB from the own one on {HELD} generated pictures that it had not seen")
    small_decoder.attach(run.model.vae, decoder)


def require_not_begun(folder: Path, stage: str) -> None:
    """Refuse to begin one stage of a run's tail where the other was interrupted with other settings: its steps would be lost.

    Raises:
        OutputError: there is a checkpoint of `stage`.
    """
    if kept.stage_of(folder) == stage:
        raise OutputError(
            f"{kept.newest(folder)} is of a training with another decoder; give the same settings to continue, or remove "
            "that folder to begin anew"
        )


def config_for(run: Run, settings: MaskSettings) -> DecoderConfig:
    """Sizes of the small decoder of a run, and what it is made from."""
    made_of = hashlib.sha256(json.dumps(_task(run, settings)).encode()).hexdigest()[:16]
    return small_decoder.config_for(run.model.vae, settings.decoder_channels).model_copy(update={"made_of": made_of})


def _task(run: Run, settings: MaskSettings) -> dict[str, Any]:
    """What its training is, so that no other one is continued."""
    asked = settings.model_dump(mode="json", include=set(MADE_OF))
    return {"stage": STAGE, "settings": asked, "weights": components.fingerprint(*run.model.networks.values())}


def _known(run: Run, config: DecoderConfig) -> Decoder | None:
    """The small decoder that lies in the run's folder, if it is the one that is meant."""
    with suppress(OSError, ValueError, RuntimeError, SafetensorError):
        if small_decoder.read_config(run.folder).made_of == config.made_of:
            return small_decoder.load(run.folder)
    return None


def latents_of(run: Run, count: int, seed: int) -> Tensor:
    """Final latents (n, C, h, w) as the run's sampler makes them, defect types in turn."""
    settings, parts = reference.usual(run), []
    with voice.progress(count, "generating", "latent") as bar:
        for first in range(0, count, TOGETHER):
            indices = range(first, min(first + TOGETHER, count))
            parts.append(samples.final_latents(run, run.facts.defects, indices, seed, settings))
            bar.update(len(indices))
    return torch.cat(parts)


def losses(run: Run, decoder: Decoder, seen: Seen) -> loop.Losses:
    """How far its pictures are from the own decoder's: mean absolute errors of pixels and of neighbours' differences."""
    latents, masks = seen
    decoded = small_decoder.decode(decoder, run.model.vae, latents)
    l1, loss = reconstruction(at_least_single(decoded), own(run, latents), masks, ANOMALY_WEIGHT, EDGES)
    return {"loss": loss, "l1": l1}


@torch.no_grad()
def own(run: Run, latents: Tensor) -> Tensor:
    """The own decoder's pictures (n, 3, H, W) of scaled latents, in fp32, one at a time: large ones need much memory."""
    with torch.autocast(latents.device.type, enabled=False):
        return torch.cat([taps.decode(run.model.vae, latent[None]) for latent in latents])


@torch.no_grad()
def psnr(run: Run, decoder: Decoder, latents: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of its pictures against the own decoder's, clipped to [-1, 1], all pixels together."""
    errors = [_error(run, decoder, latent[None].to(run.model.vae.device)) for latent in latents]
    return round(10 * math.log10(4 / max(sum(errors) / len(errors), 1e-12)), 2)


def _error(run: Run, decoder: Decoder, latent: Tensor) -> float:
    mine = small_decoder.decode(decoder, run.model.vae, latent).clamp(-1, 1)
    return float(((mine - own(run, latent).clamp(-1, 1)) ** 2).mean())


def begin(
    run: Run, images: tuple[ImageSet, ImageSet], generated: Tensor, settings: MaskSettings, machine: Machine
) -> tuple[Decoder, loop.Stage[Seen]]:
    """A decoder with random weights and its training; of a batch as many latents are generated ones as are of images.

    Args:
        run: with its own decoder.
        images: anomalies and normal images.
        generated: (m, C, h, w).
        settings: see `train`.
        machine: what computes.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        decoder = small_decoder.build(small_decoder.config_for(run.model.vae, settings.decoder_channels)).to(machine.device)
    encode, counts = Encoder(run.model.vae, settings.cache_latents), (settings.anomaly_batch, settings.normal_batch)
    side = run.model.image_size

    def batch_of(index: int) -> Seen:
        generator = step_generator(settings.seed + 1, index)
        batch = sample_batch(*images, counts, settings.augment, generator, machine.rank, machine.processes)
        drawn = draws(batch, run.model.latent_shape, 1, generator).to(machine.device)
        mean, std = encode(batch.images, batch.views)
        rows = range(len(mean)) if batch.rows is None else batch.rows
        chosen = draw(len(generated), batch.whole or len(mean), generator)
        others = generated[[chosen[row] for row in rows]].to(machine.device)
        masks = torch.zeros(2 * len(mean), 1, side, side)
        masks[: len(batch.masks)] = batch.masks
        return torch.cat([mean + std * drawn.posterior, others]), masks.to(machine.device)

    stage = loop.Stage(
        run.folder,
        _task(run, settings),
        settings.decoder_steps,
        {"decoder": decoder},
        compute.optimizer([{"params": list(decoder.parameters()), "lr": settings.decoder_lr}], settings),
        batch_of,
        lambda seen: losses(run, decoder, seen),
        settings,
        lr=lambda step: loop.cosine(step, settings.decoder_steps),
        accumulation=settings.accumulation,
        machine=machine,
    )
    return decoder, stage
