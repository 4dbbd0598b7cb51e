"""The folders that commands take their images from, as arguments and options."""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from seas_train.data import layouts
from seas_train.data.source import FOLDERS, Source

Function = TypeVar("Function", bound=Callable[..., Any])
_PATH = click.Path(path_type=Path)
_HELP = {
    "anomalies": "Anomaly images, flat or in a folder for each defect type; in place of DATA.",
    "masks": "Their masks, arranged alike; NAME or NAME_mask for an image NAME.",
    "normals": "Normal images.",
}


def data_source(command: Function) -> Function:
    """Give a command the argument DATA, --layout, the plain folders and --name; it is called with `source`, a `Source`."""

    @functools.wraps(command)
    def sourced(*args: Any, **given: Any) -> Any:
        folders = {name: given.pop(f"{name}_folder") for name in FOLDERS}
        found = {name: folder for name, folder in folders.items() if folder is not None}
        return command(*args, source=Source(given.pop("data"), given.pop("layout"), found, given.pop("product_name")), **given)

    for name in reversed(FOLDERS):
        sourced = click.option(f"--{name}", f"{name}_folder", type=_PATH, metavar="DIR", help=_HELP[name])(sourced)
    called = click.option("--name", "product_name", metavar="TEXT", show_default="its folder's", help="The product's name.")
    sourced = called(sourced)
    choice = click.Choice(("auto", *layouts.LAYOUTS))
    sourced = click.option("--layout", type=choice, default="auto", help="How DATA is arranged.")(sourced)
    return typing.cast("Function", click.argument("data", type=_PATH, required=False)(sourced))
