"""Composites: what our pairs start from, before any generator has seen them; what pairs gain over these, the generator adds.

They differ from Crop&Paste by keeping to edges, to the product's pose and to masks without gaps, and by more than one in an image.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from benchmarks.quality.downstream.comparators.protocol import Images, Masks, Pairs, check, collect
from benchmarks.quality.downstream.fitting import channels_first
from benchmarks.quality.pose import LOOKED_AT, Pose, grey
from seas_train.data import placing
from seas_train.data.dataset import to_bytes, to_float


def make(normals: Images, anomalies: Images, masks: Masks, count: int, seed: int) -> Pairs:
    """Place real defects of all types on `count` normal images, see `seas_train.data.placing`; arrays as in `protocol.Comparator`.

    Whether the product lies anyhow is seen from the normal images, as `report` does.
    """
    check(normals, anomalies, masks)
    turned = Pose.of(np.stack([grey(Image.fromarray(image)) for image in normals[:LOOKED_AT]])).turned
    whole = [to_float(image) for image in channels_first(normals)]
    covers = [torch.from_numpy(mask).float()[None] for mask in masks]
    pairs = list(zip(map(to_float, channels_first(anomalies)), covers, strict=True))
    made = placing.composites(whole, pairs, count, turned, seed)
    return collect([(to_bytes(each.image).permute(1, 2, 0).numpy(), each.mask[0].numpy() > 0) for each in made], normals)
