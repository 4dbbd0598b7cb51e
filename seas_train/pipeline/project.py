"""The project file, `seas.toml`: the folders and settings of a product's whole road, so that nothing is typed twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seas_runtime.errors import OutputError, SettingsError
from seas_runtime.files import explained, write_atomic
from seas_train.pipeline import sections
from seas_train.toml_file import nearest, read_toml

FILE = "seas.toml"
PROJECT = "project"
KEYS: dict[str, str] = {
    "data": "The product's folder, or else the next three.",
    "anomalies": "Anomaly images, flat or in a folder for each defect type.",
    "masks": "Their masks, arranged alike.",
    "normals": "Normal images.",
    "layout": "How data is arranged, where its tree does not say it.",
    "name": "The product's name.",
    "base": "The base model: a folder, a file, a run or a hub name.",
    "revision": "Of a base on a hub.",
    "variant": "Of the base's files, such as fp16.",
    "lora": "LoRA files added to the base, as FILE or FILE:WEIGHT, one or a list.",
    "tokenizer": "Of a base that is a single file.",
    "prediction": "What the base's U-Net predicts, where its files do not say so.",
    "size": "Side of the images in pixels.",
    "out": "The bundle, NAME.plan.",
    "work": "Folder of everything in between, and of report.html.",
    "preset": "Settings that all trainings start from.",
    "memory": "GiB of the GPU.",
    "licence": "Licence of the images, kept in the bundle.",
}
"""Keys of [project], the long options of `seas-train all` without their dashes."""
_PATHS = ("data", "anomalies", "masks", "normals", "tokenizer", "out", "work")
_EXAMPLES: dict[str, tuple[str, ...]] = {
    "tune": ("steps_per_type = 800", "shots = 3"),
    "masks": ("steps_per_type = 800",),
    "distill": ("steps = 4",),
    "export": ("fp16 = true", "composites = 100"),
    "gen": ("count = 24", 'background = "real"'),
}
_SAID = {
    "tune": "any option of seas-train tune, with _ for -",
    "masks": "any option of seas-train masks",
    "distill": "with this section a student of few steps is made; any option of seas-train distill",
    "export": "fp16, photographs, composites, and the bundle's defaults: steps, guidance, threshold, mask_steps",
    "gen": "the first pairs: any option of seas-gen that says what they are",
}


@dataclass(frozen=True)
class Project:
    """What a project file says.

    Attributes:
        file: None where there is none.
        values: of [project], paths seen from where the command runs.
        sections: of the stages, by name, unchecked.
    """

    file: Path | None = None
    values: dict[str, Any] = field(default_factory=dict)
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)


def read(file: Path) -> Project:
    """Read a project file; its paths begin where it lies.

    Raises:
        SettingsError: it cannot be read, or has a section or a key of [project] that nobody knows.
    """
    if not file.is_file():
        raise SettingsError(f"{file}: no such file; `seas-train all --init` writes one")
    found = read_toml(file)
    for name, section in found.items():
        if not isinstance(section, dict):
            raise SettingsError(f"{file}: {name} found outside of the sections; put it below [{PROJECT}] or a stage's name")
        if name not in (PROJECT, *sections.NAMES):
            raise SettingsError(f"{file}: unknown section {name!r}; {nearest(name, (PROJECT, *sections.NAMES))}")
    values = found.pop(PROJECT, {})
    for key, value in values.items():
        if key not in KEYS:
            raise SettingsError(f"{file}: [{PROJECT}] unknown setting {key!r}; {nearest(key, KEYS)}")
        values[key] = _from(file.parent, key, value)
    return Project(file, values, found)


def _from(folder: Path, key: str, value: Any) -> Any:
    """A value that names a file, seen from where the command runs."""
    if key == "lora":
        return [str(folder / str(each)) for each in (value if isinstance(value, list) else [value])]
    if key in _PATHS and isinstance(value, str):
        return str(folder / Path(value).expanduser())
    if key == "base" and isinstance(value, str):
        place = folder / Path(value).expanduser()
        return str(place) if place.exists() else value  # a hub name looks like a path
    return value


def write(file: Path, values: Mapping[str, Any], given: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a commented project file with what is known already: of [project], and of stages by section.

    Raises:
        OutputError: the file is there, or cannot be written.
    """
    if file.exists():
        raise OutputError(f"{file}: exists already; change it, or name another --project")
    with explained(file, "name a file that can be written with --project"):
        write_atomic(file, template(values, given))


def template(values: Mapping[str, Any], given: Mapping[str, Mapping[str, Any]]) -> str:
    """The text that `write` writes."""
    lines = [
        "# `seas-train all` beside this file makes the bundle; --dry-run shows the commands, --estimate how long they take.",
        "# Options on its command line go before what stands here. Paths begin at this file.",
        "",
        f"[{PROJECT}]",
    ]
    needed = {} if {"anomalies", "masks", "normals"} & values.keys() else {"data": "data/bottle"}
    shown = {**needed, "base": "CompVis/stable-diffusion-v1-4", "out": "engines/bottle.plan", **values}
    for key, said in KEYS.items():
        setting = f"{key} = {_toml(shown[key])}" if key in shown else f"# {key} ="
        lines.append(f"{setting:<48}  # {said}")
    for name in sections.NAMES:
        known = [f"{key} = {_toml(value)}" for key, value in given.get(name, {}).items()]
        examples = [f"# {line}" for line in _EXAMPLES[name] if line.split(" ")[0] not in given.get(name, {})]
        head = f"# [{name}]" if name == "distill" and name not in given else f"[{name}]"
        lines += ["", f"{head:<12}  # {_SAID[name]}", *known, *examples]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value if isinstance(value, bool | int | float) else str(value))
