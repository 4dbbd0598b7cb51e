"""Settings of `seas-train distill`. Imports no torch, so that the command line can be made of them."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from seas_runtime.bundle.student import Student
from seas_runtime.sampling.defaults import PAPER
from seas_train.config import FineSettings


class DistillSettings(FineSettings):
    """`seas-train distill`: a U-Net for few steps, with the teacher's guidance inside."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "lr": 8e-6,
            "batch": 4,
            "accumulation": 4,
            "train_steps": 3000,
            "generated": 256,
            "gradient_checkpointing": True,
        },
        "demo": {"lr": 1e-4, "batch": 16, "train_steps": 3000, "generated": 600},
    }
    """paper: for v1-4, with the learning rate of Luo et al. (2023); demo: for a small base."""

    method: Literal["consistency", "guidance"] = Field(
        "consistency",
        description="Latent consistency distillation (Luo et al. 2023), or guidance alone (Meng et al. 2023), for 8 to 10 steps.",
    )
    steps: int = Field(4, ge=1, description="Solver steps that the student is for; the bundle's default.")
    guidance: float = Field(PAPER.guidance, ge=1, le=100, description="The teacher's guidance, which the student has inside.")
    solver_steps: int = Field(
        48, ge=1, le=999, description="Steps of the teacher's solver (DDIM) over the schedule, a multiple of --steps (consistency)."
    )
    generated: int = Field(256, ge=0, description="Latents that the teacher generates to learn from, beside those of the images.")
    generated_share: float = Field(0.75, ge=0, le=1, description="Share of a batch that is drawn from these.")
    teacher_steps: int = Field(PAPER.steps, ge=1, le=999, description="The teacher's solver steps to generate them.")
    train_steps: int = Field(2000, ge=1, description="Training steps.")
    batch: int = Field(8, ge=1, description="Latents of a step.")
    lr: float = Field(1e-5, gt=0, description="Learning rate, after a warm-up of 100 steps.")
    unet: Literal["full", "lora"] = Field("full", description="What learns of the U-Net: all, or a LoRA (peft), merged at the end.")
    lora_rank: int = Field(64, ge=1, description="Rank of the LoRA.")
    gradient_checkpointing: bool = Field(False, description="Compute the U-Net's activations twice and keep few of them.")
    ema: float = Field(
        0.95, ge=0, lt=1, description="Decay of the weight average that is the target of consistency, and what is saved."
    )
    huber: float = Field(1e-3, gt=0, description="Width of the pseudo-Huber loss around 0, where it is quadratic.")

    @model_validator(mode="after")
    def _divides(self) -> DistillSettings:
        if self.method == "consistency" and self.solver_steps % self.steps:
            raise ValueError(f"solver_steps {self.solver_steps} is no multiple of steps {self.steps}; choose one")
        if not self.generated and self.generated_share == 1:
            raise ValueError("generated 0 with generated_share 1 leaves nothing to learn from; change one")
        return self

    @property
    def student(self) -> Student:
        """What the student is for, as a bundle says it."""
        grid = self.solver_steps if self.method == "consistency" else self.steps
        return Student(method=self.method, steps=self.steps, guidance=self.guidance, grid=grid)
