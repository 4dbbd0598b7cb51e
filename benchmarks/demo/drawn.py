"""What a drawn product has and a photographed one has not: any number of fresh pieces, and a judge trained on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from benchmarks.demo import oracle
from benchmarks.demo.oracle import Oracle, Pieces
from benchmarks.quality.metrics.segmentation import overlaps
from benchmarks.quality.real import digest
from seas_runtime.errors import DataError
from seas_train.config import Settings
from seas_train.data import demo

JUDGE_SEED, FRESH_SEED, WHOLE_SEED = 71, 72, 1072
"""None draws what make_demo.py draws."""
PERFECT_SEED = 7300
"""The first of the seeds of drawn pairs that segmenters learn from."""


class JudgeSettings(Settings):
    """How the judge is trained, and how many pieces test it and the segmenters."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "smoke": {"pieces": 24, "steps": 3, "fresh": 6, "whole": 4, "least": 0.0},
        "small": {},
        "paper": {},
    }

    pieces: int = Field(3000, ge=1, description="Drawn pieces that the judge learns from.")
    steps: int = Field(800, ge=1, description="Optimiser steps of the judge.")
    fresh: int = Field(300, ge=1, description="Anomalies to test on, types in turn.")
    whole: int = Field(200, ge=1, description="Whole pieces to test on.")
    least: float = Field(0.5, ge=0, le=1, description="IoU that the judge reaches at least on the given anomalies.")


def defects(product: str) -> tuple[str, ...]:
    """Names of a drawn product's defect types; type k of `Pieces` is number k - 1."""
    return tuple(demo.PRODUCTS[product].defects)


def in_turn(product: str, count: int) -> list[str]:
    """So many defect types, each in turn."""
    names = defects(product)
    return [names[i % len(names)] for i in range(count)]


def fresh_pieces(product: str, side: int, settings: JudgeSettings) -> tuple[Pieces, Pieces]:
    """Anomalies to test on, types in turn, and whole pieces."""
    anomalies = oracle.draw_pieces(product, in_turn(product, settings.fresh), side, FRESH_SEED)
    return anomalies, oracle.draw_pieces(product, [None] * settings.whole, side, WHOLE_SEED)


def perfect_pairs(product: str, side: int, count: int, seed: int) -> Pieces:
    """Drawn pairs, types in turn, for a segmenter of this seed; more of them begin with the same."""
    return oracle.draw_pieces(product, in_turn(product, count), side, PERFECT_SEED + seed)


def judge_of(folder: Path, product: str, fresh: Pieces, settings: JudgeSettings) -> Oracle:
    """Train the judge of a product, or read it where that is done.

    Args:
        folder: Where it is kept.
        product: A name of `demo.PRODUCTS`.
        fresh: Anomalies to test on, which show how pieces are drawn now.
        settings: Of the judge.
    """
    side, names = fresh.images.shape[1], (None, *defects(product))
    known = digest(fresh.images, fresh.masks, np.array(repr(settings)))
    path = folder / f"oracle-{known[:12]}.safetensors"
    if not path.exists():
        kinds = [names[i % len(names)] for i in range(settings.pieces)]
        pieces = oracle.draw_pieces(product, kinds, side, JUDGE_SEED)
        folder.mkdir(parents=True, exist_ok=True)
        oracle.train(defects(product), pieces, settings.steps, JUDGE_SEED).save(path)
    return Oracle.load(defects(product), path)


def require_drawn(judge: Oracle, product: str, given: Pieces, least: float) -> None:
    """Refuse anomalies that are not drawn ones: photographs of another bottle, say.

    Raises:
        DataError: the judge overlaps too little with their masks.
    """
    found = float(overlaps(judge.labels(given.images) > 0, given.masks).mean())
    if found < least:
        raise DataError(
            f"the judge of drawn pieces of {product} overlaps with the masks of the given anomalies by {found:.2f}, expected "
            f"{least} or more: they are no drawn pieces; leave --judge out"
        )
