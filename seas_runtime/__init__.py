"""Generation of image-mask pairs from a bundle, without PyTorch.

    for pair in seas_runtime.open("engines/bottle.plan").pairs(count=8, seed=0):
        use(pair.image, pair.mask, pair.defect)

What stands in `api` is here too, and is loaded when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from seas_runtime import telemetry

telemetry.switch_off()

if TYPE_CHECKING:
    from seas_runtime.api import Generator, Pairs, open  # noqa: A004  # as its users write it
    from seas_runtime.options import Options
    from seas_runtime.sampling.pairs import Pair

__all__ = ["Generator", "Options", "Pair", "Pairs", "open"]


def __getattr__(name: str) -> Any:
    """What the front door offers, loaded now."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.api"), name)


def __dir__() -> list[str]:
    """Also names that are not loaded yet, for a prompt that completes them."""
    return sorted({*globals(), *__all__})
