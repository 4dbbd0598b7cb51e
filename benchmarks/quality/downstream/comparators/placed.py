"""Composites: what our pairs start from, before any generator has seen them; what pairs gain over these, the generator adds.

They differ from Crop&Paste by keeping to edges, to the product's pose, and to masks without gaps.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from PIL import Image

from benchmarks.quality.downstream.comparators.protocol import Images, Masks, Pairs, check_normals, pasted
from benchmarks.quality.downstream.fitting import channels_first
from benchmarks.quality.pose import LOOKED_AT, Pose, grey
from seas_train.data import placing
from seas_train.data.dataset import to_bytes, to_float


def make(normals: Images, anomalies: Images, masks: Masks, count: int, seed: int) -> Pairs:
    """Place one real defect on each of `count` normal images, see `seas_train.data.placing`; arrays as in `protocol.Comparator`.

    Whether the product lies anyhow is seen from the normal images, as `report` does.
    """
    check_normals(normals)
    turned = Pose.of(np.stack([grey(Image.fromarray(image)) for image in normals[:LOOKED_AT]])).turned
    return pasted(normals, anomalies, masks, count, seed, partial(paste, turned=turned))


def paste(normal: Images, anomaly: Images, mask: Masks, rng: np.random.Generator, *, turned: bool = True) -> Pairs:
    """Place the masked part of `anomaly` (H, W, 3) on `normal`, in any pose if `turned`; returns the pair."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    images = [to_float(channels_first(image[None])[0]) for image in (anomaly, normal)]
    made = placing.place(images[0], torch.from_numpy(mask).float()[None], images[1], turned, generator)
    return to_bytes(made.image).permute(1, 2, 0).numpy(), made.mask[0].numpy() > 0
