"""The solver's loop, from start latents to final ones, and what comes of those: images and mask probabilities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from seas_runtime.backends import Backend, BatchJob
from seas_runtime.backends.workers import Workers
from seas_runtime.kernels.reference import guided_update, to_pixels
from seas_runtime.sampling.pairs import NORMAL, Draw, fresh_noise
from seas_runtime.sampling.prompted import PromptedUnet, run_graph
from seas_runtime.sampling.recipe import Sampling
from seas_runtime.sampling.solver import Table, step_table

Array = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Keep = Callable[[Array, int, list[Array]], Array]
NO_MASK = 2.0  # a threshold that no probability is above


def solve(
    backend: Backend,
    unet: PromptedUnet,
    latents: Array,
    sampling: Sampling,
    workers: Workers,
    keep: Keep | None = None,
    fresh: Array | None = None,
) -> tuple[Array, list[Callable[[], list[Array]]]]:
    """The solver's steps from the start latents (n, C, h, w) to the final ones; `fresh` is the noise that it adds, if it does.

    Also gives, as functions to be called for them, the mask probabilities (n, 1, H, W) of the last `mask_steps` steps, each
    from the latent that enters the step and the taps of that step: nothing in the loop waits for them, but for `keep`, which
    makes of the latents that leave a step, its number and the probabilities so far those that go on.

    Raises:
        CancelledError: `workers` have been left.
    """
    steps = step_table(sampling.table, sampling.guidance)
    masking: list[Callable[[], list[Array]]] = []
    before = np.zeros_like(latents)
    for index, (step, timestep) in enumerate(zip(steps, sampling.table.timesteps, strict=True)):
        workers.check()
        sample = np.concatenate([latents, latents]) if sampling.guided[index] else latents
        if index < len(steps) - sampling.mask_steps:
            noise = unet.noise(sample, timestep)
        else:
            noise, up2, up3 = unet.noise_and_taps(sample, timestep)
            feeds = {"latent": latents, "up2": up2, "up3": up3}
            masking.append(workers.beside(run_graph, backend, "mask_branch", feeds, ("probability",)))
        if fresh is not None and index < len(fresh):
            before = fresh[index]
        latents, before = guided_update(noise, latents, before, step, copies=1)
        if keep is not None:
            latents = keep(latents, index, [mask()[0] for mask in masking])
    return latents, masking


def finish(
    unet: PromptedUnet, latents: Array, sampling: Sampling, masking: list[Callable[[], list[Array]]]
) -> tuple[Pixels, list[Array]]:
    """Images (n, H, W, 3) of the final latents (n, C, h, w), and probabilities (n, 1, H, W): those of the steps, or of one look."""
    if sampling.look is None:
        image = run_graph(unet.backend, "decoder", {"latent": latents}, ("image",))[0]
        return to_pixels(image), [mask()[0] for mask in masking]
    up2, up3 = unet.taps(latents, sampling.look)
    feeds = {"latent": latents, "up2": up2, "up3": up3}
    image, probability = run_graph(unet.backend, "finish", feeds, ("image", "probability"))
    return to_pixels(image), [probability]


def job_of(unet: PromptedUnet, latents: Array, sampling: Sampling, draws: list[Draw]) -> BatchJob:
    """The same as one order to a backend that does all steps by itself."""
    table = step_table(sampling.table, sampling.guidance)
    limits = [NO_MASK if draw.defect == NORMAL else sampling.rules[draw.defect].threshold for draw in draws]
    return BatchJob(
        latents,
        unet.prompts,
        table,
        sampling.table.timesteps,
        sampling.guided,
        sampling.mask_steps,
        np.array(limits, np.float32),
        sampling.look,
        fresh_for(sampling, draws, latents),
    )


def fresh_for(sampling: Sampling, draws: list[Draw], latents: Array) -> Array | None:
    """The noise that the solver adds to latents (n, C, h, w) on the way, where it does."""
    table = sampling.table
    return fresh_noise(draws, len(table.timesteps), latents.shape[1:]) if table.renoises else None


def at_level(table: Table, step: int, latents: Array, noise: Array) -> Array:
    """Latents with as much noise as enters a step of the table."""
    return np.asarray(np.float32(table.alpha[step]) * latents + np.float32(table.sigma[step]) * noise, np.float32)
