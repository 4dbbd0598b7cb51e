"""Settings of every command: frozen pydantic models, command line over file over preset over default."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seas_train.errors import SettingsError


class Settings(BaseModel):
    """Base of all settings: immutable, unknown keys refused, presets by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    presets: ClassVar[dict[str, dict[str, Any]]] = {}


class LoopSettings(Settings):
    """What every training loop has."""

    seed: int = Field(0, ge=0, description="Seed of data order, noise and initial weights.")
    checkpoint_every: int = Field(200, ge=1, description="Steps between checkpoints.")
    log_every: int = Field(20, ge=1, description="Steps between lines of the training log.")
    weight_decay: float = Field(0.01, ge=0, description="AdamW weight decay.")


class BaseSettings(LoopSettings):
    """`seas-train base`: autoencoder, then U-Net and text encoder, from scratch."""

    geometry: Literal["tiny", "sd14"] = Field("tiny", description="Sizes of the networks.")
    defects: bool = Field(False, description="Learn from the anomalies of an MVTec AD tree too, not only normals.")
    symmetries: int = Field(1, ge=1, le=8, description="Quarter-turned and flipped views of each image to learn from.")
    vae_steps: int = Field(4000, ge=1, description="Steps of the autoencoder.")
    vae_batch: int = Field(16, ge=1, description="Crops per autoencoder step.")
    vae_crop: int = Field(64, ge=16, multiple_of=8, description="Side of the autoencoder's training crops, pixels.")
    vae_lr: float = Field(1e-3, gt=0, description="Peak learning rate of the autoencoder.")
    vae_edges: float = Field(1.0, ge=0, description="Weight of the L1 loss on image gradients.")
    vae_kl: float = Field(1e-6, ge=0, description="Weight of the KL term.")
    steps: int = Field(10000, ge=1, description="Steps of U-Net and text encoder.")
    batch: int = Field(16, ge=1, description="Images per U-Net step.")
    lr: float = Field(4e-4, gt=0, description="Peak learning rate of U-Net and text encoder.")
    ema: float = Field(0.999, ge=0, lt=1, description="Decay of the weight average that is saved.")
    prompt_dropout: float = Field(0.1, ge=0, le=1, description="Share of captions replaced by the empty prompt.")
    generic: float = Field(0.15, ge=0, le=1, description='Share of product and defect names replaced by "object" and "defect".')


class TuneSettings(LoopSettings):
    """`seas-train tune`: separation and sharing fine-tuning (paper sec. 3.2)."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "published": {
            "prompt": "a {ob} with {df}",
            "df_separator": " ",
            "attention": "published",
            "accumulation": 2,
            "split": "first",
        },
        "tiny": {"unet_lr": 1e-4, "embedding_lr": 1e-2, "steps_per_type": 400},
    }

    anomaly_tokens: int = Field(4, ge=1, description="N, placeholder tokens per defect type.")
    product_tokens: int = Field(1, ge=1, description="N', placeholder tokens of the product.")
    prompt: str = Field("a {ob} with {df}", description="Anomaly prompt; {ob} and {df} become the placeholders.")
    normal_prompt: str = Field("a {ob}", description="Prompt of normal images.")
    df_separator: str = Field(", ", description="Text between two anomaly tokens.")
    init_product: str = Field("object", description="Word whose embedding starts the product token.")
    init_anomaly: str = Field("defect", description="Word whose embedding starts every anomaly token.")
    steps_per_type: int = Field(800, ge=1, description="Steps per defect type; the total is this times their number.")
    steps: int | None = Field(None, ge=1, description="Total steps, in place of steps per type.")
    anomaly_batch: int = Field(2, ge=1, description="Anomaly images per step.")
    normal_batch: int = Field(2, ge=1, description="Normal images per step.")
    accumulation: int = Field(1, ge=1, description="Batches accumulated before an optimiser step.")
    unet_lr: float = Field(4e-6, gt=0, description="Learning rate of the U-Net.")
    embedding_lr: float = Field(4e-5, gt=0, description="Learning rate of the new token rows.")
    attention: Literal["paper", "published"] = Field(
        "paper", description="Attention maps of the DA loss: softmax over tokens (paper) or positions (published)."
    )
    levels: tuple[int, ...] = Field((2, 3), description="U-Net encoder levels whose cross-attention the DA loss uses.")
    da_weight: float = Field(1.0, ge=0, description="Weight of the DA loss (eq. 3).")
    na_weight: float = Field(1.0, ge=0, description="Weight of the NA loss (eq. 5).")
    augment: bool = Field(True, description="Random quarter-turns and flips; switch off for products with a fixed pose.")
    normals: int = Field(60, ge=1, description="P, normal images used.")
    train_share: float = Field(1 / 3, gt=0, le=1, description="Share of each type's anomaly images used for training.")
    split: Literal["seeded", "first"] = Field("seeded", description="Which images are that share.")
    signal: float = Field(0.098, ge=0, le=1, description="Start of generation: factor of the normal image's latent.")
    noise: float = Field(0.99984, gt=0, description="Start of generation: factor of the noise, sqrt(1 - 0.0178^2).")


class MaskSettings(LoopSettings):
    """`seas-train masks`: the Refined Mask Prediction branch (paper sec. 3.3)."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "published": {"fuse": False},
        "tiny": {"up2_width": 32, "up3_width": 16, "steps_per_type": 300, "lr": 1e-3, "groups": 8},
    }

    up2_width: int = Field(128, ge=1, description="Channels that the up-2 tap is compressed to.")
    up3_width: int = Field(64, ge=1, description="Channels that the up-3 tap is compressed to.")
    layers: int = Field(4, ge=1, description="Transformer layers of the coarse feature.")
    heads: int = Field(8, ge=1, description="Heads of each transformer layer.")
    groups: int = Field(32, ge=1, description="Groups of the group norms.")
    fuse: bool = Field(True, description="The 3x3 convolution at the end of each mask refinement module.")
    steps_per_type: int = Field(800, ge=1, description="Steps per defect type; the total is this times their number.")
    steps: int | None = Field(None, ge=1, description="Total steps, in place of steps per type.")
    anomaly_batch: int = Field(2, ge=1, description="Anomaly images per step.")
    normal_batch: int = Field(2, ge=1, description="Normal images per step.")
    lr: float = Field(5e-4, gt=0, description="Learning rate.")
    gamma: float = Field(2.0, ge=0, description="Focusing exponent of the focal loss.")
    max_timestep: int = Field(1000, ge=1, le=1000, description="Timesteps are drawn below this one.")
    augment: bool = Field(True, description="Random quarter-turns and flips.")


S = TypeVar("S", bound=Settings)


def resolve(cls: type[S], preset: str | None, file: Path | None, given: Mapping[str, Any]) -> S:
    """Merge default < preset < TOML file < command line into one settings object.

    Raises:
        SettingsError: unknown preset or key, wrong type or value, unreadable file.
    """
    values: dict[str, Any] = {}
    if preset is not None:
    shots: int | None = Field(None, ge=1, description="Anomaly images of each type, in place of the share.")
        if preset not in cls.presets:
            raise SettingsError(f"unknown preset {preset!r}; known: {', '.join(cls.presets) or 'none'}")
        values.update(cls.presets[preset])
    if file is not None:
        try:
            values.update(tomllib.loads(file.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"cannot read settings from {file}: {error}; expected a TOML file") from error
    values.update({key: value for key, value in given.items() if value is not None})
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        known = f"; known settings: {', '.join(cls.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise SettingsError(f"setting {name}: {first['msg']}, found {first.get('input')!r}{known}") from error
