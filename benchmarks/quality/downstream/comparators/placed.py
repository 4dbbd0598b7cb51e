"""Crop&Paste where it fits: what pairs from composites start from, before any generator has seen it.

What our pairs gain over these, the generator adds; what these gain over Crop&Paste, the choice of the place does.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from benchmarks.quality.downstream.comparators.protocol import Images, Masks, Pairs, check_anomalies, check_normals, collect, stream
from seas_runtime.errors import DataError
from seas_train.data import placing


def make(normals: Images, anomalies: Images, masks: Masks, count: int, seed: int) -> Pairs:
    """Place one real defect on each of `count` normal images, see `seas_train.data.placing`; arrays as in `protocol.Comparator`."""
    check_normals(normals)
    check_anomalies(anomalies, masks)
    if normals.shape[1:] != anomalies.shape[1:]:
        raise DataError(f"found sides {normals.shape[1:3]} and {anomalies.shape[1:3]}, expected one; resize them")
    found = []
    for index in range(count):
        rng = stream(seed, index)
        normal, chosen = normals[rng.integers(len(normals))], rng.integers(len(anomalies))
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        mask = torch.from_numpy(masks[chosen]).float()[None]
        made = placing.place(_tensor(anomalies[chosen]), mask, _tensor(normal), True, generator)
        pixels = ((made.image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        found.append((pixels, made.mask[0].numpy() > 0))
    return collect(found, normals)


def _tensor(image: Images) -> Tensor:
    """(H, W, 3) uint8 -> (3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float() / 127.5 - 1
