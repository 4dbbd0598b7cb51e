"""Which pair is made of what, pair index -> (defect type, normal image, noise), and what is made of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seas_runtime.bundle.conditioning import Conditioning
from seas_runtime.bundle.manifest import Start
from seas_runtime.sampling.masks import GOOD, Mask, area, bounding_box
from seas_runtime.sampling.noise import NORMAL_IMAGE, POSTERIOR, START, Stream
from seas_runtime.sampling.recipe import Plan


@dataclass(frozen=True)
class Draw:
    """What one attempt at one pair starts from: its defect type, its normal image's number, its random stream."""

    index: int
    defect: str
    normal: int
    stream: Stream


@dataclass(frozen=True, eq=False)
class Pair:
    """A generated pair: image (H, W, 3) uint8 RGB, mask (H, W) uint8 of 0 and 255, the gate's verdict on it, see `Gate`."""

    draw: Draw
    image: NDArray[np.uint8]
    mask: Mask
    verdict: str

    @property
    def index(self) -> int:
        """Its number in the run: with the seed, all that decides it."""
        return self.draw.index

    @property
    def defect(self) -> str:
        """The name of its defect type."""
        return self.draw.defect

    @property
    def normal(self) -> int:
        """The number of the normal image that it starts from."""
        return self.draw.normal

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.draw.stream.seed

    @property
    def attempt(self) -> int:
        """How many attempts before this one the gate refused."""
        return self.draw.stream.attempt

    @property
    def good(self) -> bool:
        """Whether the gate let it pass."""
        return self.verdict == GOOD

    @property
    def area(self) -> int:
        """Number of anomalous pixels."""
        return area(self.mask)

    @property
    def bbox(self) -> list[int]:
        """[x, y, width, height] in pixels of all anomalous pixels; there must be one."""
        return bounding_box(self.mask)


def draw_pair(plan: Plan, index: int, attempt: int, normals: int) -> Draw:
    """Pair `index` of a plan: types take turns, the normal image is drawn from all `normals`."""
    stream = Stream(plan.seed, index, attempt)
    defect = plan.defects[index % len(plan.defects)]
    return Draw(index, defect, stream.integer(NORMAL_IMAGE, normals), stream)


def start_latent(draw: Draw, conditioning: Conditioning, start: Start) -> NDArray[np.float32]:
    """Start latent (C, h, w) float32, scaled: signal * z + noise * eps, z = mean + std * eps'.

    mean and std belong to the pair's normal image; eps' and eps are two draws of standard normals of the
    pair's stream (`POSTERIOR`, `START`).
    """
    mean, std = conditioning.mean[draw.normal], conditioning.std[draw.normal]
    latent = mean + std * draw.stream.normals(POSTERIOR, mean.shape)
    noise = draw.stream.normals(START, mean.shape)
    started: NDArray[np.float32] = np.float32(start.signal) * latent + np.float32(start.noise) * noise
    return started
