"""How pairs are sampled where nobody says it. Imports no package, so that every command line can show these numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SamplingDefaults:
    """Solver steps, guidance, mask threshold and the last steps that give masks; the values are the paper's for MVTec AD."""

    steps: int = 25
    guidance: float = 8.0
    threshold: float = 0.2
    mask_steps: int = 3


PAPER = SamplingDefaults()
