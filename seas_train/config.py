"""Settings of every command: frozen pydantic models, command line over file over preset over default."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from seas_runtime.errors import SettingsError
from seas_train.toml_file import nearest, read_toml


class Settings(BaseModel):
    """Base of all settings: immutable, unknown keys refused, presets by name, and what fits into so many GiB of a GPU."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    memories: ClassVar[dict[str, dict[str, Any]]] = {}


class LoopSettings(Settings):
    """What every training loop has."""

    seed: int = Field(0, ge=0, description="Seed of data order, noise and initial weights.")
    checkpoint_every: int = Field(200, ge=1, description="Steps between checkpoints.")
    log_every: int = Field(20, ge=1, description="Steps between lines of the training log.")
    weight_decay: float = Field(0.01, ge=0, description="AdamW weight decay.")


class FineSettings(LoopSettings):
    """What `tune` and `masks` share: how a step is computed, not what it computes."""

    device: Literal["auto", "cpu"] = Field("auto", description="auto: a GPU where there is one.")
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="Arithmetic of the networks; weights and optimiser stay fp32."
    )
    optimizer: Literal["adamw", "adamw8bit"] = Field("adamw", description="adamw8bit needs bitsandbytes.")
    accumulation: int = Field(1, ge=1, description="Batches accumulated before an optimiser step.")
    cache_latents: bool = Field(
        False, description="Keep the VAE's latents of every view of an image; the augmented views are at most 8."
    )
    watch_every: int = Field(
        0, ge=0, description="Steps between TensorBoard scalars and sample grids, 0 for none; needs tensorboard."
    )


_CACHED = {"precision": "bf16", "cache_latents": True}
_LEAN = {**_CACHED, "gradient_checkpointing": True}
_HALF_BATCHES = {"anomaly_batch": 1, "normal_batch": 1, "accumulation": 2}


class TuneSettings(FineSettings):
    """`seas-train tune`: separation and sharing fine-tuning (paper sec. 3.2)."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"fit": "stretch"},
        "published": {
            "fit": "stretch",
            "prompt": "a {ob} with {df}",
            "df_separator": " ",
            "attention": "published",
            "accumulation": 2,
            "split": "first",
        },
        "tiny": {"unet_lr": 1e-4, "embedding_lr": 1e-2, "steps_per_type": 400},
        "demo": {
            "fit": "stretch",
            "init_anomaly": "{defect}",  # a prompt close to the base's captions
            "df_separator": " ",
            "unet_lr": 4e-5,
            "embedding_lr": 2e-5,  # rows are 0.02 large: at 1e-3 a step they, and the defects with them, are lost within 250
            "steps_per_type": 100,
        },
    }
    """published: as the authors' code; tiny: for a small base; demo: for a small base that knows the types by name, gently."""
    memories: ClassVar[dict[str, dict[str, Any]]] = {
        "24": _LEAN,
        "16": {**_LEAN, "optimizer": "adamw8bit"},
        "12": {**_LEAN, "unet": "lora"},
        "8": {**_LEAN, "unet": "lora", **_HALF_BATCHES},
    }

    fit: Literal["auto", "stretch", "pad", "crop", "tile"] = Field(
        "auto",
        description="How photographs become the model's squares: stretch (the paper), pad with black, crop, or tile (cut into "
        "squares of their own pixels); auto: the one that keeps the most defects wider than a latent cell. masks does the same.",
    )
    words: Literal["learned", "generic"] = Field(
        "learned",
        description="UA prompt of learned tokens, or generic words: --init-product and --init-anomaly (tab. 4, TP).",
    )
    anomaly_tokens: int = Field(4, ge=1, description="N, placeholder tokens per defect type (tab. 20).")
    product_tokens: int = Field(1, ge=1, description="N', placeholder tokens of the product (tab. 20).")
    prompt: str = Field("a {ob} with {df}", description="Anomaly prompt; {ob} and {df} become the placeholders.")
    normal_prompt: str = Field("a {ob}", description="Prompt of normal images.")
    df_separator: str = Field(", ", description="Text between two anomaly tokens.")
    init_product: str = Field("object", description="Word whose embedding starts the product token.")
    init_anomaly: str = Field(
        "defect", description="Words whose mean embedding starts a type's anomaly tokens; {defect} becomes the type's name."
    )
    steps_per_type: int = Field(800, ge=1, description="Steps per defect type; the total is this times their number.")
    steps: int | None = Field(None, ge=1, description="Total steps, in place of steps per type.")
    anomaly_batch: int = Field(2, ge=1, description="Anomaly images per step.")
    normal_batch: int = Field(2, ge=1, description="Normal images per step.")
    order: Literal["mixed", "anomaly-normal", "normal-anomaly"] = Field(
        "mixed", description="Anomalies and normals in every batch, or half of the steps each, one after the other (tab. 23)."
    )
    defects: tuple[str, ...] = Field(
        (), description="Defect types to learn, all of them mixed if none is named; a run for each is w/o Mixed (tab. 4)."
    )
    unet: Literal["full", "lora", "frozen"] = Field(
        "full", description="What learns of the U-Net: all, a LoRA (peft), merged at the end, or nothing (token inversion, A.13)."
    )
    lora_rank: int = Field(16, ge=1, description="Rank of the LoRA.")
    gradient_checkpointing: bool = Field(False, description="Compute the U-Net's activations twice and keep few of them.")
    ema: float = Field(0.0, ge=0, lt=1, description="Decay of the weight average that is then saved; 0 for none.")
    unet_lr: float = Field(4e-6, gt=0, description="Learning rate of the U-Net.")
    embedding_lr: float = Field(4e-5, gt=0, description="Learning rate of the new token rows.")
    attention: Literal["paper", "published"] = Field(
        "paper", description="Attention maps of the DA loss: softmax over tokens (paper) or positions (published)."
    )
    levels: tuple[int, ...] = Field(
        (2, 3), description="U-Net encoder levels whose cross-attention the DA loss uses; 4 is the middle block (tab. 24)."
    )
    da_weight: float = Field(1.0, ge=0, description="Weight of the DA loss (eq. 3).")
    product_term: Literal["anomaly", "off", "background"] = Field(
        "anomaly",
        description="Product token: off the anomaly (eq. 3), free (w/o ST, tab. 4, 21), on the background (AT, eq. 9, tab. 21).",
    )
    na_weight: float = Field(1.0, ge=0, description="Weight of the NA loss (eq. 5); 0 is w/o NA (tab. 4).")
    augment: bool = Field(True, description="Random quarter-turns and flips; switch off for products with a fixed pose.")
    normals: int = Field(
        60, ge=1, description="P, normal images used.", json_schema_extra={"flag": "--normal-count"}
    )  # --normals is the folder
    train_share: float = Field(1 / 3, gt=0, le=1, description="Share of each type's anomaly images used for training.")
    split: Literal["seeded", "first"] = Field("seeded", description="Which images are that share.")
    shots: int | None = Field(None, ge=1, description="Anomaly images of each type, in place of the share.")
    signal: float = Field(0.098, ge=0, le=1, description="Start of generation: factor of the normal image's latent.")
    noise: float = Field(0.99984, gt=0, description="Start of generation: factor of the noise, sqrt(1 - 0.0178^2).")

    @model_validator(mode="after")
    def _something_learns(self) -> TuneSettings:
        if self.unet == "frozen" and self.words == "generic":
            raise ValueError("with --unet frozen and --words generic nothing learns; change one")
        return self


_SMALL_BRANCH = {
    **{"up2_width": 32, "up3_width": 16, "steps_per_type": 300, "lr": 1e-3, "groups": 8},
    **{"decoder_channels": (8, 16, 48, 64), "decoder_steps": 1500, "decoder_latents": 256},
}


COMPOSITES = 100
"""Of each type in the bundle, where nobody says otherwise: pairs that start from them help a segmenter most."""
IN_GRAPHS: dict[str, Any] = {"taps": (2, 3), "features": "decoder", "refinement": "progressive"}
"""What a mask branch must be for a bundle's graphs to hold it; other ones are ablations."""


class MaskSettings(FineSettings):
    """`seas-train masks`: the Refined Mask Prediction branch (paper sec. 3.3)."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"calibrate": "off"},
        "published": {"fuse": False, "calibrate": "off"},
        "tiny": _SMALL_BRANCH,
        "demo": {**_SMALL_BRANCH, "anomaly_batch": 4, "max_timestep": 150, "cache_latents": True},
    }
    """published: as the authors' code; tiny: for a small base; demo: the same, learning from the sampler's last steps alone."""
    memories: ClassVar[dict[str, dict[str, Any]]] = {
        "24": _CACHED,
        "16": _LEAN,
        "12": {**_LEAN, **_HALF_BATCHES},
        "8": {**_LEAN, **_HALF_BATCHES},
    }

    up2_width: int = Field(128, ge=1, description="Channels that the up-2 tap is compressed to.")
    up3_width: int = Field(64, ge=1, description="Channels that the up-3 tap is compressed to.")
    layers: int = Field(4, ge=1, description="Transformer layers of the coarse feature.")
    heads: int = Field(8, ge=1, description="Heads of each transformer layer.")
    groups: int = Field(32, ge=1, description="Groups of the group norms.")
    fuse: bool = Field(True, description="The 3x3 convolution at the end of each mask refinement module.")
    taps: tuple[int, ...] = Field(
        (2, 3), description="U-Net decoder levels of the coarse feature: 2,3 or 1,2,3 or 2,3,4 (tab. 25)."
    )
    features: Literal["decoder", "encoder"] = Field(
        "decoder", description="VAE features of the refinement: the decoder's, or the encoder's of the decoded image (tab. 26)."
    )
    mrm: Literal["a", "b", "c"] = Field(
        "c", description="Mask refinement module with no, one or two chained convolution blocks (tab. 28)."
    )
    refinement: Literal["progressive", "single", "none"] = Field(
        "progressive",
        description="Three mask refinement modules, one at the image's side (w/o PM), or upsampling alone (w/o MRM) (tab. 5).",
    )
    coarse_supervision: bool = Field(True, description="Losses at the latent side, terms 1 and 2 of eq. 7 (tab. 5, CMS).")
    normal_supervision: bool = Field(True, description="Losses of normal images, terms 2 and 4 of eq. 7 (tab. 27, NIA).")
    steps_per_type: int = Field(800, ge=1, description="Steps per defect type; the total is this times their number.")
    steps: int | None = Field(None, ge=1, description="Total steps, in place of steps per type.")
    anomaly_batch: int = Field(2, ge=1, description="Anomaly images per step.")
    normal_batch: int = Field(2, ge=1, description="Normal images per step.")
    lr: float = Field(5e-4, gt=0, description="Learning rate.")
    gamma: float = Field(2.0, ge=0, description="Focusing exponent of the focal loss.")
    max_timestep: int = Field(1000, ge=1, le=1000, description="Timesteps are drawn below this one.")
    gradient_checkpointing: bool = Field(False, description="Compute the refinement's activations twice and keep few of them.")
    look: Literal["steps", "final"] = Field(
        "steps",
        description="What the masks are of: the latents of the sampler's last steps (the paper), or the finished one, seen once.",
    )
    look_timestep: int = Field(20, ge=0, le=999, description="Timestep at which the U-Net looks at the finished latent.")
    decoder: Literal["own", "small"] = Field(
        "own",
        description="What draws the picture and refines the mask: the VAE's own decoder, or a small one that is distilled from it.",
    )
    decoder_channels: tuple[int, ...] = Field(
        (32, 64, 128, 128), description="Channels of the small decoder at the image's side, at 1/2, 1/4 and 1/8 of it."
    )
    decoder_steps: int = Field(3000, ge=1, description="Steps of the small decoder.")
    decoder_latents: int = Field(
        128, ge=1, description="Latents that the run generates for it to learn from, beside those of images."
    )
    decoder_lr: float = Field(1e-3, gt=0, description="Peak learning rate of the small decoder.")
    calibrate: Literal["off", "iou", "area"] = Field(
        "iou",
        description="Threshold and limits of each type from the training anomalies: best overlap, equal area, or off (the paper).",
    )
    augment: bool = Field(True, description="Random quarter-turns and flips.")

    @field_validator("taps")
    @classmethod
    def _levels(cls, taps: tuple[int, ...]) -> tuple[int, ...]:
        if taps not in {(2, 3), (1, 2, 3), (2, 3, 4), (1, 2, 3, 4)}:
            raise ValueError("expected 2,3 or 1,2,3 or 2,3,4 or 1,2,3,4")
        return taps

    @field_validator("decoder_channels")
    @classmethod
    def _sides(cls, channels: tuple[int, ...]) -> tuple[int, ...]:
        if len(channels) != 4 or min(channels) < 1:
            raise ValueError("expected four numbers of 1 or more, such as 32,64,128,128")
        return channels

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each tap."""
        return tuple(self.up2_width if level < 3 else self.up3_width for level in self.taps)


def require_heads(settings: MaskSettings) -> None:
    """Refuse widths that attention heads do not divide.

    Raises:
        SettingsError: names both.
    """
    if sum(settings.widths) % settings.heads:
        widths = " + ".join(map(str, settings.widths))
        raise SettingsError(f"widths {widths} are not a multiple of {settings.heads} heads; change one")


S = TypeVar("S", bound=Settings)


def resolve(cls: type[S], preset: str | None, file: Path | None, given: Mapping[str, Any], memory: str | None = None) -> S:
    """Merge default < preset < memory < TOML file < command line into one settings object.

    Raises:
        SettingsError: unknown preset or key, wrong type or value, unreadable file.
    """
    values: dict[str, Any] = {}
    if preset is not None:
        if preset not in cls.presets:
            raise SettingsError(f"unknown preset {preset!r}; known: {', '.join(cls.presets) or 'none'}")
        values.update(cls.presets[preset])
    values.update(cls.memories[memory] if memory is not None else {})
    values.update(read_toml(file) if file is not None else {})
    values.update({key: value for key, value in given.items() if value is not None})
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise SettingsError(f"unknown setting {name!r}; {nearest(name, cls.model_fields)}") from error
        if not first["loc"]:  # of settings that do not fit one another, whose words say all
            raise SettingsError(first["msg"].removeprefix("Value error, ")) from error
        found = f", found {first.get('input')!r}"
        raise SettingsError(f"setting {name}: {first['msg']}{found}") from error
