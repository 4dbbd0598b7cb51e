"""Command-line options made from the fields of a settings model, so that each setting is described once."""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import click
from pydantic.fields import FieldInfo

from seas_train.config import Settings, resolve

Function = TypeVar("Function", bound=Callable[..., Any])


class IntegersType(click.ParamType):  # type: ignore[type-arg]  # generic in new versions of click alone
    """Whole numbers with commas between them, such as 2,3."""

    name = "N,N"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Parse the text; anything else is a usage error."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} found, whole numbers expected, as in 2,3", param, ctx)


def settings_options(cls: type[Settings]) -> Callable[[Function], Function]:
    """Give a command an option for every field of `cls`, --config, and --preset where there are presets.

    The command is called with all of them resolved into the one argument `settings`: default < preset < file
    < command line.
    """

    def decorate(command: Function) -> Function:
        @functools.wraps(command)
        def resolved(*args: Any, **given: Any) -> Any:
            preset, file = given.pop("preset", None), given.pop("config")
            fields = {name: given.pop(name) for name in cls.model_fields}
            return command(*args, settings=resolve(cls, preset, file, fields), **given)

        for name, field in reversed(cls.model_fields.items()):
            resolved = _option(name, field)(resolved)
        resolved = click.option(
            "--config",
            type=click.Path(path_type=Path),
            metavar="FILE.toml",
            help="Settings as a TOML file; options given here go before it.",
        )(resolved)
        if cls.presets:
            names = click.Choice(tuple(cls.presets))
            resolved = click.option("--preset", type=names, help="Settings to start from.")(resolved)
        return typing.cast("Function", resolved)

    return decorate


def _option(name: str, field: FieldInfo) -> Callable[[Function], Function]:
    flag = f"--{name.replace('_', '-')}"
    kind = _without_none(field.annotation)
    if kind is bool:
        flag += f"/--no-{flag[2:]}"
    return click.option(
        flag,
        name,
        type=_click_type(kind),
        default=None,
        show_default=_shown(field.default),
        help=field.description,
    )


def _without_none(kind: Any) -> Any:
    if isinstance(kind, types.UnionType):
        return next(part for part in typing.get_args(kind) if part is not type(None))
    return kind


def _click_type(kind: Any) -> Any:
    if typing.get_origin(kind) is Literal:
        return click.Choice(typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return IntegersType()
    return kind


def _shown(default: Any) -> str | bool:
    if default is None:
        return False
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, float):
        return f"{default:.5g}"
    return repr(default) if isinstance(default, str) and not default.isalnum() else str(default)
