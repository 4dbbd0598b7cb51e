"""The bundles that come with this project, found by their names alone: `bottle.plan`, the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

PACKAGE = Path(__file__).parents[1]
PLACES = (PACKAGE / "engines", PACKAGE.parent / "engines")
"""In an installed package, and in a clone of the repository."""


def find(path: Path) -> Path:
    """`path`, or the bundle of that name which comes with this project, where `path` is a name and nothing lies there."""
    if path.name != str(path) or _lies(path):
        return path
    return next((place / path for place in PLACES if (place / path).is_dir()), path)


def _lies(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # no such name is possible: for the reader to tell
        return True


class BundlePath(click.Path):
    """A bundle's folder on the command line; the name of one that comes with this project will do."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """See `click.ParamType.convert`."""
        return find(Path(str(super().convert(value, param, ctx))))
