"""Four pairs of a bundle, seed 3, against the PyTorch reference's."""

import numpy as np
import torch

import seas_runtime
from seas_runtime import Options
from seas_runtime.sampling.noise import draw_latents
from seas_runtime.sampling.pairs import draw_pair
from seas_runtime.sampling.recipe import Plan


def drawn(run, held):
    """Draws of four pairs, and the reference's normal latents and noise for them, from a bundle's conditioning."""
    draws = [draw_pair(Plan(run.facts.defects, 3, 4, 4), index, 0, len(held.mean)) for index in range(4)]
    parts = [draw_latents(draw.stream, held.mean[draw.normal], held.std[draw.normal]) for draw in draws]
    normal, noise = (torch.from_numpy(np.stack(part)) for part in zip(*parts, strict=True))
    return draws, normal, noise


def require_alike(plan, truth):
    """The bundle's pairs are those of the reference: PSNR from 50 dB, IoU of the masks from 0.99, at the median's threshold."""
    limit = float(truth.probability.median())
    with seas_runtime.open(plan, "cpu", threads=1) as generator:
        recipe = generator.recipe(Options(count=4, seed=3, batch=3, threshold=limit, max_area=1.0, retries=0))
        pairs = [pair for batch in generator.batches(*recipe) for pair in batch]
    images = ((truth.images.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    for pair, image, probability in zip(pairs, images, truth.probability[:, 0].numpy(), strict=True):
        error = np.mean((pair.image - np.rint(image)) ** 2)
        assert error == 0 or 10 * np.log10(255**2 / error) >= 50
        union = ((pair.mask > 0) | (probability > limit)).sum()
        assert ((pair.mask > 0) & (probability > limit)).sum() >= 0.99 * union
