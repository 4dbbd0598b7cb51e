"""The loop: from start latents to image-mask pairs. Pure: no files, no globals, any backend."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seas_runtime.backends import Backend
from seas_runtime.conditioning import Conditioning
from seas_runtime.errors import BackendError
from seas_runtime.manifest import GraphName, Start
from seas_runtime.masks import GOOD, Gate, Mask, threshold_mask
from seas_runtime.pairs import Pair, Plan, draw_pair, start_latent
from seas_runtime.schedule import Table

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Sample:
    """A generated pair: image (H, W, 3) uint8, mask (H, W) uint8 of 0 and 255, the gate's verdict on it."""

    pair: Pair
    image: NDArray[np.uint8]
    mask: Mask
    verdict: str


@dataclass(frozen=True)
class Model:
    """A bundle's graphs in an engine, with its conditioning and start coefficients."""

    backend: Backend
    conditioning: Conditioning
    start: Start


@dataclass(frozen=True)
class Sampling:
    """How to sample: solver table, guidance (>= 1), last steps that give masks, threshold, gate, retries."""

    table: Table
    guidance: float
    mask_steps: int
    threshold: float
    gate: Gate
    retries: int


class Denoiser:
    """The U-Net with the prompts of one batch: (latents, timestep) -> guided noise, and taps if asked.

    Guidance 1 runs the conditional half alone; otherwise both halves are one batch, the conditional first:
    noise = empty + guidance * (conditional - empty).
    """

    def __init__(self, backend: Backend, prompts: Array, empty: Array, guidance: float) -> None:
        self.backend = backend
        self.guidance = np.float32(guidance)
        self.pairs = len(prompts)
        self.prompts = prompts
        if guidance != 1:
            self.prompts = np.concatenate((prompts, np.broadcast_to(empty, prompts.shape)))

    def noise(self, latents: Array, timestep: np.int64) -> Array:
        """Guided noise (n, C, h, w) of latents (n, C, h, w)."""
        return self._run(latents, timestep, ("noise",))[0]

    def noise_and_taps(self, latents: Array, timestep: np.int64) -> tuple[Array, Array, Array]:
        """Guided noise, and the taps up2 and up3 of the conditional half."""
        noise, up2, up3 = self._run(latents, timestep, ("noise", "up2", "up3"))
        return noise, up2[: self.pairs], up3[: self.pairs]

    def _run(self, latents: Array, timestep: np.int64, outputs: tuple[str, ...]) -> list[Array]:
        copies = len(self.prompts) // self.pairs
        feeds = {
            "sample": np.concatenate([latents] * copies),
            "timestep": np.full(len(self.prompts), timestep, np.int64),
            "prompt": self.prompts,
        }
        results = _run(self.backend, "unet", feeds, outputs)
        if copies == 2:
            conditional, empty = results[0][: self.pairs], results[0][self.pairs :]
            results[0] = empty + self.guidance * (conditional - empty)
        return results


def generate(
    model: Model, plan: Plan, sampling: Sampling, batches: Iterable[tuple[int, ...]] | None = None
) -> Iterator[list[Sample]]:
    """Make the pairs of a plan, a batch at a time; `batches` limits the work to some of the plan's batches.

    Each list holds the batch's pairs in order, the last attempt of each: refused masks are tried again with
    new noise, up to `retries` times, as a smaller batch of their own; a sample whose verdict is not "ok" was
    given up.

    Raises:
        BackendError: the engine fails, or its numbers are not finite.
    """
    for batch in plan.batches() if batches is None else batches:
        samples: dict[int, Sample] = {}
        todo = list(batch)
        for attempt in range(sampling.retries + 1):
            pairs = [draw_pair(plan, index, attempt, len(model.conditioning.mean)) for index in todo]
            samples.update(zip(todo, sample_batch(model, sampling, pairs), strict=True))
            todo = [index for index in todo if samples[index].verdict != GOOD]
            if not todo:
                break
        yield [samples[index] for index in batch]


def sample_batch(model: Model, sampling: Sampling, pairs: list[Pair]) -> list[Sample]:
    """One attempt at each of the pairs."""
    latents = np.stack([start_latent(pair, model.conditioning, model.start) for pair in pairs])
    prompts = np.stack([model.conditioning.prompts[pair.defect] for pair in pairs])
    denoiser = Denoiser(model.backend, prompts, model.conditioning.empty, sampling.guidance)
    latents, probabilities = solve(model.backend, denoiser, latents, sampling)
    (images,) = _run(model.backend, "decoder", {"latent": latents}, ("image",))
    masks = threshold_mask(probabilities, sampling.threshold)[:, 0]
    return [
        Sample(pair, to_pixels(image), mask, sampling.gate.verdict(mask))
        for pair, image, mask in zip(pairs, images, masks, strict=True)
    ]


def solve(
    backend: Backend, denoiser: Denoiser, latents: Array, sampling: Sampling
) -> tuple[Array, list[Array]]:
    """DPM-Solver++ (2M) from the start latents (n, C, h, w) to the final ones.

    Also gives the mask probabilities (n, 1, H, W) of the last `mask_steps` steps, each from the latent that
    enters the step and the taps of that step.
    """
    table = sampling.table
    alpha, sigma, a, b, c = (
        values.astype(np.float32) for values in (table.alpha, table.sigma, table.a, table.b, table.c)
    )
    steps = len(table.timesteps)
    probabilities: list[Array] = []
    before = np.zeros_like(latents)
    for step, timestep in enumerate(table.timesteps):
        if step < steps - sampling.mask_steps:
            noise = denoiser.noise(latents, timestep)
        else:
            noise, up2, up3 = denoiser.noise_and_taps(latents, timestep)
            feeds = {"latent": latents, "up2": up2, "up3": up3}
            probabilities += _run(backend, "mask_branch", feeds, ("probability",))
        clean = (latents - sigma[step] * noise) / alpha[step]
        latents = a[step] * latents + b[step] * clean + c[step] * before
        before = clean
    return latents, probabilities


def to_pixels(image: Array) -> NDArray[np.uint8]:
    """Image (3, H, W) in [-1, 1] -> (H, W, 3) uint8, rounded."""
    levels = np.rint((np.clip(image, -1, 1) + 1) * 127.5)
    pixels: NDArray[np.uint8] = levels.astype(np.uint8).transpose(1, 2, 0)
    return pixels


def _run(
    backend: Backend, graph: GraphName, feeds: dict[str, NDArray[Any]], outputs: tuple[str, ...]
) -> list[Array]:
    results = backend.run(graph, feeds, outputs)
    for name in outputs:
        if not np.isfinite(results[name]).all():
            raise BackendError(
                f"{graph} on backend {backend.name} gave NaN or infinity in {name!r}; try --backend cpu"
            )
    return [results[name] for name in outputs]
