"""Settings of a run: what was asked for over what the bundle says, checked against each other."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from pydantic import BaseModel, ConfigDict

from seas_runtime.bundle.manifest import Manifest
from seas_runtime.errors import SettingsError
from seas_runtime.sampling.masks import Gate
from seas_runtime.sampling.pairs import Plan
from seas_runtime.sampling.sampler import Sampling
from seas_runtime.sampling.solver import solver_table


class Settings(BaseModel):
    """Everything that decides the bytes of a run; two runs with equal settings make the same data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    product: str
    digest: str
    backend: str
    defects: tuple[str, ...]
    count: int
    seed: int
    batch: int
    shard: tuple[int, int]
    steps: int
    guidance: float
    threshold: float
    mask_steps: int
    min_area: int
    max_area: float
    retries: int

    def plan(self) -> Plan:
        """The pairs to make."""
        return Plan(self.defects, self.seed, self.count, self.batch, self.shard)

    def sampling(self, manifest: Manifest) -> Sampling:
        """How to make them."""
        return Sampling(
            table=solver_table(manifest.schedule, self.steps),
            guidance=self.guidance,
            mask_steps=self.mask_steps,
            threshold=self.threshold,
            gate=Gate(self.min_area, self.max_area),
            retries=self.retries,
        )


def resolve(
    manifest: Manifest,
    backend: str,
    *,
    defects: Sequence[str],
    count: int | None,
    per_type: int | None,
    **options: Any,
) -> Settings:
    """Settings from the command line over the bundle's defaults.

    Args:
        manifest: the bundle's.
        backend: the name of the backend.
        defects: types to make, all of the bundle's if empty; they take turns in the bundle's order.
        count: pairs in all.
        per_type: pairs of each type, instead of `count`.
        options: the other fields of `Settings` by name; None takes the bundle's default.

    Raises:
        SettingsError: an unknown type, both or none of the counts, steps that the schedule does not have, or
            mask steps above the steps.
    """
    if unknown := [name for name in defects if name not in manifest.defect_names]:
        known = ", ".join(manifest.defect_names)
        raise SettingsError(f"--defect {unknown[0]!r} found, one of {known} expected ({manifest.product})")
    if (count is None) == (per_type is None):
        raise SettingsError("give the number of pairs: either --count N (in all) or --per-type N (of each type)")
    chosen = tuple(name for name in manifest.defect_names if not defects or name in defects)
    defaults = manifest.defaults
    steps = defaults.steps if options["steps"] is None else options["steps"]
    if not 1 <= steps < manifest.schedule.train_steps:
        raise SettingsError(f"--steps {steps} found, 1 to {manifest.schedule.train_steps - 1} expected")
    fallback = {**defaults.model_dump(), "mask_steps": min(defaults.mask_steps, steps)}
    values = {name: fallback[name] if value is None else value for name, value in options.items()}
    if wrong := [name for name, value in values.items() if isinstance(value, float) and not isfinite(value)]:
        raise SettingsError(f"--{wrong[0].replace('_', '-')} {values[wrong[0]]} found, a number expected")
    if values["mask_steps"] > steps:
        raise SettingsError(f"--mask-steps {values['mask_steps']} found, at most the {steps} steps expected")
    return Settings(
        product=manifest.product,
        digest=manifest.digest,
        backend=backend,
        defects=chosen,
        count=count or (per_type or 0) * len(chosen),
        **values,
    )
