"""What a manifest says of a distilled U-Net."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator


class Student(BaseModel):
    """What a distilled U-Net was made for: so many solver steps, with `guidance` inside it, so that it is called once a step.

    A student of the method "consistency" has learned the timesteps of a run of `grid` steps, and so those of every run whose number
    of steps divides it; one of "guidance" is sampled by any number of steps of the ordinary solver.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["consistency", "guidance"]
    steps: Annotated[int, Field(ge=1)]
    guidance: Annotated[FiniteFloat, Field(ge=1, le=100)]
    grid: Annotated[int, Field(ge=1, le=100_000)]

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.grid % self.steps:
            raise ValueError(f"grid: a multiple of the {self.steps} steps expected, {self.grid} found")
        return self

    @property
    def runs(self) -> tuple[int, ...]:
        """Numbers of steps that it can be sampled by; none for any."""
        return tuple(n for n in range(1, self.grid + 1) if self.grid % n == 0) if self.method == "consistency" else ()
