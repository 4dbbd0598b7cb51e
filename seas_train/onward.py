"""The command that comes after one, as it is told at its end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from seas_train.base.settings import BaseSettings
from seas_train.config import COMPOSITES
from seas_train.data.layouts import LAYOUTS


def after_base(images: Sequence[Path], out: Path, settings: BaseSettings) -> str:
    """Tune the base in `out`: on the product it has learned from, where it was one alone."""
    known = len(images) == 1 and images[0].is_dir() and any(layout.matches(images[0]) for layout in LAYOUTS.values())
    data, name = (quote(str(images[0])), quote(images[0].resolve().name)) if known else ("DATA", "NAME")
    fit = "" if settings.fit == BaseSettings.model_fields["fit"].default else f" --fit {settings.fit}"
    return f"seas-train tune {data} --base {quote(str(out))} --out runs/{name}{fit}"


def after_tune(out: Path) -> str:
    """Train the mask branch of the run in `out`."""
    return f"seas-train masks {quote(str(out))}, with the same --preset"


def after_masks(run: Path, product: str) -> str:
    """Export the run of a product."""
    return f"seas-export {quote(str(run))} --out {quote(f'{product}.plan')} --photographs --composites {COMPOSITES}"
