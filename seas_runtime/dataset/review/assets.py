"""The files of the page."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
Asset = tuple[bytes, str]
"""Bytes and media type."""


@cache
def read_assets() -> dict[str, Asset]:
    """Every file of the page by name."""
    folder = files("seas_runtime.dataset.review") / "page"
    kinds = {item.name: KINDS.get(item.name[item.name.rfind(".") :]) for item in folder.iterdir()}
    return {name: ((folder / name).read_bytes(), kind) for name, kind in sorted(kinds.items()) if kind}
