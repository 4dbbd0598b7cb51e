"""Where masks lie and how large they are, generated against real: what a page draws."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from seas_runtime.dataset.review.survey import CELLS, Measured

LEAST_AREA = 1e-5  # share of the picture at which the histogram begins
PER_DECADE = 4
BINS = 5 * PER_DECADE  # up to the whole picture


def figures(generated: Collection[Measured], real: Collection[Measured]) -> dict[str, Any]:
    """Both sides' figures, ready for JSON: {"cells", "bins", "least", "perDecade", "generated": side, "real": side}."""
    return {
        "cells": CELLS,
        "bins": BINS,
        "least": LEAST_AREA,
        "perDecade": PER_DECADE,
        "generated": side_of(generated),
        "real": side_of(real),
    }


def side_of(found: Collection[Measured]) -> dict[str, Any]:
    """One side: {"count": n, "heat": CELLS * CELLS integers by rows, "peak": share, "areas": BINS counts, "median": share}.

    "heat" is how often a place is marked, 255 at the place where that is most often, which is a share "peak" of all;
    bin b of "areas" goes from LEAST_AREA * 10^(b / PER_DECADE) to the next, smaller and larger ones in the outer bins.
    """
    if not found:
        return {"count": 0, "heat": [0] * CELLS**2, "peak": 0.0, "areas": [0] * BINS, "median": 0.0}
    total = np.zeros((CELLS, CELLS), dtype=np.int64)
    for one in found:
        total += one.cover
    top = int(total.max())
    shares = np.array([one.area for one in found])
    return {
        "count": len(found),
        "heat": (total * 255 // max(top, 1)).ravel().tolist(),
        "peak": top / 255 / len(found),
        "areas": histogram(shares),
        "median": float(np.median(shares)),
    }


def histogram(shares: Iterable[float]) -> list[int]:
    """How many areas, in shares of a picture, fall in each bin."""
    places = np.log10(np.maximum(np.fromiter(shares, dtype=np.float64), LEAST_AREA) / LEAST_AREA) * PER_DECADE
    counts: list[int] = np.bincount(np.clip(places.astype(np.int64), 0, BINS - 1), minlength=BINS).tolist()
    return counts
