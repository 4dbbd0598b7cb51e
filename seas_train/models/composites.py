"""Composites, normal images with training anomalies placed on them: what a bundle's pairs can start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from seas_runtime.bundle.manifest import COMPOSITE_ANOMALIES
from seas_train.data import placing
from seas_train.data.dataset import to_bytes
from seas_train.models.components import encode_each

Anomaly = tuple[Tensor, Tensor]


class Composite(NamedTuple):
    """Scaled latent (C, h, w), mask (H, W) bool, and picture (H, W, 4) uint8 RGBA of what differs from its normal image."""

    latent: Tensor
    mask: Tensor
    patch: Tensor


def composites(
    vae: AutoencoderKL,
    normals: Sequence[Tensor],
    anomalies: Mapping[str, Sequence[Anomaly]],
    count: int,
    turned: bool,
    seed: int,
    an_image: float = COMPOSITE_ANOMALIES,
) -> dict[str, list[Composite]]:
    """`count` composites of each type: number k is normal image k mod P with training anomalies placed on it.

    Args:
        vae: the run's autoencoder.
        normals: images (3, H, W) in [-1, 1], P of them.
        anomalies: such images and their masks (1, H, W) of 0 and 1, by type.
        count: of each type.
        turned: whether the product is seen in any pose, see `placing`.
        seed: number k of a type depends on (seed, k) alone.
        an_image: anomalies of a composite in the mean.
    """
    found: dict[str, list[Composite]] = {}
    for defect, pairs in anomalies.items():
        placed = placing.composites(normals, pairs, count, turned, seed, an_image)
        found[defect] = []
        for number, each in enumerate(placed):  # one at a time: 100 of 512 x 512 are much
            latent, _ = encode_each(vae, [each.image])
            patch = _difference(to_bytes(each.image), to_bytes(normals[number % len(normals)]))
            found[defect].append(Composite(latent[0], each.mask[0] > 0, patch))
    return found


def _difference(image: Tensor, normal: Tensor) -> Tensor:
    """(H, W, 4) RGBA of an image (3, H, W): transparent black where it is the normal one."""
    changed = (image != normal).any(dim=0, keepdim=True)
    return torch.cat([image * changed, 255 * changed.to(torch.uint8)]).permute(1, 2, 0)
