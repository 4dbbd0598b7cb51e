"""Settings of a run: what was asked for over what the bundle says, checked against each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from math import isfinite
from typing import Annotated, Any, Literal, Self, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from seas_runtime.bundle.manifest import Manifest, Place
from seas_runtime.bundle.schema import WHOLE, DefectName, FolderName, Interval
from seas_runtime.bundle.student import Student
from seas_runtime.errors import SettingsError
from seas_runtime.options import SEED_BELOW, Options
from seas_runtime.sampling.background import first_step, least_strength
from seas_runtime.sampling.frame import Frame, frame_of, placed
from seas_runtime.sampling.masks import Gate, MaskRule
from seas_runtime.sampling.pairs import NORMAL, NORMALS_FROM
from seas_runtime.sampling.recipe import Plan, Sampling
from seas_runtime.sampling.solver import guided_steps, solver_table

COMPOSITE_STRENGTH = 0.4
"""Of pairs that start from a composite, where the command line says nothing; more where so few steps need it."""
ENDLESS = NORMALS_FROM  # pairs: more than anybody makes, and each has a random stream of its own
Value = TypeVar("Value")
Probability = Annotated[float, Field(gt=0, lt=1)]
Area = Annotated[int, Field(ge=0)]
Overlap = Annotated[float, Field(ge=0, le=1)]


class Settings(BaseModel):
    """Everything that decides the bytes of a run; two runs with equal settings make the same data.

    They are read back from `run.json`, which anybody may have written: what names a folder is checked here.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    product: FolderName
    digest: str
    backend: str
    defects: Annotated[tuple[DefectName, ...], Field(min_length=1)]
    count: Annotated[int, Field(ge=0)]
    normals: Annotated[int, Field(ge=0)] = 0
    seed: Annotated[int, Field(ge=0, lt=SEED_BELOW)]
    batch: Annotated[int, Field(ge=1)]
    shard: tuple[int, int]
    steps: Annotated[int, Field(ge=1)]
    guidance: Annotated[FiniteFloat, Field(ge=1)]
    guidance_interval: Interval = WHOLE
    threshold: Probability | dict[DefectName, Probability]  # one for each type where they differ
    mask_steps: Annotated[int, Field(ge=1)]
    clean: Annotated[int, Field(ge=0)] = 0
    background: Literal["generated", "real"] = "generated"
    init: Literal["normal", "composite"] = "normal"
    strength: Annotated[float, Field(gt=0, le=1)] = 1.0
    mask: Literal["branch", "composite"] = "branch"
    shape: Literal["network", "photograph"] = "network"
    min_area: Area | dict[DefectName, Area]
    min_agreement: Overlap | dict[DefectName, Overlap] = 0.0
    max_area: Annotated[float, Field(gt=0, le=1)]
    retries: Annotated[int, Field(ge=0)]
    per_tar: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _shard_exists(self) -> Self:
        if not 0 <= self.shard[0] < self.shard[1]:
            raise ValueError(f"shard {self.shard}: k of n with 0 <= k < n expected")
        return self

    def plan(self) -> Plan:
        """The pairs to make."""
        return Plan(self.defects, self.seed, self.count, self.batch, self.shard)

    def normal_plan(self) -> Plan:
        """The normal images to make."""
        return Plan((NORMAL,), self.seed, self.normals, self.batch, self.shard)

    def sampling(self, manifest: Manifest) -> Sampling:
        """How to make them."""
        table = solver_table(manifest.schedule, self.steps)
        real, composite = self.background == "real", self.init == "composite"
        first = first_step(table, self.strength) if real or composite else None
        rules = {name: self._rule(name) for name in self.defects}
        guidance = self.guidance if manifest.student is None else 1.0  # a student has it inside
        return Sampling(
            table,
            guidance,
            guided_steps(table, guidance, self.guidance_interval, first or 0),
            self.mask_steps if manifest.look is None else 0,
            rules,
            self.retries,
            first_step=first,
            composites=composite,
            placed_masks=self.mask == "composite",
            keeps_background=real,
            frame=self.frame(manifest),
            look=manifest.look,
        )

    def frame(self, manifest: Manifest) -> Frame | None:
        """What of the network's square is written; None for all of it."""
        if self.shape == "network" or manifest.fitting is None:
            return None
        return frame_of(manifest.fitting, manifest.geometry.image_size)

    def places(self, manifest: Manifest) -> tuple[Place, ...]:
        """Where pictures that start from each normal image lie on its photograph; empty where the bundle does not know."""
        frame, side = self.frame(manifest), manifest.geometry.image_size
        return tuple(placed(place, frame, side) for place in manifest.places or ())

    def _rule(self, defect: str) -> MaskRule:
        gate = Gate(_of(self.min_area, defect), self.max_area, _of(self.min_agreement, defect))
        return MaskRule(_of(self.threshold, defect), gate, self.clean)


def _of(value: Value | dict[str, Value], defect: str) -> Value:
    return value[defect] if isinstance(value, dict) else value


def _together(values: dict[str, Value]) -> Value | dict[str, Value]:
    """One value where all types have the same."""
    first, *others = values.values()
    return first if all(other == first for other in others) else values


def recipe(manifest: Manifest, options: Options, start: int = 0) -> tuple[Plan, Sampling]:
    """Which pairs, from the index `start` on, options ask for, and how to make them; without a count there is no end.

    Raises:
        SettingsError: see `resolve`; a start that no pair has; normal images, which are no pairs.
    """
    if options.normals:
        raise SettingsError(f"normals {options.normals} found, but these are pairs alone; leave it out and see Generator.normals")
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
        SettingsError: an unknown type, both or none of the counts, steps that the schedule does not have, mask steps above the
            steps, a real background of a bundle without photographs, composites of one without them, a strength without either,
            a guidance interval without a step in it, or what a student was not trained for.
    """
    known = manifest.defect_names
    if unknown := [name for name in options.defects if name not in known]:
        raise SettingsError(f"--defect {unknown[0]!r} found, one of {', '.join(known)} expected ({manifest.product})")
    if (options.count is None) == (options.per_type is None) and (options.count or not options.normals):
        raise SettingsError(
            "give the number of pairs: either --count N (in all) or --per-type N (of each type); "
            "or that of normal images: --normals N"
        )
    defects = tuple(name for name in known if not options.defects or name in options.defects)
    values = {name: value for name, value in asdict(options).items() if value is not None and name != "per_type"}
    values["count"] = options.count or (options.per_type or 0) * len(defects)
    values["init"], values["background"] = _start(manifest, options)
    steps = values.setdefault("steps", _steps(manifest, values, options))
    if not 1 <= steps < manifest.schedule.train_steps:
        raise SettingsError(f"--steps {steps} found, 1 to {manifest.schedule.train_steps - 1} expected")
    defaults = {**manifest.defaults.model_dump(), "mask_steps": min(manifest.defaults.mask_steps, steps)}
    values = {**defaults, **values, "defects": defects}
    if wrong := [name for name, value in values.items() if isinstance(value, float) and not isfinite(value)]:
        raise SettingsError(f"--{wrong[0].replace('_', '-')} {values[wrong[0]]} found, a number expected")
    if values["mask_steps"] > steps:
        raise SettingsError(f"--mask-steps {values['mask_steps']} found, at most the {steps} steps expected")
    if manifest.look is not None and (values["mask_steps"] != 1 or options.min_agreement):
        raise SettingsError(
            "--mask-steps or --min-agreement found, but this bundle's masks are of one look at the finished picture; leave it out"
        )
    values["strength"] = _strength(manifest, values, options)
    if manifest.student is not None:
        _check_student(manifest.student, values, options)
    elif values["guidance"] == 1 and options.guidance_interval:
        raise SettingsError("--guidance-interval found with guidance 1, which guides no step; leave it out, or give --guidance")
    values["mask"] = _mask(values["init"], options)
    values |= _masking(manifest, options, defects) | {"shape": _shape(manifest, options)}
    settings = Settings(product=manifest.product, digest=manifest.digest, backend=backend, **values)
    settings.sampling(manifest)
    return settings


def _check_student(student: Student, values: Mapping[str, Any], options: Options) -> None:
    """Refuse what a student was not trained for."""
    trained = f"this bundle's U-Net was distilled for {student.steps} steps with guidance {student.guidance:g} inside"
    if values["guidance"] != student.guidance:
        raise SettingsError(f"--guidance {values['guidance']:g} found, but {trained}; leave it out")
    if options.guidance_interval is not None:
        raise SettingsError(f"--guidance-interval found, but {trained}; leave it out")
    if student.runs and values["steps"] not in student.runs:
        known = ", ".join(map(str, student.runs))
        raise SettingsError(f"--steps {values['steps']} found, but {trained} and knows the timesteps of {known}; take one of these")


def _start(manifest: Manifest, options: Options) -> tuple[str, str]:
    """What pairs start from and what is around their anomalies: what was asked for, else composites where the bundle has them."""
    init = options.init or ("composite" if manifest.composites else "normal")
    background = options.background or ("real" if init == "composite" and manifest.photographs else "generated")
    if background == "real" and not manifest.photographs:
        raise SettingsError(
            "--background real needs photographs of the normal images, and the bundle has none; "
            "export it with seas-export --photographs"
        )
    if init == "composite" and not manifest.composites:
        raise SettingsError(
            "--init composite needs training anomalies placed on normal images, and the bundle has none; "
            "export it with seas-export --composites 100"
        )
    return init, background


def _steps(manifest: Manifest, values: Mapping[str, Any], options: Options) -> int:
    """The bundle's solver steps; of a student that begins late, so many that as many are left as it was made for, if it can."""
    steps, student = manifest.defaults.steps, manifest.student
    if student is None:
        return steps
    share = _share(values, options)
    for more in student.runs:
        levels = solver_table(manifest.schedule, more).timesteps
        if more >= steps and np.count_nonzero(levels <= share * levels[0]) >= min(steps, student.steps):
            return more
    return max((steps, *student.runs))


def _share(values: Mapping[str, Any], options: Options) -> float:
    """How much noise is asked for, whatever the steps are."""
    return options.strength or (COMPOSITE_STRENGTH if values["init"] == "composite" else 1.0)


def _strength(manifest: Manifest, values: Mapping[str, Any], options: Options) -> float:
    """How much noise pairs start with: all of it without a picture to start from."""
    composite = values["init"] == "composite"
    if not (composite or values["background"] == "real"):
        if options.strength not in (None, 1):
            raise SettingsError(
                f"--strength {options.strength} found without a picture to start from; add --background real or --init composite"
            )
        return 1.0
    table = solver_table(manifest.schedule, values["steps"])
    strength = options.strength or max(_share(values, options), least_strength(table))
    first_step(table, strength)
    return strength


def _mask(init: str, options: Options) -> str:
    """Whose masks pairs have: a composite's own where nothing else is asked for."""
    if options.mask == "composite" and init != "composite":
        raise SettingsError("--mask composite found without composites to start from; add --init composite")
    return options.mask or ("composite" if init == "composite" else "branch")


def _shape(manifest: Manifest, options: Options) -> str:
    """The shape asked for, else without the bars of what was padded.

    Raises:
        SettingsError: that of photographs of which the bundle knows nothing.
    """
    if options.shape == "photograph" and manifest.fitting is None:
        raise SettingsError(
            "--shape photograph needs a bundle that says how photographs were fitted, and this one was made before; tune and "
            "export again, or leave it out"
        )
    padded = manifest.fitting is not None and manifest.fitting.fit == "pad"
    return options.shape or ("photograph" if padded else "network")


def _masking(manifest: Manifest, options: Options, defects: tuple[str, ...]) -> dict[str, object]:
    """Threshold and limits: what was asked for, else what the bundle knows of each type, else what it says of all."""
    known = {defect.name: defect for defect in manifest.defects if defect.name in defects}
    pixels = manifest.geometry.image_size**2
    threshold, area, agreement = options.threshold, options.min_area, options.min_agreement
    return {
        "threshold": _together({n: threshold or d.threshold or manifest.defaults.threshold for n, d in known.items()}),
        "min_area": _together({n: area or max(1, round((d.min_area or 0) * pixels)) for n, d in known.items()}),
        "min_agreement": _together({n: (d.agreement or 0.0) if agreement is None else agreement for n, d in known.items()}),
    }
