"""From a plan to image-mask pairs. Pure: no files, no globals, any backend."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from seas_runtime.backends import Backend, BatchBackend
from seas_runtime.backends.workers import Workers
from seas_runtime.bundle.conditioning import Conditioning
from seas_runtime.bundle.manifest import Start
from seas_runtime.bundle.photographs import Patch
from seas_runtime.errors import DeviceMemoryError
from seas_runtime.kernels.reference import to_pixels
from seas_runtime.sampling.background import at_latent, blend, edge, grow, paste, patch, soft
from seas_runtime.sampling.cleaning import clean
from seas_runtime.sampling.loop import Array, Pixels, at_level, finish, fresh_for, job_of, solve
from seas_runtime.sampling.masks import GOOD, Mask, agreement, threshold_mask
from seas_runtime.sampling.pairs import NORMAL, Draw, Pair, draw_pair, framed, init_latents, placed_mask, start_latent
from seas_runtime.sampling.prompted import PromptedUnet, run_graph
from seas_runtime.sampling.recipe import Plan, Sampling

Batches = Generator[list[Pair]]


@dataclass(frozen=True)
class Model:
    """A bundle's graphs in an engine, with its conditioning and start coefficients.

    Where backgrounds are kept there are `photographs` (P, H, W, 3) of the normal images, in the conditioning's order, and `patches`
    of each type's composites, if the bundle has them.
    """

    backend: Backend
    conditioning: Conditioning
    start: Start
    photographs: Pixels | None = None
    patches: Mapping[str, Sequence[Patch]] = field(default_factory=dict)


def generate(
    model: Model,
    plan: Plan,
    sampling: Sampling,
    batches: Iterable[tuple[int, ...]] | None = None,
    log: Callable[[str], None] = lambda _line: None,
) -> Batches:
    """Make the pairs of a plan, a batch at a time; `batches` limits the work to some of the plan's batches.

    Each list holds the batch's pairs in order, the last attempt of each: refused masks are tried again with
    new noise, up to `retries` times, as a smaller batch of their own; a pair whose verdict is not "ok" was
    given up. Where the backend has workers, each batch is cut in as many parts, or the next batches are begun as well: close
    the iterator to stop them. Where the device's memory is too small for a batch, it and all later ones are made in halves,
    of the same noise, and `log` is told.

    Raises:
        BackendError: the engine fails, or its numbers are not finite.
        DeviceMemoryError: half a batch does not fit either.
    """
    with Workers(model.backend.workers) as workers:
        maker = _Maker(model, plan, sampling, workers, log)
        chosen = plan.batches() if batches is None else batches
        for parts in workers.in_order(maker.make, (cut(batch, workers.number) for batch in chosen)):
            yield [pair for part in parts for pair in part]


def cut(batch: tuple[int, ...], parts: int) -> list[tuple[int, ...]]:
    """A batch in at most so many parts of nearly equal length."""
    number = min(parts, len(batch))
    edges = [len(batch) * i // number for i in range(number + 1)]
    return [batch[first:end] for first, end in pairwise(edges)]


class _Maker:
    """Makes parts of batches, in any thread; `together` is how many pairs at most are sampled at once."""

    def __init__(self, model: Model, plan: Plan, sampling: Sampling, workers: Workers, log: Callable[[str], None]) -> None:
        self.model, self.plan, self.sampling, self.workers, self.log = model, plan, sampling, workers, log
        self.together = plan.batch

    def make(self, indices: tuple[int, ...]) -> list[Pair]:
        """The pairs of these indices, refused ones tried again."""
        made: dict[int, Pair] = {}
        todo = list(indices)
        for attempt in range(self.sampling.retries + 1):
            draws = [self._draw(index, attempt) for index in todo]
            pairs = [framed(pair, self.sampling.frame) for pair in self._attempt(draws)]
            made.update(zip(todo, pairs, strict=True))
            todo = [index for index in todo if not made[index].good]
            if not todo:
                break
        return [made[index] for index in indices]

    def _draw(self, index: int, attempt: int) -> Draw:
        conditioning = self.model.conditioning
        composites = self.sampling.composites and min(map(len, conditioning.composites.values()))
        return draw_pair(self.plan, index, attempt, len(conditioning.mean), int(composites))

    def _attempt(self, draws: list[Draw]) -> list[Pair]:
        """One attempt at each of the pairs, in halves if memory asks for it."""
        together = self.together
        try:
            return self._sample(draws, together)
        except DeviceMemoryError as error:
            if together < self.plan.batch or len(draws) == 1:
                raise
            half = len(draws) // 2
            self.log(f"{len(draws)} pairs at once do not fit, {half} at once from here on: {error.message}")
        self.together = min(self.together, half)
        return self._sample(draws, half)

    def _sample(self, draws: list[Draw], together: int) -> list[Pair]:
        parts = (draws[first : first + together] for first in range(0, len(draws), together))
        return [pair for part in parts for pair in sample_batch(self.model, self.sampling, part, self.workers)]


def sample_batch(model: Model, sampling: Sampling, draws: list[Draw], workers: Workers) -> list[Pair]:
    """One attempt at each of the pairs, or of the normal images."""
    conditioning = model.conditioning
    prompts = np.stack([conditioning.normal if draw.defect == NORMAL else conditioning.prompts[draw.defect] for draw in draws])
    unet = PromptedUnet(model.backend, prompts, conditioning.empty if sampling.guided.any() else None)
    if sampling.first_step is not None:
        sampling = sampling.begun_at(sampling.first_step)
    if sampling.keeps_background and model.photographs is not None:
        return _over_photographs(model, sampling, model.photographs, draws, unet, workers)
    placed = _placed(sampling, draws, model)
    if placed or all(draw.defect == NORMAL for draw in draws):
        sampling = replace(sampling, mask_steps=0, look=None)  # the branch is not asked
    latents = np.stack([_start(draw, model, sampling) for draw in draws])
    if isinstance(model.backend, BatchBackend):
        pixels, masks, steps = model.backend.sample_batch(job_of(unet, latents, sampling, draws))
        if placed:
            return [_given(sampling, *of_pair) for of_pair in zip(draws, pixels, placed, strict=True)]
        return [_pair(sampling, *of_pair) for of_pair in zip(draws, pixels, masks, steps.swapaxes(0, 1), strict=True)]
    latents, masking = solve(model.backend, unet, latents, sampling, workers, fresh=fresh_for(sampling, draws, latents))
    pixels, probabilities = finish(unet, latents, sampling, masking)
    if placed:
        return [_given(sampling, *of_pair) for of_pair in zip(draws, pixels, placed, strict=True)]
    return [_masked(sampling, draw, pixels[i], [p[i, 0] for p in probabilities]) for i, draw in enumerate(draws)]


def _placed(sampling: Sampling, draws: list[Draw], model: Model) -> list[Mask]:
    """The masks (H, W) that pairs from composites have, where they are those of the composites; else none."""
    masks = [placed_mask(draw, model.conditioning) for draw in draws if sampling.placed_masks]
    return [mask for mask in masks if mask is not None]


def _given(sampling: Sampling, draw: Draw, image: Pixels, mask: Mask) -> Pair:
    """A pair of an image (H, W, 3) whose mask (H, W) was known before."""
    return Pair(draw, image, mask, sampling.rules[draw.defect].gate.verdict(mask))


def _start(draw: Draw, model: Model, sampling: Sampling) -> Array:
    """The latent (C, h, w) that enters the first step."""
    if sampling.first_step is None:
        return start_latent(draw, model.conditioning, model.start)
    latent, _, noise = init_latents(draw, model.conditioning)
    return at_level(sampling.table, 0, latent, noise)


def _masked(sampling: Sampling, draw: Draw, image: Pixels, probabilities: list[Array], within: Mask | None = None) -> Pair:
    """A pair of an image (H, W, 3) and the mask probabilities (H, W) of its last steps; those count that are `within` a mask."""
    if draw.defect == NORMAL:
        return Pair(draw, image, np.zeros(image.shape[:2], np.uint8), GOOD)
    limit = sampling.rules[draw.defect].threshold
    if within is not None:
        probabilities = [np.where(within > 0, probability, np.float32(0)) for probability in probabilities]
    steps = np.stack([threshold_mask([probability], limit) for probability in probabilities])
    return _pair(sampling, draw, image, threshold_mask(probabilities, limit), steps)


def _pair(sampling: Sampling, draw: Draw, image: Pixels, mask: Mask, steps: NDArray[np.uint8]) -> Pair:
    """A pair of an image (H, W, 3), its mask (H, W) and those of the last steps (s, H, W), judged by the gate of its type."""
    if draw.defect == NORMAL:
        return Pair(draw, image, mask, GOOD)
    rule, agreed = sampling.rules[draw.defect], agreement(steps)
    mask = clean(mask, rule.smallest)
    return Pair(draw, image, mask, rule.gate.verdict(mask, agreed), agreed)


def _over_photographs(
    model: Model, sampling: Sampling, photographs: Pixels, draws: list[Draw], unet: PromptedUnet, workers: Workers
) -> list[Pair]:
    """Pairs whose pictures are photographs but for the anomaly, see `background`; normal images likewise, but for a patch.

    Where the anomaly is to lie is known before for a composite, and kept to in every step; else the steps' masks say it.
    """
    table = sampling.table
    begun, normals, noise = (np.stack(part) for part in zip(*(init_latents(d, model.conditioning) for d in draws), strict=True))
    side, height = normals.shape[-1], photographs.shape[1]
    width = edge(height)
    known = [patch(d.stream, height) if d.defect == NORMAL else placed_mask(d, model.conditioning) for d in draws]
    placed = _placed(sampling, draws, model)
    if placed or all(draw.defect == NORMAL for draw in draws):
        sampling = replace(sampling, mask_steps=0, look=None)  # the branch is not asked

    def keep(latents: Array, step: int, probabilities: list[Array]) -> Array:
        regions = [_region(sampling, draw, known[i], [p[i, 0] for p in probabilities]) for i, draw in enumerate(draws)]
        cells = [at_latent(grow(region, width), side) for region in regions if region is not None]
        if len(cells) < len(draws):
            return latents
        return blend(latents, at_level(table, step + 1, normals, noise), np.stack(cells))

    start, fresh = at_level(table, 0, begun, noise), fresh_for(sampling, draws, normals)
    latents, masking = solve(model.backend, unet, start, sampling, workers, keep, fresh)
    pixels, probabilities = finish(unet, latents, sampling, masking)
    if any(model.patches.values()) and draws[0].composite is not None:
        pixels = _detailed(model, photographs, draws, begun, pixels)
    pairs = []
    for i, (draw, image, region) in enumerate(zip(draws, pixels, known, strict=True)):
        within = None if region is None else grow(region, width)
        own = [p[i, 0] for p in probabilities]
        pair = _given(sampling, draw, image, placed[i]) if placed else _masked(sampling, draw, image, own, within)
        amount = soft(pair.mask if region is None else region, width)
        pairs.append(replace(pair, image=paste(image, photographs[draw.normal], amount)))
    return pairs


def _detailed(model: Model, photographs: Pixels, draws: list[Draw], begun: Array, pixels: Pixels) -> Pixels:
    """Composites as they were photographed, changed as generation changed their decoded latents `begun` (n, C, h, w) to `pixels`.

    So grain and edges that the decoder blurs are those of photographs, and what is blurred is no sign of an anomaly.
    """
    before = to_pixels(run_graph(model.backend, "decoder", {"latent": begun}, ("image",))[0])
    sharp = [model.patches[d.defect][d.composite or 0].on(photographs[d.normal]) for d in draws]
    change = pixels.astype(np.int16) - before
    return np.asarray(np.clip(np.stack(sharp) + change, 0, 255), np.uint8)


def _region(sampling: Sampling, draw: Draw, known: Mask | None, probabilities: list[Array]) -> Mask | None:
    """Where a pair's anomaly is to lie, as far as that is known in a step that has these probabilities (H, W)."""
    if known is not None or not probabilities:
        return known
    return threshold_mask(probabilities, sampling.rules[draw.defect].threshold)
