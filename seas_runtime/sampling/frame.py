"""From the network's square back to the shape of the photographs that it learned from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seas_runtime.bundle.manifest import Fitting, Place
from seas_runtime.fit import Box, Size, shrunk, window
from seas_runtime.sampling.masks import Mask


@dataclass(frozen=True)
class Frame:
    """What of the square is written, and at what size.

    Attributes:
        box: left, top, width and height in pixels of the square.
        size: (width, height) of the written picture.
    """

    box: Box
    size: Size

    def picture(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Of an image (side, side, 3) uint8 what is written, (height, width, 3)."""
        left, top, width, height = self.box
        part = Image.fromarray(image).crop((left, top, left + width, top + height))
        return np.asarray(part if part.size == self.size else part.resize(self.size, Image.Resampling.LANCZOS))

    def mask(self, mask: Mask) -> Mask:
        """Of a mask (side, side) of 0 and 255 what is written, (height, width)."""
        marked = window(mask > 0, self.box)
        marked = marked if self.box[2:] == self.size else shrunk(marked, self.size)
        return np.where(marked, np.uint8(255), np.uint8(0))


def frame_of(fitting: Fitting, side: int) -> Frame | None:
    """The frame in which pictures have the photographs' proportions again; None where the square has them.

    What was stretched is pressed together in its shorter direction, so that nothing is made up; of what was padded the bars
    are cut off. Crops and tiles have the proportions of what they show.
    """
    longest = max(fitting.photograph)
    width, height = (max(1, round(length * side / longest)) for length in fitting.photograph)
    if fitting.fit in ("crop", "tile") or (width, height) == (side, side):
        return None
    if fitting.fit == "stretch":
        return Frame((0, 0, side, side), (width, height))
    return Frame(((side - width) // 2, (side - height) // 2, width, height), (width, height))


def placed(place: Place, frame: Frame | None, side: int) -> Place:
    """The place of a written picture, from that of the square it was cut out of."""
    if frame is None or frame.box == (0, 0, side, side):
        return place
    left, top, width, height = place.box
    across, down = width / side, height / side
    x, y = left + round(frame.box[0] * across), top + round(frame.box[1] * down)
    return place.model_copy(update={"box": (x, y, max(1, round(frame.box[2] * across)), max(1, round(frame.box[3] * down)))})
