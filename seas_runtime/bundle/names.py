"""Names of products and defect types: folders of a data set, on every system, and keys of a bundle."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,99}")
_RESERVED = frozenset({"empty", "normal", "good"})  # keys of the conditioning, and MVTec AD's normal folder


def folder_name(name: str) -> str:
    """The name itself, if it can name a folder on every system.

    Raises:
        ValueError: it cannot.
    """
    if not _NAME.fullmatch(name) or name.endswith((" ", ".")):
        raise ValueError(f"{name!r} cannot name a folder: use letters a to z, digits, '_', '-', '+', '.' and spaces")
    return name


def defect_name(name: str) -> str:
    """The name itself, if it can name a defect type.

    Raises:
        ValueError: it cannot.
    """
    if name.casefold() in _RESERVED:
        raise ValueError(f"a defect type cannot be called {name!r}")
    return folder_name(name)
