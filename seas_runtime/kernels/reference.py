"""The kernels of sampler.cu in NumPy: operations in the same order, the same bits, and the same names, `guided_update` of `update`.

The sampler on the host computes with these. n pairs, h and w latent sides, H and W image sides; storage is float32 or
float16, the type of the graphs' inputs and outputs, and arithmetic is float32.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Storage = TypeVar("Storage", np.float16, np.float32)


def begin_step(table: Floats, timesteps: NDArray[np.int64], counter: int, rows: int) -> tuple[Floats, NDArray[np.int64], int]:
    """What step `counter` needs, and the step after it.

    Args:
        table: (s, 6), see `sampling.solver.step_table`.
        timesteps: (s,).
        counter: 0 to s - 1.
        rows: the U-Net's batch.

    Returns:
        The step's row (6,), its timestep `rows` times, and the next counter: 0 after the last step.
    """
    return table[counter], np.full(rows, timesteps[counter]), (counter + 1) % len(table)


def guided_update(
    noise: NDArray[Storage], latents: NDArray[Storage], before: NDArray[Storage], step: Floats, copies: int | None = None
) -> tuple[NDArray[Storage], NDArray[Storage]]:
    """Guidance and one step of DPM-Solver++ (2M), or of a solver that adds noise.

    Args:
        noise: the U-Net's, (n, C, h, w), or (2n, C, h, w) with the conditional half first, which are guided:
            empty + guidance * (conditional - empty).
        latents: those that enter the step, (n, C, h, w).
        before: the data prediction of the step before, (n, C, h, w), or fresh noise; not used where c is 0.
        step: a row (6,) of `sampling.solver.step_table`.
        copies: how often the leaving latents are repeated, as the U-Net reads them next; None, to the rows of `noise`.

    Returns:
        The latents that leave the step, (copies * n, C, h, w), and the step's data prediction (n, C, h, w).
    """
    alpha, sigma, a, b, c, guidance = step
    n, halves = len(latents), len(noise) // len(latents)
    x, guided = _float32(latents), _float32(noise[:n])
    if halves == 2:
        empty = _float32(noise[n:])
        guided = empty + guidance * (guided - empty)
    clean = (x - sigma * guided) / alpha
    x = a * x + b * clean
    if c != 0:
        x += c * _float32(before)
    return np.concatenate([x.astype(latents.dtype)] * (copies or halves)), clean.astype(latents.dtype)


def to_pixels(images: NDArray[Storage]) -> NDArray[np.uint8]:
    """Images (..., 3, H, W) about [-1, 1] -> (..., H, W, 3) uint8, clipped and rounded half to even; NaN is 0."""
    values = _float32(images)
    clipped = np.where(values > -1, np.minimum(values, np.float32(1)), np.float32(-1))
    levels = np.rint((clipped + np.float32(1)) * np.float32(127.5)).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(levels, -3, -1))


def accumulate(probability: NDArray[Storage], total: Floats) -> Floats:
    """The sum of the mask probabilities so far, `total`, and one more; both (n, 1, H, W), total float32."""
    return total + _float32(probability)


def threshold(total: Floats, steps: int, limit: float) -> NDArray[np.uint8]:
    """Masks of the sum of `steps` probabilities, same shape, uint8: 255 where their mean is above `limit`, else 0."""
    mean = total / np.float32(steps)
    return np.where(mean > np.float32(limit), np.uint8(255), np.uint8(0))


def _float32(values: NDArray[Storage]) -> Floats:
    return values.astype(np.float32, copy=False)
