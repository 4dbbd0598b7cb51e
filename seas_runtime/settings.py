"""Settings of a run: what was asked for over what the bundle says, checked against each other."""

from __future__ import annotations

from dataclasses import asdict, replace
from math import isfinite
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from seas_runtime.bundle.manifest import DefectName, FolderName, Manifest
from seas_runtime.errors import SettingsError
from seas_runtime.options import SEED_BELOW, Options
from seas_runtime.sampling.masks import Gate
from seas_runtime.sampling.recipe import Plan, Sampling
from seas_runtime.sampling.solver import solver_table

ENDLESS = SEED_BELOW  # pairs: more than anybody makes, and each has a random stream of its own


class Settings(BaseModel):
    """Everything that decides the bytes of a run; two runs with equal settings make the same data.

    They are read back from `run.json`, which anybody may have written: what names a folder is checked here.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    product: FolderName
    digest: str
    backend: str
    defects: Annotated[tuple[DefectName, ...], Field(min_length=1)]
    count: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0, lt=SEED_BELOW)]
    batch: Annotated[int, Field(ge=1)]
    shard: tuple[int, int]
    steps: Annotated[int, Field(ge=1)]
    guidance: Annotated[FiniteFloat, Field(ge=1)]
    threshold: Annotated[float, Field(gt=0, lt=1)]
    mask_steps: Annotated[int, Field(ge=1)]
    min_area: Annotated[int, Field(ge=0)]
    max_area: Annotated[float, Field(gt=0, le=1)]
    retries: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _shard_exists(self) -> Self:
        if not 0 <= self.shard[0] < self.shard[1]:
            raise ValueError(f"shard {self.shard}: k of n with 0 <= k < n expected")
        return self

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


def recipe(manifest: Manifest, options: Options, start: int = 0) -> tuple[Plan, Sampling]:
    """Which pairs, from the index `start` on, options ask for, and how to make them; without a count there is no end.

    Raises:
        SettingsError: see `resolve`; a start that no pair has.
    """
    if not 0 <= start < ENDLESS:
        raise SettingsError(f"start {start} found, 0 to {ENDLESS - 1} expected")
    endless = options.count is None and options.per_type is None
    settings = resolve(manifest, "any", replace(options, count=ENDLESS) if endless else options)
    plan = replace(settings.plan(), start=start, count=min(start + settings.count, ENDLESS))
    return plan, settings.sampling(manifest)


def resolve(manifest: Manifest, backend: str, options: Options) -> Settings:
    """Settings from what was asked for over the bundle's defaults.

    Args:
        manifest: the bundle's.
        backend: the name of the backend.
        options: what was asked for; defect types take turns in the bundle's order, whatever order they are asked for in.

    Raises:
        SettingsError: an unknown type, both or none of the counts, steps that the schedule does not have, or
            mask steps above the steps.
    """
    known = manifest.defect_names
    if unknown := [name for name in options.defects if name not in known]:
        raise SettingsError(f"--defect {unknown[0]!r} found, one of {', '.join(known)} expected ({manifest.product})")
    if (options.count is None) == (options.per_type is None):
        raise SettingsError("give the number of pairs: either --count N (in all) or --per-type N (of each type)")
    defects = tuple(name for name in known if not options.defects or name in options.defects)
    values = {name: value for name, value in asdict(options).items() if value is not None and name != "per_type"}
    values["count"] = options.count or (options.per_type or 0) * len(defects)
    steps = values.setdefault("steps", manifest.defaults.steps)
    if not 1 <= steps < manifest.schedule.train_steps:
        raise SettingsError(f"--steps {steps} found, 1 to {manifest.schedule.train_steps - 1} expected")
    defaults = {**manifest.defaults.model_dump(), "mask_steps": min(manifest.defaults.mask_steps, steps)}
    values = {**defaults, **values, "defects": defects}
    if wrong := [name for name, value in values.items() if isinstance(value, float) and not isfinite(value)]:
        raise SettingsError(f"--{wrong[0].replace('_', '-')} {values[wrong[0]]} found, a number expected")
    if values["mask_steps"] > steps:
        raise SettingsError(f"--mask-steps {values['mask_steps']} found, at most the {steps} steps expected")
    return Settings(product=manifest.product, digest=manifest.digest, backend=backend, **values)
