"""Settings of `seas-train base`."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from seas_train.config import LoopSettings


class BaseSettings(LoopSettings):
    """`seas-train base`: autoencoder, then U-Net and text encoder, from scratch."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {
            "geometry": "demo",
            "defects": True,
            "vae_steps": 5000,
            "vae_focus": 0.8,
            "vae_whole": 0.3,  # so that group norms and attention have seen what they see at generation
            "vae_anomaly_weight": 4.0,  # anomalies cover a thirtieth of an image and are what it is about
            "sharpen_steps": 1200,
            "sharpen_weight": 0.3,
            "align_steps": 1500,  # with a text encoder of random weights the prompt decided nothing
            "max_noise_weight": 8.0,
            "anomaly_weight": 3.0,
        },
    }
    """demo: as the base of the shipped engine was trained."""

    geometry: Literal["tiny", "demo", "sd14"] = Field("tiny", description="Sizes of the networks.")
    fit: Literal["stretch", "pad", "crop", "tile"] = Field(
        "stretch", description="How photographs become the model's squares; give tune the same."
    )
    prediction: Literal["epsilon", "v_prediction"] = Field("epsilon", description="What the U-Net learns to predict: noise, or v.")
    defects: bool = Field(False, description="Learn from the anomalies of a product too, not only from its normal images.")
    symmetries: int = Field(1, ge=1, le=8, description="Quarter-turned and flipped views of each image to learn from.")
    vae_start: Literal["auto", "random", "drawn"] = Field(
        "auto",
        description="What the autoencoder begins with; drawn: weights that come along for the geometry demo, auto's choice there.",
    )
    vae_steps: int = Field(4000, ge=1, description="Steps of the autoencoder.")
    vae_batch: int = Field(16, ge=1, description="Crops per autoencoder step.")
    vae_crop: int = Field(64, ge=16, multiple_of=8, description="Side of the autoencoder's training crops, pixels.")
    vae_focus: float = Field(0.0, ge=0, le=1, description="Share of an anomaly image's crops that are centred on the anomaly.")
    vae_whole: float = Field(
        0.0, ge=0, le=1, description="Share of the autoencoder's steps, the last ones, with as many pixels of whole images."
    )
    vae_lr: float = Field(1e-3, gt=0, description="Peak learning rate of the autoencoder.")
    vae_edges: float = Field(1.0, ge=0, description="Weight of the L1 loss on image gradients.")
    vae_anomaly_weight: float = Field(0.0, ge=0, description="How much more an anomaly's pixels weigh in both L1 losses.")
    vae_kl: float = Field(1e-6, ge=0, description="Weight of the KL term.")
    vae_precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="Arithmetic of the autoencoder; bf16 halves a step where the processor computes in it (AMX)."
    )
    sharpen_steps: int = Field(
        0, ge=0, description="Steps of the decoder against a discriminator of patches, after everything else; 0 for none."
    )
    sharpen_weight: float = Field(0.5, ge=0, description="Weight of the discriminator's gradient against the reconstruction's.")
    sharpen_lr: float = Field(2e-4, gt=0, description="Peak learning rate of the decoder then; the discriminator's is twice that.")
    align_steps: int = Field(
        0, ge=0, description="Contrastive steps of the text encoder before the U-Net's, so that captions differ; 0 for none."
    )
    steps: int = Field(10000, ge=1, description="Steps of U-Net and text encoder.")
    batch: int = Field(16, ge=1, description="Images per U-Net step.")
    lr: float = Field(4e-4, gt=0, description="Peak learning rate of U-Net and text encoder.")
    lr_schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="Learning rate of U-Net and text encoder after its warm-up: half a cosine down to 2 %, or the peak."
    )
    ema: float = Field(0.999, ge=0, lt=1, description="Decay of the weight average that is saved.")
    anomaly_weight: float = Field(0.0, ge=0, description="How much more cells of an anomaly weigh in the U-Net's loss.")
    max_noise_weight: float = Field(
        1.0,
        ge=1,
        description="How often noisy timesteps are drawn: 1 / alpha-bar, as a loss on v weighs them, at most this; 1: all alike.",
    )
    prompt_dropout: float = Field(0.1, ge=0, le=1, description="Share of captions replaced by the empty prompt.")
    generic: float = Field(0.15, ge=0, le=1, description='Share of product and defect names replaced by "object" and "defect".')

    @model_validator(mode="after")
    def _codec_fits(self) -> Self:
        if self.vae_start == "drawn" and self.geometry != "demo":
            raise ValueError(f'vae start "drawn" is of the geometry demo, not {self.geometry}; give --vae-start random')
        return self
