"""How good and how varied generated images are: Inception Score, IC-LPIPS, and two distances from real images.

Everything is measured per product and defect type; the paper's tables (tab. 1, 8, 30) give the mean over a product's types.
Images are (n, H, W, 3) uint8 RGB, 256 x 256 in the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from scipy.special import log_softmax, logsumexp
from torch import Tensor

from benchmarks.quality.downstream.fitting import Images, channels_first
from benchmarks.quality.metrics.backbones import Backbones, Origin
from benchmarks.quality.metrics.inception import Activations
from benchmarks.quality.metrics.perceptual import Layers, Perceptual, distances, select
from seas_runtime.errors import DataError
from seas_train.config import Settings

Floats = npt.NDArray[np.floating]


class GenerationSettings(Settings):
    """How the metrics are computed: side and splits as in the paper.

    A cluster of IC-LPIPS is limited to 50 images as in the few-shot generation papers before it; SeaS's code keeps 140 and also
    prints a mean that counts clusters of a single image as 0, which is left out here.
    """

    side: int = Field(256, ge=32, description="Side to which images are loaded, pixels.")
    splits: int = Field(10, ge=1, description="Parts of the images whose Inception Scores are averaged.")
    cluster_limit: int = Field(50, ge=2, description="Images of a cluster that are compared with one another.")
    batch: int = Field(8, ge=1, description="Images computed at a time.")
    augment: bool = Field(
        True, description="Look for copies among turned and flipped training images too; switch off for a fixed pose."
    )
    seed: int = Field(0, ge=0, description="Of the splits, and of the choice in large clusters.")


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (over n, not n - 1) of a score over splits."""

    mean: float
    std: float


@dataclass(frozen=True)
class Clusters:
    """Mean distance within clusters around training anomalies.

    Attributes:
        value: IC-LPIPS; higher is more varied.
        sizes: Generated images nearest to each training anomaly; clusters of fewer than two do not count.
    """

    value: float
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class GenerationScores:
    """Of the generated images of one defect type.

    Attributes:
        count: Generated images.
        inception_score: 1 or more, higher is better, over `splits` splits.
        splits: Their number.
        ic_lpips: 0 or more, higher is more varied.
        kernel_distance: KID, lower is better, 0 in the mean for images of one source, so it may be below; unbiased
            for any number of images, but with some dozens of them its spread is large. None for a single image.
        frechet_distance: FID, lower is better; far too high with fewer images than features, so to be compared at
            equal numbers alone. None for a single image.
        real: Real images in both distances.
        classifier: What computed all but IC-LPIPS.
        perceptual: What computed IC-LPIPS.
    """

    count: int
    inception_score: Spread
    splits: int
    ic_lpips: Clusters
    kernel_distance: float | None
    frechet_distance: float | None
    real: int
    classifier: Origin
    perceptual: Origin


def evaluate(
    generated: Images,
    training: Images,
    real: Images,
    backbones: Backbones,
    settings: GenerationSettings,
) -> GenerationScores:
    """Score the generated images of one product and defect type.

    Args:
        generated: Generated images (n, side, side, 3), `settings.side` pixels a side.
        training: The anomaly images (k, side, side, 3) that the generator has seen, which are the clusters of IC-LPIPS.
        real: Anomaly images (r, side, side, 3) for the two distances, best those that it has not seen.
        backbones: What sees the images.
        settings: What `GenerationSettings` says.

    Raises:
        DataError: Too few images for a score.
    """
    seen = classify(backbones.classifier, generated, settings.batch)
    truth = classify(backbones.classifier, real, settings.batch) if len(real) else None
    enough = truth is not None and min(len(generated), len(real)) >= 2
    features = (truth.features.numpy(), seen.features.numpy()) if truth is not None and enough else None
    return GenerationScores(
        count=len(generated),
        inception_score=inception_score(seen.logits.numpy(), settings.splits, settings.seed),
        splits=settings.splits,
        ic_lpips=intra_cluster(backbones.perceptual, generated, training, settings),
        kernel_distance=kernel_distance(*features) if features else None,
        frechet_distance=frechet_distance(*features) if features else None,
        real=len(real),
        classifier=backbones.classifier_origin,
        perceptual=backbones.perceptual_origin,
    )


def classify(classifier: Callable[[Tensor], Activations], images: Images, batch: int) -> Activations:
    """Logits (n, classes) and features (n, d) of images, at least one."""
    parts = [classifier(channels_first(images[i : i + batch])) for i in range(0, len(images), batch)]
    return Activations(torch.cat([part.logits for part in parts]), torch.cat([part.features for part in parts]))


def inception_score(logits: Floats, splits: int, seed: int) -> Spread:
    """The exponential of the mutual information of image and class (Barratt & Sharma 2018), split by split.

    Args:
        logits: (n, classes), before the softmax.
        splits: The images, shuffled, are cut into so many parts as equal as can be.
        seed: Of the shuffle.

    Raises:
        DataError: A split would be empty.
    """
    if len(logits) < splits:
        raise DataError(
            f"found {len(logits)} images for an Inception Score over {splits} splits, expected at least {splits}; "
            "generate more or lower the number of splits"
        )
    order = np.random.default_rng(seed).permutation(len(logits))
    logs = log_softmax(logits[order].astype(np.float64), axis=1)
    scores = []
    for part in np.array_split(logs, splits):
        marginal = logsumexp(part, axis=0) - np.log(len(part))
        scores.append(np.exp((np.exp(part) * (part - marginal)).sum(axis=1).mean()))
    return Spread(float(np.mean(scores)), float(np.std(scores)))


def intra_cluster(perceptual: Perceptual, generated: Images, training: Images, settings: GenerationSettings) -> Clusters:
    """IC-LPIPS (Ojha et al. 2021): the mean distance of images (n, H, W, 3) with the same nearest training anomaly.

    Of a cluster at most `cluster_limit` images are drawn and compared, each pair once; the mean is over clusters.
    A generator that copies its training images scores 0.

    Raises:
        DataError: No training anomaly is nearest to two generated images.
    """
    nearest = assign(perceptual, generated, training, settings.batch)
    rng = np.random.default_rng(settings.seed)
    means, sizes = [], []
    for k in range(len(training)):
        members = np.flatnonzero(nearest == k)
        sizes.append(len(members))
        if len(members) >= 2:
            chosen = rng.permutation(members)[: settings.cluster_limit]
            means.append(mean_pairwise(perceptual.layers(generated[chosen], settings.batch)))
    if not means:
        raise DataError(
            f"found {len(generated)} generated images and {len(training)} training anomalies, expected one of these "
            "to be nearest to two generated images: IC-LPIPS is undefined; generate more"
        )
    return Clusters(float(np.mean(means)), tuple(sizes))


def assign(perceptual: Perceptual, generated: Images, training: Images, batch: int) -> npt.NDArray[np.intp]:
    """Number (n,) of the training image (k, H, W, 3) that is nearest to each generated one (n, H, W, 3)."""
    centres = perceptual.layers(training, batch)
    parts = [
        distances(perceptual.layers(generated[i : i + batch], batch), centres).argmin(dim=1).numpy()
        for i in range(0, len(generated), batch)
    ]
    return np.concatenate(parts)


def mean_pairwise(layers: Layers) -> float:
    """Mean distance of all pairs of two or more embedded images, each pair once."""
    count = len(layers[0])
    rows = [distances(select(layers, [i]), [x[i + 1 :] for x in layers]).flatten() for i in range(count - 1)]
    return float(torch.cat(rows).mean())


def kernel_distance(real: Floats, generated: Floats) -> float:
    """KID (Binkowski et al. 2018): the unbiased squared MMD with the kernel (x y / d + 1)^3.

    Args:
        real: Features (n, d), n at least 2.
        generated: Features (m, d), m at least 2.
    """
    x, y = real.astype(np.float64), generated.astype(np.float64)

    def kernel(a: Floats, b: Floats) -> Floats:
        return np.asarray((a @ b.T / a.shape[1] + 1) ** 3)

    def mean_of_others(k: Floats) -> float:
        n = len(k)
        return float((k.sum() - np.trace(k)) / (n * (n - 1)))

    return mean_of_others(kernel(x, x)) + mean_of_others(kernel(y, y)) - 2 * float(kernel(x, y).mean())


def frechet_distance(real: Floats, generated: Floats) -> float:
    """FID (Heusel et al. 2017): the squared Wasserstein-2 distance of the Gaussians with the features' moments.

    The trace of the root of the product of both covariances A'A and B'B is the sum of the singular values of AB', which
    stays exact where there are fewer images than features.

    Args:
        real: Features (n, d), n at least 2.
        generated: Features (m, d), m at least 2.
    """
    x, y = real.astype(np.float64), generated.astype(np.float64)
    a, b = ((z - z.mean(axis=0)) / np.sqrt(len(z) - 1) for z in (x, y))
    small_a, small_b = np.linalg.qr(a).R, np.linalg.qr(b).R  # d rows at most; their product has the same singular values
    shift = np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2)
    root = np.linalg.svd(small_a @ small_b.T, compute_uv=False).sum()
    return float(shift + np.sum(a**2) + np.sum(b**2) - 2 * root)


def mean_over_types(scores: Sequence[GenerationScores]) -> tuple[float, float]:
    """Inception Score and IC-LPIPS of a product as in the paper's tables: the means over its types, at least one."""
    inception = [found.inception_score.mean for found in scores]
    return float(np.mean(inception)), float(np.mean([found.ic_lpips.value for found in scores]))
