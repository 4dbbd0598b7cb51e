"""A base model as it lies on a disk or a hub: which parts it has, what their configs say, whether it can be trained."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from safetensors import SafetensorError
from transformers import CLIPTextConfig, CLIPTokenizer

from seas_runtime.errors import DataError

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
WORKS = "a text-to-image model of Stable Diffusion 1.x, such as CompVis/stable-diffusion-v1-4, or one of `seas-train base`"


@dataclass(frozen=True)
class Inspected:
    """What the method takes for granted, as a model's configs state it.

    channels of the U-Net, in and out, and of the latents; prediction, what the U-Net gives; tokens of the tokenizer; rows of
    the text encoder's table.
    """

    channels: tuple[int, int]
    latent_channels: int
    prediction: str
    tokens: int
    rows: int


def inspect(source: str | Path, vae: str | Path | None = None, added: int | None = 0) -> Inspected:
    """Read a model's configs, before any weights, and refuse what would train wrongly or not at all.

    Args:
        source: a local folder, or a hub name.
        vae: the model whose autoencoder is taken; None, the same.
        added: tokens that the tokenizer has beyond the text encoder's table, as a run has; None, not compared.

    Raises:
        DataError: a part is missing or cannot be read, or the model is none that can be trained.
    """
    require_parts(source, vae)
    unet = _config(UNet2DConditionModel, source, "unet")
    autoencoder = _config(AutoencoderKL, source if vae is None else vae, "vae")
    scheduler = _config(DDPMScheduler, source, "scheduler")
    found = Inspected(
        channels=(unet.get("in_channels", 4), unet.get("out_channels", 4)),
        latent_channels=autoencoder.get("latent_channels", 4),
        prediction=scheduler.get("prediction_type", "epsilon"),
        tokens=len(read(CLIPTokenizer.from_pretrained, source, "tokenizer")),
        rows=read(CLIPTextConfig.from_pretrained, source, "text_encoder").vocab_size,
    )
    if wrong := _wrong(source, found, added):
        raise DataError(f"{source}: {wrong}")
    return found


def _wrong(source: str | Path, found: Inspected, added: int | None) -> str | None:
    """Found, expected, and what to do; None where nothing is wrong."""
    latents = found.latent_channels
    if found.channels != (latents, latents):
        kind = " (an inpainting model)" if found.channels[0] == 2 * latents + 1 else ""
        return (
            f"the VAE has {latents} latent channels, the U-Net {found.channels[0]} in and {found.channels[1]} out{kind}, expected "
            f"one number; give {WORKS}"
        )
    if found.prediction != "epsilon":
        return f"found prediction_type {found.prediction!r}, expected 'epsilon', a U-Net that predicts the noise; give {WORKS}"
    if added is None or found.tokens == found.rows + added:
        return None
    if (Path(source) / "run.json").is_file() and not added:
        return "found a run of `seas-train tune`, whose tokenizer has tokens of its own, expected a base; give the run's own base"
    return (
        f"found a tokenizer of {found.tokens} tokens over a text encoder of {found.rows}, expected {found.rows + added} tokens; "
        f"give the model that these tokens were added to, or {WORKS}"
    )


def require_parts(source: str | Path, vae: str | Path | None = None) -> None:
    """Refuse a folder that lacks a part, the autoencoder in `vae` where that is given; a hub name is asked later.

    Raises:
        DataError: no such folder, or a part is not in it.
    """
    _require(source, PARTS if vae is None else [part for part in PARTS if part != "vae"])
    if vae is not None:
        _require(vae, ["vae"])


def _require(source: str | Path, parts: Sequence[str]) -> None:
    folder = Path(source)
    if folder.is_dir():
        missing = [part for part in parts if not (folder / part).is_dir()]
        if missing:
            raise DataError(
                f"{folder}: found no {missing[0]}/ folder; expected a diffusers folder with {', '.join(parts)}. "
                "Give the output folder of `seas-train base` or a Stable Diffusion v1-4 folder."
            )
    elif os.sep in str(source) and (str(source).startswith((".", os.sep)) or str(source).count("/") != 1):
        raise DataError(f"{source}: no such folder. Give a base model's folder or a hub name like owner/model.")


def image_side(source: str | Path) -> int:
    """Side of the images that a model makes, in pixels, from its configs alone.

    Raises:
        DataError: as `inspect`.
    """
    inspect(source, added=None)
    latent, blocks = _config(UNet2DConditionModel, source, "unet").get("sample_size"), _config(AutoencoderKL, source, "vae")
    if not isinstance(latent, int):
        raise DataError(f"{source}: the config of unet/ says no sample_size; copy the model again")
    return latent * 2 ** (len(blocks.get("block_out_channels", ())) - 1)


def read(reader: Callable[..., Any], source: str | Path, part: str, **how: Any) -> Any:
    """What a library's `reader` makes of a part of a model.

    Raises:
        DataError: it cannot be read, or the hub name is not to be had.
    """
    local = Path(source).is_dir()
    try:
        return reader(source, subfolder=part, local_files_only=local, **how)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        hint = (
            "Make the base again with `seas-train base`, or give a whole Stable Diffusion v1-4 folder."
            if local
            else "Without a network give a local folder: one from `seas-train base`, or a copy of the hub model."
        )
        raise DataError(f"cannot load a base model from {source} ({reason}). {hint}") from error


def _config(cls: Any, source: str | Path, part: str) -> dict[str, Any]:
    config = read(cls.load_config, source, part)
    if not isinstance(config, dict):
        raise DataError(f"{source}: the config of {part}/ is no JSON object; copy the model again")
    return config
