"""What the commands of `seas-train` share: options made from settings models."""

from __future__ import annotations

import functools
import time
import types
import typing
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import click
from pydantic.fields import FieldInfo

from seas_runtime import voice
from seas_train.config import Settings, resolve

Function = TypeVar("Function", bound=Callable[..., Any])
NOT_STATED = "not stated"
PATH = click.Path(path_type=Path)
OUT = click.option("--out", type=PATH, required=True, metavar="DIR", help="Where the result goes.")
ESTIMATE = click.option(
    "--estimate", is_flag=True, help="Say the time, memory and disk it takes here, from one timed step; nothing is written."
)
LICENCE = click.option("--licence", metavar="TEXT", default=NOT_STATED, help="Licence of the images, kept in the result.")


class IntegersType(click.ParamType):  # type: ignore[type-arg]  # generic in new versions of click alone
    """Whole numbers with commas between them, such as 2,3."""

    name = "N,N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Parse the text; anything else is a usage error."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} found, whole numbers expected, as in 2,3", param, ctx)


class NamesType(click.ParamType):  # type: ignore[type-arg]  # as above
    """Names with commas between them, such as crack,scratch."""

    name = "NAME,NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Parse the text; an empty name is a usage error."""
        names = value if isinstance(value, tuple) else tuple(part.strip() for part in str(value).split(","))
        if not all(names):
            self.fail(f"{value!r} found, names expected, as in crack,scratch", param, ctx)
        return names


def settings_options(cls: type[Settings], only: Collection[str] = ()) -> Callable[[Function], Function]:
    """Give a command an option for every field of `cls`, or for those named, --config, --preset and --memory where there are some.

    The command is called with all of them resolved into the one argument `settings`: default < preset < memory < file
    < command line.
    """
    names = [name for name in cls.model_fields if not only or name in only]

    def decorate(command: Function) -> Function:
        @functools.wraps(command)
        def resolved(*args: Any, **given: Any) -> Any:
            preset, memory, file = given.pop("preset", None), given.pop("memory", None), given.pop("config")
            fields = {name: given.pop(name) for name in names}
            return command(*args, settings=resolve(cls, preset, file, fields, memory), **given)

        for name in reversed(names):
            resolved = _option(name, cls.model_fields[name])(resolved)
        resolved = click.option(
            "--config",
            type=PATH,
            metavar="FILE.toml",
            help="Settings as a TOML file; options given here go before it.",
        )(resolved)
        if cls.memories and not only:
            resolved = click.option(
                "--memory",
                type=click.Choice(tuple(cls.memories)),
                help="GiB of the GPU: settings with which a base of 512 pixels fits; options given here go before them.",
            )(resolved)
        if cls.presets:
            resolved = click.option("--preset", type=click.Choice(tuple(cls.presets)), help="Settings to start from.")(resolved)
        return typing.cast("Function", resolved)

    return decorate


def flag_of(name: str, field: FieldInfo) -> str:
    """The option of a setting, without what switches it off."""
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    return str(extra.get("flag", f"--{name.replace('_', '-')}"))


def _option(name: str, field: FieldInfo) -> Callable[[Function], Function]:
    flag = flag_of(name, field)
    kind = _without_none(field.annotation)
    if kind is bool:
        flag += f"/--no-{flag[2:]}"
    return click.option(
        flag,
        name,
        type=_click_type(kind),
        default=None,
        show_default=False,
        help=f"{field.description}{_shown(field.default)}",
    )


def _without_none(kind: Any) -> Any:
    if isinstance(kind, types.UnionType):
        return next(part for part in typing.get_args(kind) if part is not type(None))
    return kind


def _click_type(kind: Any) -> Any:
    if typing.get_origin(kind) is Literal:
        return click.Choice(typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return NamesType() if typing.get_args(kind)[0] is str else IntegersType()
    return kind


def _shown(default: Any) -> str:
    """The model's default as click shows its own; click's stays None, so that preset and file are heard."""
    if default is None or default == ():
        return ""
    text = repr(default) if isinstance(default, str) and not default.isalnum() else str(default)
    if isinstance(default, tuple):
        text = ",".join(map(str, default))
    if isinstance(default, bool):
        text = "on" if default else "off"
    if isinstance(default, float):
        text = f"{default:.5g}"
    return f"  [default: {text}]"


def say(line: str) -> None:
    """Say what a person should know beside the results, warnings in every manner."""
    warning = line.removeprefix("Warning: ")
    (voice.note if warning == line else voice.warn)(warning)


@contextmanager
def stopwatch(what: str, then: str = "", **facts: Any) -> Iterator[None]:
    """Tell what was done, how long it took, and the command that comes next."""
    began = time.monotonic()
    yield
    voice.tell(f"{what} in {time.monotonic() - began:.0f} s", already=False, **facts)
    if then:
        voice.note(f"next: {then}")


def already(what: str, **facts: Any) -> None:
    """Tell that all was done before."""
    voice.tell(f"already done: {what}", already=True, **facts)
