"""A command whose options may stand in a project file too: the command line goes before the file."""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from seas_runtime import voice
from seas_runtime.errors import SettingsError
from seas_train.options import PATH
from seas_train.pipeline import project
from seas_train.pipeline.project import KEYS, Project

Function = TypeVar("Function", bound=Callable[..., Any])
OF_STAGES = {
    "fp16": ("export", "fp16"),
    "photographs": ("export", "photographs"),
    "composites": ("export", "composites"),
    "count": ("gen", "count"),
    "distill": ("distill", "steps"),
    "train-share": ("tune", "train_share"),
}
"""Section and setting of the options that are a stage's."""
_FOLDERS = ("anomalies", "masks", "normals")


def project_file(command: Function) -> Function:
    """Give a command --project and --init, and what its options lack from the file.

    It is called with `given`, the settings of the stages by section, command line before file.
    """

    @functools.wraps(command)
    def filled(*args: Any, **words: Any) -> Any:
        file, init = words.pop("project"), words.pop("init")
        typed = _typed()
        of_stages = {name: words.pop(name.replace("-", "_")) for name in OF_STAGES}
        if init:
            return _init(file or Path(project.FILE), typed)
        found = _found(file, typed)
        sections = {name: dict(section) for name, section in found.sections.items()}
        for name, (section, setting) in OF_STAGES.items():
            if of_stages[name] is not None:
                sections.setdefault(section, {})[setting] = of_stages[name]
        if "count" in typed:
            sections["gen"].pop("per_type", None)
        return command(*args, given=sections, **{**words, **_converted(found, typed)})

    init = click.option("--init", is_flag=True, help=f"Write a commented {project.FILE} with the options given here, and stop.")
    called = click.option(
        "--project",
        type=PATH,
        metavar="FILE",
        show_default=f"{project.FILE} here, where no images are named",
        help="Folders and settings of all stages; options given here go before them.",
    )
    return typing.cast("Function", called(init(filled)))


def _key(parameter: click.Parameter) -> str:
    """What the project file calls it: its long option without dashes; the argument is `data`."""
    longest = max(parameter.opts, key=len)
    return longest.removeprefix("--")


def _typed() -> dict[str, Any]:
    """What the command line says, by the keys of the project file."""
    context = click.get_current_context()
    typed = {
        _key(parameter): context.params[parameter.name]
        for parameter in context.command.params
        if parameter.name in context.params and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    }
    return {key: value for key, value in typed.items() if key in KEYS or key in OF_STAGES}


def _init(file: Path, typed: Mapping[str, Any]) -> None:
    sections: dict[str, dict[str, Any]] = {}
    for name, (section, setting) in OF_STAGES.items():
        if name in typed:
            sections.setdefault(section, {})[setting] = typed[name]
    project.write(file, {key: _written(file, key, value) for key, value in typed.items() if key in KEYS}, sections)
    voice.tell(f"{file}: written; look through it, then `seas-train all --dry-run`", project=file)


def _written(file: Path, key: str, value: Any) -> Any:
    """A value as the file has it: what names a file in it begins where it lies."""
    beside = file.absolute().parent == Path.cwd()
    if key == "lora":
        return [f"{lora.file if beside else lora.file.absolute()}:{lora.weight!r}" for lora in value]
    if isinstance(value, Path) or (key == "base" and Path(value).exists()):
        return str(value if beside else Path(value).absolute())
    return value


def _found(file: Path | None, typed: Mapping[str, Any]) -> Project:
    if file is not None:
        return project.read(file)
    here = Path(project.FILE)
    return project.read(here) if here.is_file() and not {"data", *_FOLDERS} & typed.keys() else Project()


def _converted(found: Project, typed: Mapping[str, Any]) -> dict[str, Any]:
    """What the file says and the command line does not, as the options' own types make of it.

    Raises:
        SettingsError: a value does not fit.
    """
    context = click.get_current_context()
    parameters = {_key(parameter): parameter for parameter in context.command.params}
    passed_over = set(typed)
    if "data" in typed:
        passed_over |= {*_FOLDERS, "layout"}
    elif set(_FOLDERS) & typed.keys():
        passed_over |= {"data", "layout"}
    if "base" in typed:
        passed_over |= {"revision", "variant", "lora", "tokenizer", "prediction"}
    values = {}
    for key, value in found.values.items():
        if key in passed_over:
            continue
        parameter = parameters[key]
        given = [str(each) for each in value] if parameter.multiple else str(value)
        try:
            values[str(parameter.name)] = parameter.type_cast_value(context, given)
        except click.BadParameter as error:
            raise SettingsError(f"{found.file}: [project] {key}: {error.message}") from error
    return values
