"""Where engines keep what they would otherwise make again at every start."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path | None:
    """`~/.cache/seas`, or `seas` in `XDG_CACHE_HOME`; None for a user without a home. It need not exist.

    A relative `XDG_CACHE_HOME` counts for nothing, as its specification says: it would be another place in every folder.
    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (given if given.is_absolute() else Path.home() / ".cache") / "seas"
    except RuntimeError:
        return None
