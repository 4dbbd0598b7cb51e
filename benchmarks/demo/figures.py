"""The figures of demo_quality.py: what the oracle says of generated pairs, beside what it says of real ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from benchmarks.demo.oracle import Drawn, Oracle
from benchmarks.quality.downstream.fitting import Masks
from benchmarks.quality.metrics import perceptual

Floats = npt.NDArray[np.float64]
LEVEL = 2
"""Feature level whose cells fidelity compares: an eighth of the image's side."""


def segmentation(maps: npt.NDArray[np.float32], masks: Masks) -> dict[str, float]:
    """Average precision of all pixels together, and IoU at probability 0.5; maps and masks (n, H, W)."""
    marked = maps >= 0.5
    return {
        "ap": float(average_precision_score(masks.ravel(), maps.ravel())),
        "iou": float((marked & masks).sum() / (marked | masks).sum()),
    }


def ious(found: Masks, masks: Masks) -> Floats:
    """IoU (n,) of each image's two masks (n, H, W); two empty ones agree."""
    both, either = (found & masks).sum(axis=(1, 2)), (found | masks).sum(axis=(1, 2))
    return np.where(either == 0, 1.0, both / np.maximum(either, 1))


def distances(first: list[Tensor], second: list[Tensor]) -> Floats:
    """Perceptual distance (n, m) of every two images from their feature maps (n or m, C, h, w).

    As LPIPS without learned weights (Zhang et al. 2018, eq. 1): channel vectors of unit length, squared distance, mean over
    places, sum over levels. Between 0 and 4 a level.
    """
    layers = [[perceptual.weighted(level, torch.ones(level.shape[1])) for level in levels] for levels in (first, second)]
    return perceptual.distances(*layers).double().numpy()


def frechet(first: Floats, second: Floats) -> float:
    """Frechet distance of two sets of vectors (n, d), (m, d), each taken for a normal distribution (Heusel et al. 2017)."""
    means = first.mean(axis=0) - second.mean(axis=0)
    a, b = np.cov(first.T), np.cov(second.T)
    roots = np.sqrt(np.clip(np.linalg.eigvals(a @ b).real, 0, None))  # of a product that is similar to a positive matrix
    return float(means @ means + np.trace(a) + np.trace(b) - 2 * roots.sum())


def _untouched(features: Tensor, masks: Masks) -> Floats:
    """Vectors (n, C) of the cells of (n, C, h, w) that hold no anomalous pixel and touch no cell that does."""
    small = F.adaptive_max_pool2d(torch.from_numpy(masks).float()[:, None], features.shape[-1])
    clean = F.max_pool2d(small, 3, stride=1, padding=1)[:, 0] == 0
    return features.permute(0, 2, 3, 1)[clean].double().numpy()


def measure(judge: Oracle, generated: Drawn, fresh: Drawn, whole: Drawn, few: Drawn) -> dict[str, Any]:
    """Every figure, of the generated pairs and, beside it, of fresh procedural anomalies.

    Args:
        judge: the oracle.
        generated: the engine's pairs, `types` what was asked for.
        fresh: procedural anomalies that neither the oracle nor the engine has seen.
        whole: as many whole pieces again.
        few: the anomalies that the engine learned from.
    """
    sets = {"generated": generated, "real": fresh}
    labels = {name: judge.labels(pieces.images) for name, pieces in sets.items()}
    features = {name: judge.features(pieces.images) for name, pieces in sets.items()}
    known, clean = judge.features(few.images), judge.features(whole.images)
    half = len(whole.images) // 2
    table: dict[str, Any] = {"floor": frechet(*(_cells(clean[LEVEL][part]) for part in (slice(half), slice(half, None))))}
    for name, pieces in sets.items():
        agreement = ious(labels[name] > 0, pieces.masks)
        near = nearest(features[name], pieces, known, few)
        table[name] = {
            "iou": float(agreement.mean()),
            "iou by type": _by_type(judge, pieces, agreement),
            "type": float((judge.types(labels[name]) == pieces.types).mean()),
            "type by type": _by_type(judge, pieces, judge.types(labels[name]) == pieces.types),
            "area": float(pieces.masks.mean()),
            "nearest": near,
            "diversity": _by_type(judge, pieces, _spread(features[name], pieces)),
            "fidelity": frechet(_untouched(features[name][LEVEL], pieces.masks), _cells(clean[LEVEL])),
        }
    closest_real = min(table["real"]["nearest"])
    table["generated"]["copies"] = float((np.array(table["generated"]["nearest"]) < closest_real).mean())
    return table


def nearest(features: list[Tensor], pieces: Drawn, known: list[Tensor], few: Drawn) -> list[float]:
    """Perceptual distance of each piece to the nearest training anomaly of its type."""
    every = distances(features, known)
    every[pieces.types[:, None] != few.types[None, :]] = np.inf
    return [float(value) for value in every.min(axis=1)]


def _spread(features: list[Tensor], pieces: Drawn) -> Floats:
    """Mean perceptual distance of each piece to the others of its type."""
    result = np.zeros(len(pieces.types))
    for kind in np.unique(pieces.types):
        chosen = np.flatnonzero(pieces.types == kind)
        among = [level[chosen] for level in features]
        result[chosen] = distances(among, among).sum(axis=1) / (len(chosen) - 1)
    return result


def _cells(features: Tensor) -> Floats:
    """Vectors (n h w, C) of all cells of (n, C, h, w)."""
    return features.permute(0, 2, 3, 1).flatten(0, 2).double().numpy()


def _by_type(judge: Oracle, pieces: Drawn, values: npt.NDArray[Any]) -> dict[str, float]:
    return {name: float(values[pieces.types == kind].mean()) for kind, name in enumerate(judge.defects, start=1)}
