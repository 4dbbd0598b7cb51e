"""A checkpoint of the published SeaS implementation -> a `Run` in memory, as if it had been trained here.

    FOLDER/generation-checkpoint/    a diffusers folder; its tokenizer knows ob1 and sks1, sks2, ...
    FOLDER/mask-checkpoint/rmp       a pickled state dict, see `published_rmp`

What a bundle needs beside it comes from the data set that the checkpoint was trained on (names of the defect types,
normal images, images to calibrate the mask branch with), hence `seas_train.data`, and from the base model (the VAE).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from diffusers import DDPMScheduler
from torch import Tensor
from transformers import CLIPTokenizer

from seas_export.published import mask_branch
from seas_runtime.errors import DataError, SettingsError
from seas_train import reference
from seas_train.config import MaskSettings, TuneSettings, resolve
from seas_train.data import layouts
from seas_train.data.dataset import load_image
from seas_train.data.layouts import Product, Record
from seas_train.models import components, taps
from seas_train.models.components import Components
from seas_train.models.origin import Origin
from seas_train.models.rmp import RmpConfig
from seas_train.prompts import Prompts
from seas_train.run_folder import Facts, Run

GENERATION, MASK = "generation-checkpoint", "mask-checkpoint"
PRODUCT_TOKEN = "ob1"  # noqa: S105 - a word of a prompt
TOKENS_PER_TYPE = 4
START_STEPS = 1500
CALIBRATION_IMAGES = 10
NOT_STATED = "not stated"
SETTINGS = resolve(TuneSettings, "published", None, {})


def is_published(folder: Path) -> bool:
    """Whether this is a checkpoint of the published implementation, complete or not.

    Args:
        folder: the folder of both parts, or either part itself.
    """
    root = _root(folder)
    return (root / GENERATION).is_dir() or (root / MASK).is_dir()


def load(
    folder: Path,
    base: str | None,
    data: Path | None,
    licence: str,
    progress: Callable[[str], None],
    revision: str | None = None,
) -> Run:
    """Read a published checkpoint.

    Takes minutes at 512 x 512 pixels on a CPU: up to 60 normal images are encoded, and the mask branch's norms calibrated.

    Args:
        folder: as `is_published`.
        base: the base model whose VAE it was trained with, a diffusers folder or a hub name; not needed where
            the checkpoint has a VAE of its own.
        data: the product's data set; type k of the sorted defect types owns the tokens sks{4k+1} to sks{4k+4}.
        licence: of the data set, kept in the bundle.
        progress: called with the name of each stage.
        revision: branch, tag or commit of a base on a hub.

    Raises:
        SettingsError: `base` or `data` is needed.
        DataError: a part is missing, cannot be read, or does not fit the others.
    """
    root = _root(folder)
    if data is None:
        raise SettingsError(f"{root}: is a published checkpoint; give the data set it was trained on with --data")
    product = layouts.read(data)
    model = _load_model(root, base, revision)
    prompts = _prompts(model.tokenizer, product.defects, root)
    branch = mask_branch.load(root / MASK / "rmp")
    _check_fit(model, branch.rmp.config, root)
    progress("normal images")
    normals = layouts.pick_normals(product, SETTINGS.normals)
    images = (load_image(record.image, model.image_size) for record in normals)
    mean, std = components.encode_each(model.vae, images)
    facts = _facts(product, normals, model, prompts, branch.rmp.config, _provenance(root, base, product, licence, revision))
    run = Run(root, facts, model, mean, std)
    progress("mask norms")
    run.rmp = mask_branch.fold(branch, *calibration_batch(run, product))
    return run


@torch.no_grad()
def calibration_batch(run: Run, product: Product) -> tuple[Tensor, Tensor, list[list[Tensor]]]:
    """What the mask branch meets at the last three solver steps, for ten pairs: `published_rmp.fold`'s inputs.

    The published statistics were those of ten pairs of one type at one step. Here ten anomaly images of the data set,
    the types in turn, stand for generated ones: noised to the levels of the last three of 25 steps (four images, three
    and three) instead of being sampled, which at 512 x 512 on a CPU would take an hour. As in generation the U-Net is
    given the type's prompt and the VAE decoder the latent that enters the step. The seed is fixed.
    """
    model, count = run.model, CALIBRATION_IMAGES
    generator = torch.Generator().manual_seed(0)
    records = _in_turn(product, count)
    images = (load_image(record.image, model.image_size) for record in records)
    mean, std = components.encode_each(model.vae, images)
    posterior, noise = torch.randn(2, *mean.shape, generator=generator)
    last = reference.solver(run, reference.SampleSettings()).timesteps[-3:]
    timesteps = torch.stack([last[i * 3 // count] for i in range(count)])
    latents = model.scheduler.add_noise(mean + std * posterior, noise, timesteps)
    prompt = run.embed([run.facts.prompts.anomaly[str(record.defect)] for record in records])
    up2, up3 = [], []
    features: list[list[Tensor]] = [[], [], []]
    with taps.decoder_taps(model.unet) as tap:
        for i in range(count):
            one = slice(i, i + 1)
            model.unet(latents[one], timesteps[one], prompt[one])
            up2.append(tap.up2)
            up3.append(tap.up3)
            for kept, feature in zip(features, taps.decode_features(model.vae, latents[one]), strict=True):
                kept.append(feature)
    return torch.cat(up2), torch.cat(up3), features


def _root(folder: Path) -> Path:
    """The folder of both parts, wherever in it the user points."""
    folder = folder.absolute()
    if folder.name == "rmp" and folder.parent.name == MASK:
        folder = folder.parent
    return folder.parent if folder.name in (GENERATION, MASK) else folder


def _load_model(root: Path, base: str | None, revision: str | None) -> Components:
    generation = root / GENERATION
    for part in components.PARTS:
        if part != "vae" and not (generation / part).is_dir():
            raise DataError(f"{generation}: found no {part}/ folder; copy the whole checkpoint again")
    own = (generation / "vae").is_dir()
    if not own and base is None:
        raise SettingsError(f"{generation}: has no vae/; name the base model that it was trained from with --base")
    model = components.load(generation, vae=None if own or base is None else Origin(base, revision=revision))
    components.freeze(*model.networks.values())
    return model


def _prompts(tokenizer: CLIPTokenizer, defects: Sequence[str], root: Path) -> Prompts:
    """The published prompts, without commas.

    Raises:
        DataError: the tokenizer lacks a token, or has tokens for another number of types.
    """
    known = tokenizer.get_added_vocab()
    count = sum(re.fullmatch(r"sks\d+", token) is not None for token in known)
    if count != TOKENS_PER_TYPE * len(defects):
        raise DataError(
            f"{root / GENERATION}: its tokenizer has {count} anomaly tokens, expected {TOKENS_PER_TYPE} for each of the "
            f"defect types {', '.join(defects)}; give the data set that it was trained on"
        )
    tokens = {
        defect: tuple(f"sks{TOKENS_PER_TYPE * k + i}" for i in range(1, TOKENS_PER_TYPE + 1)) for k, defect in enumerate(defects)
    }
    for token in (PRODUCT_TOKEN, *(token for owned in tokens.values() for token in owned)):
        if token not in known:
            raise DataError(f"{root / GENERATION}: its tokenizer has no token {token}; copy the whole checkpoint again")
    return Prompts(
        normal=SETTINGS.normal_prompt.format(ob=PRODUCT_TOKEN),
        anomaly={
            defect: SETTINGS.prompt.format(ob=PRODUCT_TOKEN, df=SETTINGS.df_separator.join(owned))
            for defect, owned in tokens.items()
        },
        product_tokens=(PRODUCT_TOKEN,),
        anomaly_tokens=tokens,
    )


def _check_fit(model: Components, config: RmpConfig, root: Path) -> None:
    rows = model.text_encoder.get_input_embeddings().num_embeddings
    if rows < len(model.tokenizer):
        raise DataError(
            f"{root / GENERATION}: the text encoder has {rows} token rows, the tokenizer {len(model.tokenizer)} tokens; "
            "copy both from one checkpoint"
        )
    width, prompt = model.text_encoder.config.hidden_size, model.unet.config.cross_attention_dim
    if width != prompt:
        raise DataError(
            f"{root / GENERATION}: the text encoder is {width} wide, the U-Net expects {prompt}; copy both from one checkpoint"
        )
    latent, sample = model.vae.config.latent_channels, model.unet.config.in_channels
    if latent != sample:
        raise DataError(f"{root / GENERATION}: the VAE has {latent} latent channels, the U-Net {sample}; give its own base model")
    expected = taps.channels(model.unet, model.vae)
    found = (config.up2_channels, config.up3_channels, config.feature_channels)
    if found != expected:
        raise DataError(
            f"{root / MASK / 'rmp'}: made for taps and VAE features of {found} channels, these networks have {expected}; "
            "give the mask branch and the base model that belong to this checkpoint"
        )


def _start(model: Components) -> tuple[float, float]:
    """Signal and noise of the start latent: the end of a 1500-step schedule with the betas of training.

    The published code noised latents that were not scaled; ours are.
    """
    noise = model.scheduler.config
    longer = DDPMScheduler(START_STEPS, noise.beta_start, noise.beta_end, noise.beta_schedule)
    level = float(longer.alphas_cumprod[-1])
    return level**0.5 / model.vae.config.scaling_factor, (1 - level) ** 0.5


def _provenance(root: Path, base: str | None, product: Product, licence: str, revision: str | None) -> dict[str, object]:
    return {
        "data": f"{product.name} ({product.layout})",
        "licence": licence,
        "base": NOT_STATED if base is None else Origin(base).name,
        "base_licence": NOT_STATED,
        **({} if revision is None else {"base_revision": revision}),
        "implementation": "published",
        "checkpoint": root.name,
        "assumed": "settings of the preset published; trained on the first third of each type's images in file order",
        "mask_norms": f"batch norms with the statistics of {CALIBRATION_IMAGES} noised anomaly images, folded",
    }


def _facts(
    product: Product,
    normals: Sequence[Record],
    model: Components,
    prompts: Prompts,
    config: RmpConfig,
    provenance: dict[str, object],
) -> Facts:
    signal, noise = _start(model)
    sizes = ("up2_width", "up3_width", "layers", "heads", "groups", "fuse")
    split = layouts.split(product, order="first")
    return Facts(
        product=product.name,
        prompts=prompts,
        tune=SETTINGS.model_copy(update={"signal": signal, "noise": noise}),
        masks=MaskSettings(**{name: getattr(config, name) for name in sizes}),
        provenance=provenance,
        train=_names(split.train, product),
        held_out=_names(split.held_out, product),
        normals=_names(normals, product),
    )


def _names(records: Sequence[Record], product: Product) -> tuple[str, ...]:
    return tuple(record.image.relative_to(product.root).as_posix() for record in records)


def _in_turn(product: Product, count: int) -> list[Record]:
    """`count` anomaly images, the types in turn, each type's in file order and again from its first."""
    by_type = [[r for r in product.anomalies if r.defect == defect] for defect in product.defects]
    rounds = [by_type[i % len(by_type)] for i in range(count)]
    return [records[i // len(by_type) % len(records)] for i, records in enumerate(rounds)]
