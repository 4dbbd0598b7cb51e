"""The settings of each stage, as the sections of a project file give them, checked before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, TypeVar

import click
from pydantic import BeforeValidator, Field

from seas_runtime.bundle.manifest import COMPOSITE_ANOMALIES, MAX_ANOMALIES, MAX_COMPOSITES
from seas_runtime.bundle.schema import Interval
from seas_runtime.commands import interval_of
from seas_runtime.errors import SettingsError
from seas_runtime.options import Options
from seas_train.config import COMPOSITES, MaskSettings, Settings, TuneSettings, resolve
from seas_train.distill.settings import DistillSettings
from seas_train.options import flag_of
from seas_train.toml_file import nearest

NAMES = ("tune", "masks", "distill", "export", "gen")
Given = Mapping[str, Any]
"""What a section says, by the names of its settings."""
NO_PAIRS = ("shard", "per_tar")  # of seas-gen: a first sheet needs all pairs, as pictures
DISTILL_PRESETS = {"tiny": "demo", "published": "paper"}  # which `distill` has none of

S = TypeVar("S", bound=Settings)


def _interval(value: Any) -> tuple[float, float]:
    try:
        return interval_of(value)
    except click.BadParameter as error:
        raise ValueError(error.message) from error


EXPORTED: Given = {"photographs": True, "composites": COMPOSITES}
"""What `seas-train all` exports besides, where nobody says otherwise: pairs that start from composites help a segmenter more."""


class ExportOptions(Settings):
    """What a section says of `seas-export`, which training does not import; a test holds this against that command."""

    fp16: bool = Field(False, description="Weights in half precision, and graphs that compute in it.")
    steps: int | None = Field(None, ge=1, le=999, description="Default solver steps of the bundle.")
    guidance: float | None = Field(None, ge=1, le=100, description="Default guidance scale of the bundle.")
    guidance_interval: Annotated[Interval | None, BeforeValidator(_interval)] = Field(
        None, description="Default part of the noise schedule that is guided."
    )
    threshold: float | None = Field(None, gt=0, lt=1, description="Default mask threshold.")
    mask_steps: int | None = Field(None, ge=1, description="Default number of last steps that vote on the mask.")
    photographs: bool = Field(False, description="Take the normal images' photographs along.")
    composites: int = Field(0, ge=0, le=MAX_COMPOSITES, description="Composites of each type to take along.")
    composite_anomalies: float = Field(
        COMPOSITE_ANOMALIES, ge=1, le=MAX_ANOMALIES, description="Anomalies of a composite in the mean."
    )


@dataclass(frozen=True)
class Sections:
    """Every stage's settings, and its words on a command line.

    Attributes:
        tune, masks, distill, export, gen: what the stages compute with; without distill there is no student.
        words: by the name of the section.
    """

    tune: TuneSettings
    masks: MaskSettings
    distill: DistillSettings | None
    export: ExportOptions
    gen: Options
    words: dict[str, tuple[str, ...]]


def checked(given: Mapping[str, Given], preset: str | None = None, memory: str | None = None) -> Sections:
    """Check what is given of every section.

    Args:
        given: by the name of the section; one that is missing says nothing, and without "distill" nothing is distilled.
        preset: of all trainings that do not name their own.
        memory: GiB of the GPU, likewise.

    Raises:
        SettingsError: an unknown name, a value that does not fit, or settings of different stages that do not.
    """
    asked = {name: {**_usual(name, preset, memory), **given.get(name, {})} for name in ("tune", "masks", "distill")}
    student = "distill" in given
    if student:
        asked["masks"].setdefault("look", "final")
    export, gen = {**EXPORTED, **given.get("export", {})}, given.get("gen", {})
    if "per_type" not in gen:
        gen = {"count": 24, **gen}
    found = Sections(
        tune=_resolved("tune", TuneSettings, asked["tune"]),
        masks=_resolved("masks", MaskSettings, asked["masks"]),
        distill=_resolved("distill", DistillSettings, asked["distill"]) if student else None,
        export=_resolved("export", ExportOptions, export),
        gen=_generation(gen),
        words={
            "tune": (*_words(TuneSettings, asked["tune"]),),
            "masks": (*_words(MaskSettings, asked["masks"]),),
            "distill": (*_words(DistillSettings, asked["distill"]),),
            "export": (*_words(ExportOptions, {name: value for name, value in export.items() if value is not False}),),
            "gen": (*_words_of_generation(gen),),
        },
    )
    _agree(found)
    return found


def _usual(section: str, preset: str | None, memory: str | None) -> dict[str, str]:
    if section == "distill":
        return {} if preset is None else {"preset": DISTILL_PRESETS.get(preset, preset)}
    return {key: value for key, value in (("preset", preset), ("memory", memory)) if value is not None}


def _resolved(section: str, cls: type[S], given: Given) -> S:
    values = dict(given)
    if cls is DistillSettings and "cache_latents" in values:
        raise SettingsError(f"[{section}] cache_latents found, which distilling does anyhow; leave it out")
    preset, memory = (values.pop(key, None) if getattr(cls, kind) else None for key, kind in _STARTS.items())
    if memory is not None and str(memory) not in cls.memories:
        raise SettingsError(f"[{section}] memory {memory!r} found, one of {', '.join(cls.memories)} expected")
    try:
        return resolve(cls, preset, None, values, None if memory is None else str(memory))
    except SettingsError as error:
        raise SettingsError(f"[{section}] {error.message}") from error


_STARTS = {"preset": "presets", "memory": "memories"}


def _generation(given: Given) -> Options:
    known = [option.name for option in fields(Options) if option.name not in NO_PAIRS]
    for name in given:
        if name not in known:
            raise SettingsError(f"[gen] unknown setting {name!r}; {nearest(name, known)}")
    if {"count", "per_type"} <= given.keys():
        raise SettingsError("[gen] count and per_type found, one of them expected; leave one out")
    try:
        return Options(**given)
    except SettingsError as error:
        raise SettingsError(f"[gen] {error.message}") from error


def _agree(found: Sections) -> None:
    """Refuse what a stage would be refused for by what another one leaves.

    Raises:
        SettingsError: in one line, with what to change.
    """
    export, gen = found.export, found.gen
    if gen.background == "real" and not export.photographs:
        raise SettingsError("[gen] background 'real' needs the photographs in the bundle; leave --no-photographs out")
    if gen.init == "composite" and not export.composites:
        raise SettingsError("[gen] init 'composite' needs composites in the bundle, 0 asked for; ask for more")
    if export.mask_steps and export.steps and export.mask_steps > export.steps:
        raise SettingsError(f"[export] mask_steps {export.mask_steps} is more than steps {export.steps}; choose at most as many")
    if found.distill is not None:
        _fits(found.distill, {"export": export, "gen": gen})


def _fits(distill: DistillSettings, stages: Mapping[str, ExportOptions | Options]) -> None:
    student = distill.student
    for section, stage in stages.items():
        if stage.guidance not in (None, student.guidance) or stage.guidance_interval is not None:
            raise SettingsError(f"[{section}] guidance found, but the student has {student.guidance:g} inside; leave it out")
        if stage.steps is not None and student.runs and stage.steps not in student.runs:
            known = ", ".join(map(str, student.runs))
            raise SettingsError(f"[{section}] steps {stage.steps} found, but the student knows {known}; take one of these")


def _words(cls: type[Settings], given: Given) -> Iterator[str]:
    """Options of a training or of the export."""
    for name, value in given.items():
        flag = flag_of(name, cls.model_fields[name]) if name in cls.model_fields else f"--{name}"  # preset and memory are none
        if isinstance(value, bool):
            yield flag if value else f"--no-{flag[2:]}"
        else:
            yield from (flag, _text(value, ":" if name == "guidance_interval" else ","))


def _words_of_generation(given: Given) -> Iterator[str]:
    about = {option.name: option.metadata for option in fields(Options)}
    for name, value in given.items():
        flag = str(about[name].get("flag", f"--{name.replace('_', '-')}"))
        for each in value if name == "defects" and not isinstance(value, str) else [value]:
            yield from (flag, _text(each, ":"))


def _text(value: Any, between: str) -> str:
    return between.join(map(str, value)) if isinstance(value, list | tuple) else str(value)
