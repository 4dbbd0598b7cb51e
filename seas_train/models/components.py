"""The Stable Diffusion components: build, load and save U-Net, VAE, text encoder, tokenizer and noise schedule.

A folder of components has the layout that diffusers gives a Stable Diffusion model (`unet/`, `vae/`, `text_encoder/`,
`tokenizer/`, `scheduler/`), so a v1-4 checkpoint and a small base trained here are read by the same code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from tokenizers import pre_tokenizers
from tokenizers.trainers import BpeTrainer
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from seas_runtime.staging import replaced
from seas_train.models import reading, stored
from seas_train.models.origin import Origin
from seas_train.models.tokens import WORD_END

PARTS = stored.PARTS
inspect = stored.inspect


class Geometry(BaseModel):
    """Sizes of a base model; the block types are always those of Stable Diffusion 1.x and 2.x.

    `unet_heads`: of every level, or one number for all; `linear_projection`, `text_activation`: 2.x has other ones than 1.x.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_size: int
    latent_channels: int
    unet_channels: tuple[int, int, int, int]
    unet_layers: int
    unet_heads: int | tuple[int, int, int, int]
    unet_groups: int
    vae_channels: tuple[int, int, int, int]
    vae_layers: int
    vae_groups: int
    text_width: int
    text_layers: int
    text_heads: int
    prompt_length: int
    linear_projection: bool = False
    text_activation: str = "quick_gelu"


GEOMETRIES: dict[str, Geometry] = {
    "tiny": Geometry(
        image_size=128,
        latent_channels=8,
        unet_channels=(48, 80, 112, 112),
        unet_layers=1,
        unet_heads=4,
        unet_groups=16,
        vae_channels=(16, 32, 64, 64),
        vae_layers=1,
        vae_groups=8,
        text_width=64,
        text_layers=2,
        text_heads=4,
        prompt_length=24,
    ),
    "sd14": Geometry(
        image_size=512,
        latent_channels=4,
        unet_channels=(320, 640, 1280, 1280),
        unet_layers=2,
        unet_heads=8,
        unet_groups=32,
        vae_channels=(128, 256, 512, 512),
        vae_layers=2,
        vae_groups=32,
        text_width=768,
        text_layers=12,
        text_heads=12,
        prompt_length=77,
    ),
}
GEOMETRIES["demo"] = GEOMETRIES["tiny"].model_copy(
    update={"latent_channels": 16, "unet_channels": (64, 96, 144, 144), "vae_channels": (16, 32, 96, 128)}
)


GEOMETRIES["sd21-base"] = GEOMETRIES["sd14"].model_copy(
    update={
        "unet_heads": (5, 10, 20, 20),
        "text_width": 1024,
        "text_layers": 23,  # of OpenCLIP's 24: the last but one is what the U-Net was trained with
        "text_heads": 16,
        "linear_projection": True,
        "text_activation": "gelu",
    }
)
GEOMETRIES["sd21"] = GEOMETRIES["sd21-base"].model_copy(update={"image_size": 768})


@dataclass
class Components:
    """One Stable Diffusion model: the networks in fp32, the tokenizer and the forward noise schedule."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: DDPMScheduler

    @property
    def image_size(self) -> int:
        """Side H = W of the images this model makes, pixels."""
        return int(self.unet.config.sample_size) * 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of one image's latents."""
        side = int(self.unet.config.sample_size)
        return int(self.vae.config.latent_channels), side, side

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The trainable modules by their folder name."""
        return {"unet": self.unet, "vae": self.vae, "text_encoder": self.text_encoder}

    def save(self, folder: Path) -> None:
        """Write every part below `folder` in diffusers' layout, weights as safetensors."""
        for part in PARTS:
            keep(getattr(self, part), folder / part)


def keep(part: Any, folder: Path) -> None:
    """Save a part in diffusers' layout; the folder is there once it is whole, in the place of one that was there before.

    Raises:
        OSError: it cannot be written; what was there before stays.
    """
    with replaced(folder) as fresh:
        try:
            part.save_pretrained(fresh)
        except (OSError, SafetensorError):
            raise
        except Exception as error:  # tokenizers, which is written in Rust, raises nothing narrower
            raise OSError(0, str(error)) from error


def build_unet(g: Geometry) -> UNet2DConditionModel:
    """The stock U-Net at the sizes of `g`, random weights."""
    return UNet2DConditionModel(
        sample_size=g.image_size // 8,
        in_channels=g.latent_channels,
        out_channels=g.latent_channels,
        block_out_channels=g.unet_channels,
        layers_per_block=g.unet_layers,
        attention_head_dim=g.unet_heads,  # diffusers' name; for these models it is the number of heads
        use_linear_projection=g.linear_projection,
        cross_attention_dim=g.text_width,
        norm_num_groups=g.unet_groups,
    )


def build_vae(g: Geometry) -> AutoencoderKL:
    """The stock f=8 KL autoencoder at the sizes of `g`, random weights."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=g.vae_channels,
        layers_per_block=g.vae_layers,
        latent_channels=g.latent_channels,
        norm_num_groups=g.vae_groups,
        sample_size=g.image_size,
    )


def build_tokenizer(captions: Iterable[str], length: int) -> CLIPTokenizer:
    """A CLIP tokenizer whose merges come from `captions`; every prompt is padded to `length` tokens.

    The same captions give the same tokenizer in every process: the trainer reads words in the random order of a hash table and
    numbers a symbol when it first meets it, so all symbols are numbered before, as reserved tokens.
    """
    words = list(captions) * 2  # a pair of symbols is merged only if it is seen twice
    blank = CLIPTokenizer()
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = BpeTrainer(
        vocab_size=4096,
        special_tokens=[blank.bos_token, blank.eos_token, *(letter + WORD_END for letter in letters)],
        initial_alphabet=letters,
        end_of_word_suffix=WORD_END,
        show_progress=False,
    )
    blank.backend_tokenizer.train_from_iterator(words, trainer)
    learned = json.loads(blank.backend_tokenizer.to_str())["model"]
    merges = [tuple(pair) for pair in learned["merges"]]
    return CLIPTokenizer(vocab=learned["vocab"], merges=merges, model_max_length=length)


def build_text_encoder(g: Geometry, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """The stock CLIP text encoder at the sizes of `g` and the vocabulary of `tokenizer`, random weights."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=g.text_width,
            intermediate_size=4 * g.text_width,
            num_hidden_layers=g.text_layers,
            num_attention_heads=g.text_heads,
            max_position_embeddings=g.prompt_length,
            projection_dim=g.text_width,
            hidden_act=g.text_activation,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_scheduler(prediction: str = "epsilon", zero_snr: bool = False) -> DDPMScheduler:
    """The forward noise schedule of Stable Diffusion: 1000 steps, scaled-linear betas; `prediction` of noise or v."""
    return DDPMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
        rescale_betas_zero_snr=zero_snr,
    )


def build(
    geometry: Geometry, captions: Iterable[str], tokenizer: CLIPTokenizer | None = None, prediction: str = "epsilon"
) -> Components:
    """A model with random weights, ready for base training or for measurements; learns a tokenizer if given none."""
    if tokenizer is None:
        tokenizer = build_tokenizer(captions, geometry.prompt_length)
    return Components(
        unet=build_unet(geometry),
        vae=build_vae(geometry),
        text_encoder=build_text_encoder(geometry, tokenizer),
        tokenizer=tokenizer,
        scheduler=build_scheduler(prediction),
    )


def load(source: str | Path | Origin, vae: str | Path | Origin | None = None) -> Components:
    """Read the parts of a model as they lie in a local folder or, where there is a network, under a hub name.

    Args:
        source: the model; of what is asked of it, variant and revision are heard here, the rest in `bases.load`.
        vae: the model whose autoencoder to take; None, the same.

    Raises:
        DataError: the folder lacks a part, a part cannot be read, the hub name is not to be had, or see `inspect`.
    """
    origin = Origin.of(source)
    inspect(origin, vae, added=None)
    other = origin if vae is None else Origin.of(vae)
    return Components(
        unet=reading.weights(UNet2DConditionModel.from_pretrained, origin, "unet", torch_dtype=torch.float32),
        vae=reading.weights(AutoencoderKL.from_pretrained, other, "vae", torch_dtype=torch.float32),
        text_encoder=reading.weights(CLIPTextModel.from_pretrained, origin, "text_encoder", dtype=torch.float32),
        tokenizer=reading.read(CLIPTokenizer.from_pretrained, origin, "tokenizer"),
        scheduler=reading.read(DDPMScheduler.from_pretrained, origin, "scheduler"),
    )


def fingerprint(*modules: nn.Module) -> str:
    """Tell weights apart without reading all of them: a hash of every tensor's name, shape and some of its values."""
    digest = hashlib.sha256()
    for module in modules:
        for name, value in module.state_dict().items():
            some = value.detach().flatten()[:: max(1, value.numel() // 64)].cpu()
            digest.update(f"{name} {tuple(value.shape)} {some.dtype}".encode() + some.numpy().tobytes())
    return digest.hexdigest()[:16]


def freeze(*modules: nn.Module) -> None:
    """Put modules into evaluation mode and stop their gradients."""
    for module in modules:
        module.eval().requires_grad_(False)


@torch.no_grad()
def encode_moments(vae: AutoencoderKL, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of the scaled latent posterior.

    Args:
        vae: the autoencoder, in evaluation mode.
        images: (n, 3, H, W) float32 in [-1, 1].

    Returns:
        mean and std, each (n, C, h, w) float32, times the VAE's scaling factor; on the VAE's device, never in half precision.
    """
    with torch.autocast(vae.device.type, enabled=False):
        posterior = vae.encode(images.to(vae.device, vae.dtype)).latent_dist
    return posterior.mean * vae.config.scaling_factor, posterior.std * vae.config.scaling_factor


def encode_each(vae: AutoencoderKL, images: Iterable[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """As `encode_moments`, of images (3, H, W), one at a time: a whole set of 512 x 512 images needs little memory."""
    parts = [tuple(moment.cpu() for moment in encode_moments(vae, image[None])) for image in images]
    return torch.cat([mean for mean, _ in parts]), torch.cat([std for _, std in parts])
