"""Whether a product is photographed in one pose or lies anyhow, from its normal images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

LOOKED_AT = 60
"""Normal images that decide."""
SIDE = 64
"""To which they are resized for it."""
ASYMMETRY = 0.2
"""Where the mean image changes less than this when it is turned, in terms of the images' contrast, the product may lie anyhow."""
GRAIN = 0.25
"""A surface whose edges run more one way than this, of all its edges, may not be turned."""


def grey(image: Image.Image) -> npt.NDArray[np.float64]:
    """An image as it is looked at, (SIDE, SIDE), 0 to 255."""
    return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), np.float64)


@dataclass(frozen=True)
class Pose:
    """How the normal images look when they are turned.

    Attributes:
        turned: Whether the product is seen in any pose, so that turned images are as likely as they are.
        asymmetry: RMS change of the mean image under the worst quarter-turn, in terms of the images' contrast.
        grain: How much more of the edges run one way than the other, 0 to 1.
    """

    turned: bool
    asymmetry: float
    grain: float

    @classmethod
    def of(cls, normals: npt.NDArray[np.float64]) -> Pose:
        """From grey normal images (n, s, s)."""
        contrast = float(np.sqrt(((normals - normals.mean(axis=(1, 2), keepdims=True)) ** 2).mean()))
        mean = normals.mean(axis=0)
        changes = [float(((np.rot90(mean, turns) - mean) ** 2).mean()) for turns in (1, 2, 3)]
        chance = 2 * float(normals.var(axis=0).mean()) / max(len(normals) - 1, 1)  # what a mean of so few changes by itself
        across = (np.diff(normals, axis=2)[:, :-1] ** 2).sum()
        along = (np.diff(normals, axis=1)[:, :, :-1] ** 2).sum()
        asymmetry = float(np.sqrt(max(max(changes) - chance, 0))) / contrast if contrast else 0.0
        grain = abs(float(across - along)) / float(across + along) if across + along else 0.0
        return cls(asymmetry < ASYMMETRY and grain < GRAIN, round(asymmetry, 3), round(grain, 3))
