"""A small base model from scratch and offline: the autoencoder, U-Net and text encoder on its latents, a sharper decoder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it
from transformers import CLIPTokenizer

from seas_runtime import voice
from seas_runtime.dataset.importers.hint import hint
from seas_runtime.errors import DataError
from seas_runtime.files import write_atomic
from seas_runtime.staging import sweep
from seas_train.base import codec, decoder_gan, text_encoder, unet, vae
from seas_train.base.settings import BaseSettings
from seas_train.data import fitting, layouts
from seas_train.data.dataset import ImageSet, step_generator, view
from seas_train.data.kinds import EXTENSIONS
from seas_train.models import components
from seas_train.models.components import Components
from seas_train.prompts import spoken
from seas_train.training.kept import clear

EMPTY_PROMPT = ""
MEASURED = 256
"""Images at most, evenly chosen, whose latents the autoencoder's scaling factor is measured on."""
MARKS = "marks"


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
        commands = [f"; annotated pictures can be imported: {command}" for folder in folders if (command := hint(folder))]
        raise DataError(
            f"{', '.join(map(str, folders))}: found {len(records)} images and no anomaly, expected anomalies of a product, as "
            f"--defects asks for; give a product's folder, or add --no-defects{''.join(commands)}"
        )
    return records, captions


def fitted(
    records: Sequence[layouts.Record], captions: Sequence[Caption], settings: BaseSettings, side: int
) -> tuple[list[layouts.Record], list[Caption]]:
    """Records with the parts of their photographs that are learned from, each with the caption of its photograph.

    Of many tiles without an anomaly some are taken, so that all fit into the memory.
    """
    said = {record.image: caption for record, caption in zip(records, captions, strict=True)}
    pictures = fitting.fitted(records, settings.fit, side)
    normals = [picture for picture in pictures if picture.defect is None]
    if len(normals) > fitting.MOST_TILES:
        kept = set(fitting.take(normals, fitting.MOST_TILES, settings.seed))
        pictures = tuple(picture for picture in pictures if picture.defect is not None or picture in kept)
    return list(pictures), [said[picture.image] for picture in pictures]


def train(
    folders: Sequence[Path], out: Path, settings: BaseSettings, provenance: dict[str, object], keep_every: int = 0
) -> Components:
    """Train a base model and write it to `out` in diffusers' layout, with `base.json` beside it.

    A killed run continues at its last checkpoint when called again with the same arguments.

    Args:
        folders: products in a known layout, or plain folders of images.
        out: the base model's folder.
        settings: see `BaseSettings`.
        provenance: kept in `base.json` (data set names, licence).
        keep_every: steps after which what the U-Net's training would leave is kept, in `out`/marks/STEP; 0 for never.
    """
    records, captions = collect(folders, settings.defects)
    geometry = components.GEOMETRIES[settings.geometry]
    records, captions = fitted(records, captions, settings, geometry.image_size)
    images = ImageSet(records, geometry.image_size)  # before anything is written: a bad file leaves no folder
    sweep(out)  # of a run that was killed where it replaced a part
    torch.manual_seed(settings.seed)
    texts = sorted({c.text(p, d) for c in captions for p in (False, True) for d in (False, True)})
    kept = out / "tokenizer"
    tokenizer = CLIPTokenizer.from_pretrained(kept) if kept.is_dir() else None
    model = components.build(geometry, texts, tokenizer, settings.prediction)
    if not kept.is_dir():  # another version of the library may learn other merges: a continued run needs its own
        components.keep(model.tokenizer, kept)
    _train_vae(model.vae, images, out, settings)
    _train_unet(model, images, captions, out, settings, keep_every)
    if settings.sharpen_steps:
        decoder_gan.train(model.vae, images, out, settings)
        components.keep(model.vae, out / "vae")
    components.keep(model.scheduler, out / "scheduler")
    facts = {"settings": settings.model_dump(), "images": len(records), "provenance": provenance}
    write_atomic(out / "base.json", json.dumps(facts, indent=2) + "\n")
    clear(out)
    return model


def _train_vae(network: AutoencoderKL, images: ImageSet, out: Path, settings: BaseSettings) -> None:
    """Train the autoencoder and measure its scaling factor, or read it where that is done."""
    folder = out / "vae"
    if folder.is_dir():
        network.load_state_dict(AutoencoderKL.from_pretrained(folder, use_safetensors=True).state_dict())
        network.register_to_config(scaling_factor=AutoencoderKL.load_config(folder)["scaling_factor"])
        return components.freeze(network)
    if settings.vae_start == "drawn" or (settings.vae_start == "auto" and settings.geometry == "demo"):
        codec.load(network)
    vae.train(network, images, out, settings)
    components.freeze(network)
    mean, std = _encode(network, images, range(0, len(images), -(-len(images) // MEASURED)), 0)
    spread = float((mean + std * torch.randn(mean.shape, generator=step_generator(settings.seed, 0))).std())
    network.register_to_config(scaling_factor=1 / spread)
    return components.keep(network, folder)


def _encode(network: AutoencoderKL, images: ImageSet, chosen: Sequence[int], symmetry: int) -> tuple[Tensor, Tensor]:
    """Scaled latent mean and spread of chosen images, seen through one symmetry of the square."""
    pairs = []
    with voice.progress(len(chosen), "encoding", "image") as bar:
        for start in range(0, len(chosen), 16):
            batch = [view(images[i][0], symmetry) for i in chosen[start : start + 16]]
            pairs.append(components.encode_moments(network, torch.stack(batch)))
            bar.update(len(batch))
    return torch.cat([mean for mean, _ in pairs]), torch.cat([std for _, std in pairs])


def _train_unet(
    model: Components, images: ImageSet, captions: list[Caption], out: Path, settings: BaseSettings, keep_every: int
) -> None:
    """Train text encoder and U-Net, or read what is done."""
    for network, name in ((model.text_encoder, "text_encoder"), (model.unet, "unet")):
        if (out / name).is_dir():
            network.load_state_dict(type(network).from_pretrained(out / name, use_safetensors=True).state_dict())
            components.freeze(network)
    if (out / "unet").is_dir():
        return

    def worded(i: int, chance: list[float]) -> str:
        return captions[i].text(chance[0] < settings.generic, chance[1] < settings.generic)

    def caption(i: int, chance: list[float]) -> str:
        return EMPTY_PROMPT if chance[0] < settings.prompt_dropout else worded(i, chance[1:])

    seen = _look(model.vae, images, settings.symmetries)
    if settings.align_steps and not (out / "text_encoder").is_dir():
        text_encoder.train(model, seen.mean[0], lambda i, chance: worded(i, chance[1:]), out, settings)
        components.freeze(model.text_encoder)  # noise would soon draw its captions together again
        components.keep(model.text_encoder, out / "text_encoder")
    parts = ("unet",) if settings.align_steps else ("text_encoder", "unet")

    def mark(done: int, networks: dict[str, nn.Module]) -> None:
        if keep_every and done % keep_every == 0:
            for name in parts:
                components.keep(networks[name], out / MARKS / str(done) / name)

    unet.train(model, parts, seen, caption, mark, out, settings)
    for name in parts:  # the U-Net is the last one: where it is whole, all are
        components.keep(model.networks[name], out / name)


def _look(network: AutoencoderKL, images: ImageSet, symmetries: int) -> unet.Looked:
    """Latents and masks of all images, seen through so many symmetries of the square."""
    moments = [_encode(network, images, range(len(images)), symmetry) for symmetry in range(symmetries)]
    mean, std = (torch.stack(views) for views in zip(*moments, strict=True))
    marked = torch.stack([F.adaptive_max_pool2d(images[i][1], mean.shape[-1]) for i in range(len(images))])
    masks = torch.stack([view(marked, symmetry) for symmetry in range(symmetries)])
    return unet.Looked(mean, std, masks)
