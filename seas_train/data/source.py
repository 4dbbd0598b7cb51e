"""Where a command takes its images from: a product's folder in a known layout, or three plain folders."""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from seas_runtime.errors import SettingsError
from seas_train.data import layouts
from seas_train.data.layouts import Product

Function = TypeVar("Function", bound=Callable[..., Any])
_PATH = click.Path(path_type=Path)
_FOLDERS = {
    "anomalies": "Anomaly images, flat or in a folder for each defect type; in place of DATA.",
    "masks": "Their masks, arranged alike; NAME or NAME_mask for an image NAME.",
    "normals": "Normal images.",
}


@dataclass(frozen=True)
class Source:
    """What the command line says of the data: `data` with `layout`, or the folders by option name."""

    data: Path | None
    layout: str
    folders: dict[str, Path]

    def scan(self) -> Product:
        """List the product's files, with everything that does not fit.

        Raises:
            SettingsError: Neither a product's folder nor all three plain folders are given, or both.
            DataError: As `layouts.scan`.
        """
        if self.data is not None:
            if self.folders:
                raise SettingsError(
                    f"DATA ({self.data}) and --{next(iter(self.folders))} given, expected one of them; leave one out"
                )
            return layouts.scan(self.data, self.layout)
        missing = [f"--{name}" for name in _FOLDERS if name not in self.folders]
        if missing:
            raise SettingsError(
                f"no {' and no '.join(missing)} given, expected the folder DATA or all of --anomalies, --masks "
                "and --normals; give one or the other"
            )
        if self.layout not in ("auto", "folders"):
            raise SettingsError(f"--layout {self.layout} and --anomalies given, expected DATA for a layout; leave one out")
        return layouts.scan_folders(**self.folders)

    def read(self) -> Product:
        """List the product's files.

        Raises:
            SettingsError: As `scan`.
            DataError: As `scan`, and the first thing that does not fit.
        """
        return layouts.faultless(self.scan())


def data_source(command: Function) -> Function:
    """Give a command the argument DATA, --layout and the plain folders; it is called with `source`, a `Source`."""

    @functools.wraps(command)
    def sourced(*args: Any, **given: Any) -> Any:
        folders = {name: given.pop(f"{name}_folder") for name in _FOLDERS}
        found = {name: folder for name, folder in folders.items() if folder is not None}
        return command(*args, source=Source(given.pop("data"), given.pop("layout"), found), **given)

    for name, text in reversed(_FOLDERS.items()):
        sourced = click.option(f"--{name}", f"{name}_folder", type=_PATH, metavar="DIR", help=text)(sourced)
    choice = click.Choice(("auto", *layouts.LAYOUTS))
    sourced = click.option("--layout", type=choice, default="auto", help="How DATA is arranged.")(sourced)
    return typing.cast("Function", click.argument("data", type=_PATH, required=False)(sourced))
