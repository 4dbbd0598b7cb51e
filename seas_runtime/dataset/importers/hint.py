"""A word to those who give annotated photographs to a command that reads product folders only."""

from __future__ import annotations

import shlex
from pathlib import Path


def hint(folder: Path) -> str | None:
    """The command that imports what lies in a folder; None where there is nothing that training does not read itself.

    It raises nothing, and loads the importers when it is asked, not before.
    """
    from seas_runtime.dataset.importers.recognise import needs_import  # noqa: PLC0415  # readers of all formats

    if not needs_import(folder):
        return None
    product = folder.absolute()
    return f"seas-data import {shlex.quote(str(folder))} --into {shlex.quote(str(product.with_name(f'{product.name}-product')))}"
