"""Random numbers that are the same on every machine, backend, batch size and shard.

Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), keyed (seed, index).
Only raw bits are taken from NumPy, whose normal streams may change between versions; normals are our own
Box-Muller.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seas_runtime.errors import SettingsError

WORD = 1 << 64

# The counter's top word keeps the draws of one pair apart, whatever their order and length.
NORMAL_IMAGE, POSTERIOR, START, PATCH, COMPOSITE, RENOISE, ORDER = 0, 1, 2, 3, 4, 5, 6


@dataclass(frozen=True)
class Stream:
    """All randomness of one attempt at one pair; seed, index and attempt are in [0, 2**64).

    Raises:
        SettingsError: a number outside that range.
    """

    seed: int
    index: int
    attempt: int = 0

    def __post_init__(self) -> None:
        for name in ("seed", "index", "attempt"):
            if not 0 <= getattr(self, name) < WORD:
                raise SettingsError(f"{name} {getattr(self, name)} found, 0 to {WORD - 1} expected")

    def raw(self, purpose: int, count: int) -> NDArray[np.uint64]:
        """The first `count` words (count,) uint64 of the draw called `purpose`."""
        counter = np.array([0, 0, self.attempt, purpose], np.uint64)
        key = np.array([self.seed, self.index], np.uint64)
        return np.random.Philox(counter=counter, key=key).random_raw(count)

    def integer(self, purpose: int, below: int) -> int:
        """A uniform integer in [0, below), unbiased: words past the last whole multiple are passed over."""
        limit = WORD - WORD % below
        count = 4
        while True:
            for word in self.raw(purpose, count).tolist():
                if word < limit:
                    return int(word % below)
            count *= 2

    def normals(self, purpose: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Standard normals of `shape`, float32, computed in float64 (Box and Muller, 1958).

        Words 2k and 2k + 1 give the values 2k (cosine) and 2k + 1 (sine).
        """
        size = math.prod(shape)
        words = self.raw(purpose, size + size % 2).reshape(-1, 2) >> np.uint64(11)
        radius = np.sqrt(-2.0 * np.log((words[:, 0].astype(np.float64) + 1.0) * 2.0**-53))
        angle = words[:, 1].astype(np.float64) * (2.0 * np.pi * 2.0**-53)
        values = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1)
        return values.reshape(-1)[:size].reshape(shape).astype(np.float32)


def draw_normal(stream: Stream, normals: int) -> int:
    """The number of the normal image that a pair starts from, out of `normals`."""
    return stream.integer(NORMAL_IMAGE, normals)


def draw_composite(stream: Stream, turn: int, composites: int) -> int:
    """The number of the composite that a pair starts from, out of those of its type.

    Args:
        stream: of the attempt at the pair.
        turn: how many pairs of its type come before it: all composites have their turn before one comes again. A second attempt
            takes any.
        composites: how many there are.
    """
    if stream.attempt:
        return stream.integer(COMPOSITE, composites)
    rounds, at = divmod(turn, composites)
    return int(_shuffled(stream.seed, rounds, composites)[at])


@functools.lru_cache(4)
def _shuffled(seed: int, rounds: int, composites: int) -> NDArray[np.intp]:
    return np.argsort(Stream(seed, rounds).raw(ORDER, composites), kind="stable")


def draw_latents(
    stream: Stream, mean: NDArray[np.float32], std: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A pair's normal image as a latent, mean + std * eps', and the noise eps that its start is made with.

    Args:
        stream: of the pair.
        mean: (C, h, w), scaled, of its normal image's posterior.
        std: same shape.

    Returns:
        Both (C, h, w) float32; eps' and eps are two draws of standard normals (`POSTERIOR`, `START`).
    """
    return mean + std * stream.normals(POSTERIOR, mean.shape), stream.normals(START, mean.shape)
