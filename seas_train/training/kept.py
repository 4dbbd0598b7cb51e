"""The folders of a checkpoint by their names, for who must know of them without PyTorch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

CURRENT, NEXT, PREVIOUS = "checkpoint", "checkpoint.next", "checkpoint.previous"


def newest(folder: Path) -> Path | None:
    """The newest whole checkpoint in a run folder."""
    return next((folder / name for name in (CURRENT, PREVIOUS) if (folder / name / "state.json").is_file()), None)


def stage_of(folder: Path) -> str | None:
    """Which stage the newest whole checkpoint is of; None where there is none, or it does not say."""
    found = newest(folder)
    try:
        return None if found is None else str(json.loads((found / "state.json").read_text(encoding="utf-8"))["task"]["stage"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def clear(folder: Path) -> None:
    """Remove the checkpoint of a finished stage, and what a kill left of others."""
    for name in (NEXT, PREVIOUS, CURRENT):
        shutil.rmtree(folder / name, ignore_errors=True)
