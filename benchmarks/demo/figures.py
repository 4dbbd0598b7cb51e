"""The figures of demo_quality.py: what the oracle says of generated pairs, beside what it says of real ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from benchmarks.demo.oracle import Oracle, Pieces
from benchmarks.quality.downstream.fitting import Masks
from benchmarks.quality.metrics.generation import frechet_distance
from benchmarks.quality.metrics.perceptual import Layers, distances, select, unweighted
from benchmarks.quality.metrics.segmentation import overlaps

Floats = npt.NDArray[np.float64]
LEVEL = 2
"""Feature level whose cells fidelity compares: an eighth of the image's side."""


def _untouched(features: Tensor, masks: Masks) -> Floats:
    """Vectors (n, C) of the cells of (n, C, h, w) that hold no anomalous pixel and touch no cell that does."""
    small = F.adaptive_max_pool2d(torch.from_numpy(masks).float()[:, None], features.shape[-1])
    clean = F.max_pool2d(small, 3, stride=1, padding=1)[:, 0] == 0
    return features.permute(0, 2, 3, 1)[clean].double().numpy()


def measure(judge: Oracle, generated: Pieces, fresh: Pieces, whole: Pieces, few: Pieces) -> dict[str, Any]:
    """Every figure, of the generated pairs and, beside it, of fresh procedural anomalies.

    Args:
        judge: the oracle.
        generated: the engine's pairs, `types` what was asked for; all images (n, H, W, 3) here are of one size.
        fresh: procedural anomalies that neither the oracle nor the engine has seen.
        whole: as many whole pieces again.
        few: the anomalies that the engine learned from.
    """
    sets = {"generated": generated, "real": fresh}
    labels = {name: judge.labels(pieces.images) for name, pieces in sets.items()}
    features = {name: judge.features(pieces.images) for name, pieces in sets.items()}
    known, clean = unweighted(judge.features(few.images)), judge.features(whole.images)
    half = len(whole.images) // 2
    table: dict[str, Any] = {"floor": frechet_distance(*(_cells(clean[LEVEL][part]) for part in (slice(half), slice(half, None))))}
    for name, pieces in sets.items():
        agreement = overlaps(labels[name] > 0, pieces.masks)
        layers = unweighted(features[name])
        near = nearest(layers, pieces, known, few)
        table[name] = {
            "iou": float(agreement.mean()),
            "iou by type": _by_type(judge, pieces, agreement),
            "type": float((judge.types(labels[name]) == pieces.types).mean()),
            "type by type": _by_type(judge, pieces, judge.types(labels[name]) == pieces.types),
            "area": float(pieces.masks.mean()),
            "nearest": near,
            "diversity": _by_type(judge, pieces, spread(layers, pieces)),
            "fidelity": frechet_distance(_untouched(features[name][LEVEL], pieces.masks), _cells(clean[LEVEL])),
        }
    closest_real = min(table["real"]["nearest"])
    table["generated"]["copies"] = float((np.array(table["generated"]["nearest"]) < closest_real).mean())
    return table


def nearest(layers: Layers, pieces: Pieces, known: Layers, few: Pieces) -> list[float]:
    """Perceptual distance, n of them, of each of n embedded pieces to the nearest of m training anomalies of its type."""
    every = distances(layers, known).double().numpy()
    every[pieces.types[:, None] != few.types[None, :]] = np.inf
    return [float(value) for value in every.min(axis=1)]


def spread(layers: Layers, pieces: Pieces) -> Floats:
    """Mean perceptual distance (n,) of each embedded piece to the others of its type; 0 where it is the only one."""
    result = np.zeros(len(pieces.types))
    for kind in np.unique(pieces.types):
        chosen = np.flatnonzero(pieces.types == kind)
        among = select(layers, chosen)
        result[chosen] = distances(among, among).double().numpy().sum(axis=1) / max(1, len(chosen) - 1)
    return result


def _cells(features: Tensor) -> Floats:
    """Vectors (n h w, C) of all cells of (n, C, h, w)."""
    return features.permute(0, 2, 3, 1).flatten(0, 2).double().numpy()


def _by_type(judge: Oracle, pieces: Pieces, values: npt.NDArray[Any]) -> dict[str, float]:
    return {name: float(values[pieces.types == kind].mean()) for kind, name in enumerate(judge.defects, start=1)}
