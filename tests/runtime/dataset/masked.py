"""Three photographs and what is marked on them, for masks as people have them."""

import numpy as np
from PIL import Image

from tests.runtime.dataset.truth import iou

SIZE = (240, 180)


def disc(x=100, y=80, radius=40, size=SIZE):
    across, down = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
    return (across - x) ** 2 + (down - y) ** 2 <= radius**2


DISC, OTHER = disc(), disc(180, 130, 25)


def save_each(root, make, suffix=".png", **options):
    for i, mask in enumerate((DISC, OTHER, DISC | OTHER)):
        make(mask).save(root / f"masks/{i}{suffix}", **options)


def levels(mask, value, background=0):
    return Image.fromarray(np.where(mask, value, background).astype(np.uint8))


def check(product, title="anomaly", least=1.0):
    for i, mask in enumerate((DISC, OTHER, DISC | OTHER)):
        assert iou(product.mask(f"{title}/{i}"), mask) >= least
