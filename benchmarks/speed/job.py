"""What a candidate of the latency benchmark is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from seas_runtime.sampling.defaults import PAPER

STEPS, GUIDANCE, MASK_STEPS, THRESHOLD = PAPER.steps, PAPER.guidance, PAPER.mask_steps, PAPER.threshold


@dataclass(frozen=True)
class Job:
    """`count` pairs in batches of `batch`, a divisor; `work` holds the run and PRESET.plan."""

    work: Path
    preset: str
    batch: int
    count: int

    @property
    def batches(self) -> int:
        """How many batches the pairs are."""
        return self.count // self.batch


class Candidate(Protocol):
    """Ready to work; the methods are timed."""

    def unet(self) -> object:
        """One U-Net call of a guided step."""

    def mask(self) -> object:
        """One mask probability from latent and taps."""

    def decode(self) -> object:
        """One image."""

    def pairs(self) -> object:
        """Whole pairs."""
