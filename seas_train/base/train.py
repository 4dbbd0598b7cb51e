"""A small base model from scratch and offline: the autoencoder, U-Net and text encoder on its latents, a sharper decoder."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it
from transformers import CLIPTextModel, CLIPTokenizer

from seas_runtime.errors import DataError
from seas_runtime.files import write_atomic
from seas_train.base import decoder_gan, text_encoder
from seas_train.base import vae as autoencoder
from seas_train.config import BaseSettings
from seas_train.data import layouts
from seas_train.data.dataset import ImageSet, draw, step_generator
from seas_train.data.images import EXTENSIONS
from seas_train.models import components
from seas_train.models.components import Components
from seas_train.prompts import spoken
from seas_train.training import checkpoint, loop

EMPTY_PROMPT = ""


@dataclass(frozen=True)
class Caption:
    """What an image shows: "a PRODUCT" or "a PRODUCT with DEFECT"."""

    product: str
    defect: str | None = None

    def text(self, generic_product: bool = False, generic_defect: bool = False) -> str:
        """The caption; a generic word stands for every product or defect, so that those words learn a meaning."""
        product = "object" if generic_product else self.product
        if self.defect is None:
            return f"a {product}"
        return f"a {product} with {'defect' if generic_defect else self.defect}"


def collect(folders: Sequence[Path], defects: bool) -> tuple[list[layouts.Record], list[Caption]]:
    """Find images and captions: products in a known layout by their structure, other folders by their own name.

    Raises:
        DataError: a folder is missing or holds no image, or there is no anomaly where there should be.
    """
    records: list[layouts.Record] = []
    captions: list[Caption] = []
    for folder in folders:
        if folder.is_dir() and any(layout.matches(folder) for layout in layouts.LAYOUTS.values()):
            product = layouts.read(folder)
            found = [*product.normals, *(product.anomalies if defects else ())]
        else:
            images = sorted(p for p in folder.rglob("*") if p.suffix.lower() in EXTENSIONS)
            if not images:
                raise DataError(f"{folder}: found no image; expected a folder with {', '.join(EXTENSIONS)} files")
            found = [layouts.Record(path) for path in images]
        records += found
        captions += [Caption(spoken(folder.name), spoken(r.defect) if r.defect else None) for r in found]
    if defects and not any(record.defect for record in records):
        raise DataError(
            f"{', '.join(map(str, folders))}: found {len(records)} images and no anomaly, expected anomalies of a product, as "
            "--defects asks for; give a product's folder, or add --no-defects"
        )
    return records, captions


def train(folders: Sequence[Path], out: Path, settings: BaseSettings, provenance: dict[str, object]) -> Components:
    """Train a base model and write it to `out` in diffusers' layout, with `base.json` beside it.

    A killed run continues at its last checkpoint when called again with the same arguments.

    Args:
        folders: products in a known layout, or plain folders of images.
        out: the base model's folder.
        settings: see `BaseSettings`.
        provenance: kept in `base.json` (data set names, licence).
    """
    records, captions = collect(folders, settings.defects)
    geometry = components.GEOMETRIES[settings.geometry]
    images = ImageSet(records, geometry.image_size)  # before anything is written: a bad file leaves no folder
    torch.manual_seed(settings.seed)
    texts = sorted({c.text(p, d) for c in captions for p in (False, True) for d in (False, True)})
    kept = out / "tokenizer"
    model = components.build(geometry, texts, CLIPTokenizer.from_pretrained(kept) if kept.is_dir() else None)
    if not kept.is_dir():  # another version of the library may learn other merges: a continued run needs its own
        partial = out / "tokenizer.partial"
        model.tokenizer.save_pretrained(partial)
        partial.rename(kept)
    _train_vae(model.vae, images, out, settings)
    _train_unet(model, images, captions, out, settings)
    if settings.sharpen_steps:
        decoder_gan.train(model.vae, images, out, settings)
    model.save(out)
    facts = {"settings": settings.model_dump(), "images": len(records), "provenance": provenance}
    write_atomic(out / "base.json", json.dumps(facts, indent=2) + "\n")
    checkpoint.clear(out)
    return model


def _train_vae(vae: AutoencoderKL, images: ImageSet, out: Path, settings: BaseSettings) -> None:
    """Train the autoencoder and measure its scaling factor, or read it where that is done."""
    folder = out / "vae"
    if folder.is_dir():
        vae.load_state_dict(AutoencoderKL.from_pretrained(folder).state_dict())
        vae.register_to_config(scaling_factor=AutoencoderKL.load_config(folder)["scaling_factor"])
        return components.freeze(vae)
    autoencoder.train(vae, images, out, settings)
    components.freeze(vae)
    mean, std = _encode(vae, images, 0)
    spread = float((mean + std * torch.randn(mean.shape, generator=step_generator(settings.seed, 0))).std())
    vae.register_to_config(scaling_factor=1 / spread)
    return _keep(vae, folder)


def _keep(network: AutoencoderKL | UNet2DConditionModel | CLIPTextModel, folder: Path) -> None:
    """Save a network that is trained; the folder is there once it is whole."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    network.save_pretrained(partial)
    partial.rename(folder)


def _view(image: Tensor, symmetry: int) -> Tensor:
    turned = torch.rot90(image, symmetry // 2, (-2, -1))
    return turned.flip(-1) if symmetry % 2 else turned


def _encode(vae: AutoencoderKL, images: ImageSet, symmetry: int) -> tuple[Tensor, Tensor]:
    """Scaled latent mean and spread of every image, seen through one symmetry of the square."""
    pairs = []
    for start in range(0, len(images), 16):
        batch = [_view(images[i][0], symmetry) for i in range(start, min(start + 16, len(images)))]
        pairs.append(components.encode_moments(vae, torch.stack(batch)))
    return torch.cat([mean for mean, _ in pairs]), torch.cat([std for _, std in pairs])


def noise_loss(predicted: Tensor, noise: Tensor, masks: Tensor, weight: float) -> Tensor:
    """Weighted mean of the squared error of the predicted noise; cells that an anomaly touches weigh 1 + `weight`, others 1.

    Args:
        predicted: (n, C, h, w).
        noise: same shape.
        masks: (n, 1, h, w) of 0 and 1.
        weight: 0 for the plain mean.
    """
    weights = 1 + weight * masks
    return ((predicted - noise) ** 2 * weights).mean() / weights.mean()


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


def _train_unet(model: Components, images: ImageSet, captions: list[Caption], out: Path, settings: BaseSettings) -> None:
    for network, name in ((model.text_encoder, "text_encoder"), (model.unet, "unet")):
        if (out / name).is_dir():
            network.load_state_dict(type(network).from_pretrained(out / name).state_dict())
            components.freeze(network)
    if (out / "unet").is_dir():
        return
    moments = [_encode(model.vae, images, symmetry) for symmetry in range(settings.symmetries)]
    mean, std = (torch.stack(views) for views in zip(*moments, strict=True))  # (symmetries, images, C, h, w)
    marked = torch.stack([F.adaptive_max_pool2d(images[i][1], mean.shape[-1]) for i in range(len(images))])
    masks = torch.stack([_view(marked, symmetry) for symmetry in range(settings.symmetries)])
    if settings.align_steps and not (out / "text_encoder").is_dir():
        text_encoder.train(model, mean[0], lambda i, chance: _caption(captions[i], [1.0, *chance[1:]], settings), settings)
        components.freeze(model.text_encoder)  # noise would soon draw its captions together again
        _keep(model.text_encoder, out / "text_encoder")
    parts = ("unet",) if settings.align_steps else ("text_encoder", "unet")
    live = nn.ModuleDict({name: model.networks[name] for name in parts})
    average = loop.average(live, settings.ema)
    often = timestep_weights(model.scheduler.alphas_cumprod, settings.max_noise_weight)
    optimizer = torch.optim.AdamW(live.parameters(), settings.lr, weight_decay=settings.weight_decay, fused=True)

    def losses_of(step: int) -> loop.Losses:
        generator = step_generator(settings.seed + 1, step)
        optimizer.param_groups[0]["lr"] = settings.lr * loop.cosine(step, settings.steps)
        chosen = draw(len(images), settings.batch, generator)
        views = draw(settings.symmetries, settings.batch, generator)
        noise, posterior = torch.randn(2, settings.batch, *mean.shape[2:], generator=generator)
        latents = mean[views, chosen] + std[views, chosen] * posterior
        timesteps = torch.multinomial(often, settings.batch, replacement=True, generator=generator)
        chance = torch.rand(settings.batch, 3, generator=generator).tolist()
        texts = [_caption(captions[i], c, settings) for i, c in zip(chosen, chance, strict=True)]
        ids = model.tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        prompt = model.text_encoder(ids).last_hidden_state
        noisy = model.scheduler.add_noise(latents, noise, timesteps)
        predicted = model.unet(noisy, timesteps, prompt).sample
        return {"loss": noise_loss(predicted, noise, masks[views, chosen], settings.anomaly_weight)}

    task = {"stage": "base-unet", "settings": settings.model_dump(mode="json"), "images": len(images)}
    stage = loop.Stage(
        out, task, settings.steps, {"live": live, "average": average}, optimizer, settings.checkpoint_every, settings.log_every
    )
    loop.run(stage, losses_of, after=lambda _: average.update_parameters(live))
    live.load_state_dict(copy.deepcopy(average.module.state_dict()))
    components.freeze(live)
    for name in parts:  # the U-Net is the last one: where it is whole, all are
        _keep(model.networks[name], out / name)


def _caption(caption: Caption, chance: list[float], settings: BaseSettings) -> str:
    if chance[0] < settings.prompt_dropout:
        return EMPTY_PROMPT
    return caption.text(chance[1] < settings.generic, chance[2] < settings.generic)
