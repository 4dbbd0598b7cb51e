"""Files of settings: how they are read, and what is said of a name in them that nobody knows."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from seas_runtime.errors import SettingsError


def read_toml(file: Path) -> dict[str, Any]:
    """What a TOML file holds.

    Raises:
        SettingsError: it cannot be read, or is none.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"cannot read settings from {file}: {error}; expected a TOML file") from error


def nearest(name: str, known: Iterable[str]) -> str:
    """What to do about an unknown name: the known one that is most like it, or all of them where none is."""
    names = list(known)
    found = difflib.get_close_matches(name.replace("-", "_"), names, n=1)
    return f"did you mean {found[0]!r}?" if found else f"known: {', '.join(names)}"
