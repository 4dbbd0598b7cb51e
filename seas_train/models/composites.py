"""Latents of composites, normal images with a training anomaly placed on them: what a bundle's pairs can start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from seas_train.data import placing
from seas_train.models.components import encode_each

Anomaly = tuple[Tensor, Tensor]


def latents(
    vae: AutoencoderKL, normals: Sequence[Tensor], anomalies: Mapping[str, Sequence[Anomaly]], count: int, turned: bool, seed: int
) -> dict[str, tuple[Tensor, Tensor]]:
    """Scaled latents (count, C, h, w) and masks (count, H, W) bool of each type.

    Number k is normal image k mod P with a training anomaly placed on it.

    Args:
        vae: the run's autoencoder.
        normals: images (3, H, W) in [-1, 1], P of them.
        anomalies: such images and their masks (1, H, W) of 0 and 1, by type.
        count: of each type.
        turned: whether the product is seen in any pose, see `placing`.
        seed: number k of a type depends on (seed, k) alone.
    """
    found = {}
    for defect, pairs in anomalies.items():
        placed = placing.composites(normals, pairs, count, turned, seed)
        parts = [(encode_each(vae, [each.image])[0], each.mask > 0) for each in placed]  # one at a time: 100 of 512 x 512 are much
        found[defect] = torch.cat([latents for latents, _ in parts]), torch.cat([masks for _, masks in parts])
    return found
