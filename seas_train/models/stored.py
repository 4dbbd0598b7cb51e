"""A base model as it lies on a disk or a hub: which parts it has, what their configs say, whether it can be trained."""

from __future__ import annotations

import logging
import os
import pickle
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from safetensors import SafetensorError
from transformers import CLIPTextConfig, CLIPTokenizer

from seas_runtime.errors import DataError
from seas_runtime.files import require_plain
from seas_runtime.terminal import shown

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
WORKS = "a text-to-image model of Stable Diffusion 1.x, such as CompVis/stable-diffusion-v1-4, or one of `seas-train base`"
_DAMAGED = (
    OSError,
    ValueError,
    RuntimeError,
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    struct.error,
    pickle.UnpicklingError,
    SafetensorError,
)  # as the libraries raise them of a file that is not what it should be
_NO_SUCH_FILE = "does not appear to have a file named"  # as diffusers and transformers say of a model on a hub


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


@dataclass(frozen=True)
class Place:
    """Where a model lies: a folder, or a name on a hub with the branch, tag or commit that is meant."""

    source: str | Path
    revision: str | None = None

    @property
    def local(self) -> bool:
        """Whether it is a folder."""
        return Path(self.source).is_dir()

    @property
    def version(self) -> dict[str, str]:
        """What a library's reader is told of the revision; a folder has none."""
        return {} if self.local or self.revision is None else {"revision": self.revision}


def inspect(source: str | Path, vae: str | Path | None = None, added: int | None = 0, revision: str | None = None) -> Inspected:
    """Read a model's configs, before any weights, and refuse what would train wrongly or not at all.

    Args:
        source: a local folder, or a hub name.
        vae: the model whose autoencoder is taken; None, the same.
        added: tokens that the tokenizer has beyond the text encoder's table, as a run has; None, not compared.
        revision: branch, tag or commit of what is read from a hub.

    Raises:
        DataError: a part is missing or cannot be read, or the model is none that can be trained.
    """
    require_parts(source, vae)
    model = Place(source, revision)
    unet = _config(UNet2DConditionModel, model, "unet")
    autoencoder = _config(AutoencoderKL, Place(source if vae is None else vae, revision), "vae")
    scheduler = _config(DDPMScheduler, model, "scheduler")
    found = Inspected(
        channels=(unet.get("in_channels", 4), unet.get("out_channels", 4)),
        latent_channels=autoencoder.get("latent_channels", 4),
        prediction=scheduler.get("prediction_type", "epsilon"),
        tokens=len(read(CLIPTokenizer.from_pretrained, model, "tokenizer")),
        rows=read(CLIPTextConfig.from_pretrained, model, "text_encoder").vocab_size,
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
        for part in parts:
            require_plain(folder / part)
    elif os.sep in str(source) and (str(source).startswith((".", os.sep)) or str(source).count("/") != 1):
        raise DataError(f"{source}: no such folder. Give a base model's folder or a hub name like owner/model.")


def image_side(source: str | Path) -> int:
    """Side of the images that a model makes, in pixels, from its configs alone.

    Raises:
        DataError: as `inspect`.
    """
    inspect(source, added=None)
    place = Place(source)
    latent, blocks = _config(UNet2DConditionModel, place, "unet").get("sample_size"), _config(AutoencoderKL, place, "vae")
    if not isinstance(latent, int):
        raise DataError(f"{source}: the config of unet/ says no sample_size; copy the model again")
    return latent * 2 ** (len(blocks.get("block_out_channels", ())) - 1)


def read(reader: Callable[..., Any], place: Place, part: str, **how: Any) -> Any:
    """What a library's `reader` makes of a part of a model.

    Raises:
        DataError: it cannot be read, or the hub name is not to be had.
    """
    try:
        return reader(place.source, subfolder=part, local_files_only=place.local, **place.version, **how)
    except _DAMAGED as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        hint = (
            "Make the base again with `seas-train base`, or give a whole Stable Diffusion v1-4 folder."
            if place.local
            else "Without a network give a local folder: one from `seas-train base`, or a copy of the hub model."
        )
        raise DataError(f"cannot load a base model from {place.source} ({reason}). {hint}") from error


def weights(reader: Callable[..., Any], place: Place, part: str, **how: Any) -> Any:
    """As `read`, of a network: its safetensors; where there are none, its pickled weights, with a word on that.

    Raises:
        DataError: as `read`.
    """
    folder = Path(place.source) / part
    if place.local and not any(folder.glob("*.safetensors")) and any(folder.glob("*.bin")):
        return _unpickled(reader, place, part, **how)
    try:
        return read(reader, place, part, use_safetensors=True, **how)
    except DataError as error:
        if place.local or _NO_SUCH_FILE not in str(error):
            raise
    return _unpickled(reader, place, part, **how)


def _unpickled(reader: Callable[..., Any], place: Place, part: str, **how: Any) -> Any:
    said = f"{place.source}: {part} has no safetensors; its pickled weights are read with PyTorch's restricted reader"
    logging.getLogger(__name__).warning(shown(f"Warning: {said}"))
    try:
        return read(reader, place, part, use_safetensors=False, **how)
    except DataError:
        raise
    except Exception as error:  # a spoiled pickle can raise anything
        reason = type(error).__name__
        raise DataError(f"{place.source}: the weights of {part} are damaged ({reason}); copy the model again") from error


def _config(cls: Any, place: Place, part: str) -> dict[str, Any]:
    config = read(cls.load_config, place, part)
    if not isinstance(config, dict):
        raise DataError(f"{place.source}: the config of {part}/ is no JSON object; copy the model again")
    return config
