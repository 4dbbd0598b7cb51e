"""Trainings of a decomposition, each kept in a file named after all it came from: the same call goes on with the missing ones."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import kept
from benchmarks.quality.decomposition import cases
from benchmarks.quality.decomposition.cases import Case
from benchmarks.quality.decomposition.stock import Stock
from benchmarks.quality.downstream import segmentation
from benchmarks.quality.downstream.fitting import Maps, Masks, predict
from benchmarks.quality.downstream.segmentation import SegmenterSettings
from benchmarks.quality.metrics.segmentation import score_images, score_pixels
from benchmarks.quality.real import digest
from seas_train.pipeline.stages import Log

Found = dict[Case, dict[int, dict[str, Any]]]
"""What was kept of each training, by case and seed: scores, pairs, seconds."""


def run(planned: Sequence[Case], seed: int, stock: Stock, settings: SegmenterSettings, folder: Path, log: Log) -> Found:
    """Train every case that has what it needs with one seed, as far as that is not done.

    Args:
        planned: The cases.
        seed: Of everything random.
        stock: What is learned from and tested on.
        settings: Of every segmenter, but for the order of its sources.
        folder: Where trainings are kept.
        log: Called with a line for each.

    Raises:
        DataError, TrainError: as `segmentation.train`, and what the comparators lack.
    """
    found: Found = {}
    trained = [case for case in planned if stock.has(case)]
    for index, case in enumerate(trained, start=1):
        found[case] = {seed: _kept(case, seed, stock, settings, folder)}
        scores, took = (found[case][seed][key] for key in ("scores", "seconds"))
        what = ", ".join(filter(None, (cases.spoken(case.shots), case.method, case.how)))
        reached = f"AP {100 * scores['pixel_ap']:.2f}, IoU {100 * scores['pixel_iou_half']:.2f}"
        log(f"seed {seed} [{index}/{len(trained)}] {what}: {reached}, {took:.0f} s")
    return found


def merge(*parts: Found) -> Found:
    """The same cases of several seeds together, in the order of their first."""
    found: Found = {}
    for part in parts:
        for case, by_seed in part.items():
            found.setdefault(case, {}).update(by_seed)
    return found


def _kept(case: Case, seed: int, stock: Stock, settings: SegmenterSettings, folder: Path) -> dict[str, Any]:
    own = settings.model_copy(update={"order": case.order})
    asked = np.array(json.dumps(own.model_dump(mode="json"), sort_keys=True))
    key = digest(asked, np.array(stock.known(case, seed)))[:12]
    return kept(folder / f"{case.name}-{seed}-{key}.json", lambda: _trained(case, seed, stock, own))


def _trained(case: Case, seed: int, stock: Stock, settings: SegmenterSettings) -> dict[str, Any]:
    began = time.monotonic()
    sources, test = stock.sources(case, seed), stock.shots[case.shots].material.test
    network = segmentation.train(sources, stock.normals_of(case), settings, seed)
    return {
        "settings": settings.model_dump(mode="json"),
        "scores": scored(predict(network, test.images), test.masks, stock.judge is not None),
        "pairs": 0 if case.method == cases.FEW else len(sources[0].images),
        "seconds": round(time.monotonic() - began, 1),
    }


def scored(maps: Maps, masks: Masks, anomalies_alone: bool) -> Mapping[str, float]:
    """Every score of maps (t, s, s) by its name, of the images only where the test has normal ones.

    Args:
        maps: Probabilities.
        masks: (t, s, s).
        anomalies_alone: Whether pixels of normal images count for nothing, as in all figures of the demo product.
    """
    anomalous = masks.any(axis=(1, 2))
    pixels = anomalous if anomalies_alone else np.ones_like(anomalous)
    found = {f"pixel_{name}": value for name, value in dataclasses.asdict(score_pixels(maps[pixels], masks[pixels])).items()}
    if not anomalous.all():
        found |= {f"image_{name}": value for name, value in dataclasses.asdict(score_images(maps, masks)).items()}
    return found
