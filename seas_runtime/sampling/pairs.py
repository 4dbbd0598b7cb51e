"""Which pair is made of what, pair index -> (defect type, normal image, noise), and what is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from seas_runtime.bundle.conditioning import Conditioning
from seas_runtime.bundle.manifest import Start
from seas_runtime.sampling.frame import Frame
from seas_runtime.sampling.masks import GOOD, Mask, area, bounding_box
from seas_runtime.sampling.noise import RENOISE, Stream, draw_composite, draw_latents, draw_normal
from seas_runtime.sampling.recipe import Plan

NORMAL = "good"
"""What stands for a defect type where a normal image is made: MVTec AD's folder, which no type can be called."""
NORMALS_FROM = 1 << 63
"""The random stream of normal image i is that of the index `NORMALS_FROM` + i, so that no pair shares it."""


@dataclass(frozen=True)
class Draw:
    """What one attempt at one pair starts from: its defect type, its normal image's number, its random stream.

    Where it starts from a composite, it has that one's number, and the normal image is the one that the composite is made of.
    """

    index: int
    defect: str
    normal: int
    stream: Stream
    composite: int | None = None


@dataclass(frozen=True, eq=False)
class Pair:
    """A generated pair: image (H, W, 3) uint8 RGB, mask (H, W) uint8 of 0 and 255, the gate's verdict on it, see `Gate`.

    `agreement` is the IoU of the masks of the last steps. A normal image has the type `NORMAL` and an empty mask.
    """

    draw: Draw
    image: NDArray[np.uint8]
    mask: Mask
    verdict: str
    agreement: float = 1.0

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


def framed(pair: Pair, frame: Frame | None) -> Pair:
    """A pair of the network's square as it is written; one of whose mask nothing is left then is refused as "empty"."""
    if frame is None:
        return pair
    mask = frame.mask(pair.mask)
    lost = pair.good and pair.defect != NORMAL and not mask.any()
    return replace(pair, image=frame.picture(pair.image), mask=mask, verdict="empty" if lost else pair.verdict)


def draw_pair(plan: Plan, index: int, attempt: int, normals: int, composites: int = 0) -> Draw:
    """Pair `index` of a plan: types take turns, and so do the `composites` of each; a normal image is drawn from all `normals`."""
    defect = plan.defects[index % len(plan.defects)]
    stream = Stream(plan.seed, index + NORMALS_FROM * (defect == NORMAL), attempt)
    if composites and defect != NORMAL:
        number = draw_composite(stream, index // len(plan.defects), composites)
        return Draw(index, defect, number % normals, stream, number)
    return Draw(index, defect, draw_normal(stream, normals), stream)


def fresh_noise(draws: Sequence[Draw], steps: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The noise (s - 1, n, *shape) float32 that each step but the last of s adds, by each pair's own stream (`RENOISE`)."""
    return np.stack([draw.stream.normals(RENOISE, (steps - 1, *shape)) for draw in draws], axis=1)


def start_latent(draw: Draw, conditioning: Conditioning, start: Start) -> NDArray[np.float32]:
    """Start latent (C, h, w) float32, scaled: signal * z + noise * eps, z = mean + std * eps'.

    mean and std belong to the pair's normal image; eps' and eps come from the pair's stream (`draw_latents`).
    """
    latent, noise = draw_latents(draw.stream, conditioning.mean[draw.normal], conditioning.std[draw.normal])
    started: NDArray[np.float32] = np.float32(start.signal) * latent + np.float32(start.noise) * noise
    return started


def placed_mask(draw: Draw, conditioning: Conditioning) -> Mask | None:
    """The mask (H, W) of 0 and 255 of the composite that a pair starts from; None where it starts from none."""
    if draw.composite is None:
        return None
    packed = conditioning.composite_masks[draw.defect][draw.composite]
    return np.unpackbits(packed, axis=-1, count=packed.shape[0]) * np.uint8(255)


def init_latents(draw: Draw, conditioning: Conditioning) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """What a pair starts from with less than all noise on it: its composite, or else its normal image.

    Returns:
        The latent, that of its normal image, and the noise, each (C, h, w) float32.
    """
    normal, noise = draw_latents(draw.stream, conditioning.mean[draw.normal], conditioning.std[draw.normal])
    latent = normal if draw.composite is None else conditioning.composites[draw.defect][draw.composite]
    return latent, normal, noise
