"""A small decoder in the place of the autoencoder's own: the same pictures from the same latents, by less arithmetic.

Of a run it lies in RUN/decoder, `config.json` beside `model.safetensors`. Its blocks are those of the own one, so that all that
reads features (`seas_train.models.taps`) and all graphs of a bundle take it as they take that.
"""

from __future__ import annotations

import math
from pathlib import Path

from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import Decoder
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file, save
from torch import Tensor

from seas_runtime.files import write_atomic
from seas_runtime.staging import replaced
from seas_train.models import components

FOLDER = "decoder"
CONFIG = "config.json"
WEIGHTS = "model.safetensors"


class DecoderConfig(BaseModel):
    """Sizes of a small decoder, and how near it comes to the own one.

    Attributes:
        channels: At the image's side, at 1/2, 1/4 and 1/8 of it; one residual block on each level, two in the middle.
        latent_channels: C.
        groups: Of the group norms.
        made_of: Tells settings and networks that it was trained with from others.
        psnr: dB, its pictures against the own decoder's, over generated latents that it did not learn from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: tuple[int, ...]
    latent_channels: int
    groups: int
    made_of: str = ""
    psnr: float | None = None


def config_for(vae: AutoencoderKL, channels: tuple[int, ...]) -> DecoderConfig:
    """Of a small decoder for this autoencoder's latents."""
    groups = math.gcd(*channels, vae.config.norm_num_groups)
    return DecoderConfig(channels=channels, latent_channels=vae.config.latent_channels, groups=groups)


def build(config: DecoderConfig) -> Decoder:
    """With random weights. It has no attention: that is for what the own decoder had to find out from the whole picture."""
    return Decoder(
        in_channels=config.latent_channels,
        out_channels=3,
        up_block_types=("UpDecoderBlock2D",) * len(config.channels),
        block_out_channels=config.channels,
        layers_per_block=0,  # diffusers adds one
        norm_num_groups=config.groups,
        mid_block_add_attention=False,
    )


def decode(decoder: Decoder, vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """As `taps.decode`, by this decoder: scaled latents (n, C, h, w) -> images (n, 3, H, W), about [-1, 1]."""
    images: Tensor = decoder(vae.post_quant_conv(latents / vae.config.scaling_factor))
    return images


def attach(vae: AutoencoderKL, decoder: Decoder) -> None:
    """Put it in the place of the autoencoder's own."""
    components.freeze(decoder)
    vae.decoder = decoder.to(vae.device)


def keep(folder: Path, config: DecoderConfig, decoder: Decoder) -> None:
    """Write it to a run's folder, whole.

    Raises:
        OSError, SafetensorError: it cannot be written.
    """
    with replaced(folder / FOLDER) as fresh:
        write_atomic(fresh / WEIGHTS, save({name: value.contiguous() for name, value in decoder.state_dict().items()}))
        (fresh / CONFIG).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_config(folder: Path) -> DecoderConfig:
    """Of a run's small decoder.

    Raises:
        OSError, ValueError: it is not there, or cannot be read.
    """
    return DecoderConfig.model_validate_json((folder / FOLDER / CONFIG).read_text(encoding="utf-8"))


def load(folder: Path) -> Decoder:
    """Read a run's small decoder.

    Raises:
        OSError, ValueError, RuntimeError, SafetensorError: it is not there, or cannot be read.
    """
    decoder = build(read_config(folder))
    decoder.load_state_dict(load_file(folder / FOLDER / WEIGHTS))
    return decoder
