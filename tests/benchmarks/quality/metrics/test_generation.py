"""Generation metrics against torchmetrics, scipy, brute force and hand calculation."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.special import softmax
from scipy.stats import entropy
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import poly_mmd

from benchmarks.quality.metrics import backbones
from benchmarks.quality.metrics.generation import (
    GenerationSettings,
    evaluate,
    frechet_distance,
    inception_score,
    intra_cluster,
    kernel_distance,
    mean_over_types,
    mean_pairwise,
)
from benchmarks.quality.metrics.perceptual import Perceptual, distances, unweighted
from seas_runtime.errors import DataError
from seas_train.data import demo

RED, YELLOW, BLUE = (255, 0, 0), (255, 255, 0), (0, 0, 255)
COLOURS = Perceptual(lambda images: [images.float()], [torch.ones(3)])
"""A network whose only layer is the image: distances of unit colour vectors."""


def plain(*colours: tuple[int, int, int]) -> np.ndarray:
    """An image of 4 x 4 for each colour."""
    return np.array([np.full((4, 4, 3), colour) for colour in colours], dtype=np.uint8)


def pieces(count: int, defect: str | None, seed: int) -> np.ndarray:
    rngs = [np.random.default_rng((seed, i)) for i in range(count)]
    return np.stack([demo.draw("bottle", defect, 64, rng)[0] for rng in rngs])


@pytest.mark.filterwarnings("ignore::UserWarning")  # torchmetrics: of its memory, and of one split having no spread
def test_inception_score_agrees_with_torchmetrics():
    logits = np.random.default_rng(0).normal(0, 3, (40, 12))
    metric = InceptionScore(feature=torch.nn.Identity(), splits=1)
    metric.update(torch.from_numpy(logits))
    found = inception_score(logits, splits=1, seed=0)
    assert found.mean == pytest.approx(float(metric.compute()[0]), abs=1e-6)
    assert found.std == 0


@pytest.mark.parametrize(("count", "splits"), [(40, 10), (23, 4)])
def test_inception_score_by_scipys_entropy_split_by_split(count, splits):
    logits = np.random.default_rng(1).normal(0, 3, (count, 5))
    order = np.random.default_rng(7).permutation(count)
    sizes = [count // splits + (i < count % splits) for i in range(splits)]
    scores, start = [], 0
    for size in sizes:
        p = softmax(logits[order[start : start + size]], axis=1)
        scores.append(np.exp(np.mean([entropy(row, p.mean(axis=0)) for row in p])))
        start += size
    found = inception_score(logits, splits, seed=7)
    assert (found.mean, found.std) == pytest.approx((np.mean(scores), np.std(scores)), abs=1e-6)


def test_inception_score_by_hand():
    """Sure of k classes in equal parts: k. The same for every image: 1. Logits beyond float's exponent: still so."""
    sure = np.repeat(np.eye(4) * 2000, 5, axis=0)
    assert inception_score(sure, splits=1, seed=0).mean == pytest.approx(4, abs=1e-6)
    assert inception_score(np.ones((6, 3)), splits=2, seed=0).mean == pytest.approx(1, abs=1e-6)


def test_too_few_images_for_the_splits():
    with pytest.raises(DataError, match="found 9 images for an Inception Score over 10 splits, expected at least 10"):
        inception_score(np.zeros((9, 3)), splits=10, seed=0)


def test_kernel_distance_agrees_with_torchmetrics_and_brute_force():
    rng = np.random.default_rng(2)
    x, y = rng.normal(0, 1, (9, 5)), rng.normal(0.5, 1, (9, 5))
    expected = float(poly_mmd(torch.from_numpy(x), torch.from_numpy(y)))
    assert kernel_distance(x, y) == pytest.approx(expected, abs=1e-6)
    y = y[:4]
    total = 0.0
    for a, b, weight in ((x, x, 1 / (9 * 8)), (y, y, 1 / (4 * 3)), (x, y, -2 / (9 * 4))):
        for i, u in enumerate(a):
            for j, v in enumerate(b):
                if a is not b or i != j:
                    total += weight * (float(u @ v) / 5 + 1) ** 3
    assert kernel_distance(x, y) == pytest.approx(total, abs=1e-6)


def root(matrix: np.ndarray) -> np.ndarray:
    """Of a symmetric matrix whose eigenvalues should not be below 0."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T


@pytest.mark.parametrize(("real", "generated", "d"), [(60, 50, 6), (5, 4, 12)])
def test_frechet_distance_agrees_with_matrix_roots(real, generated, d):
    """With more images than features, and with fewer: there the covariances are singular, and sqrtm of them is off by 1e-3."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(0, 1, (real, d)), rng.normal(0.3, 1.5, (generated, d))
    s, t = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    trace = np.trace(root(root(s) @ t @ root(s)))  # of the same eigenvalues as s t
    if real > d:
        assert trace == pytest.approx(np.trace(sqrtm(s @ t)).real, abs=1e-9)
    expected = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(s) + np.trace(t) - 2 * trace
    assert frechet_distance(x, y) == pytest.approx(expected, abs=1e-6)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-6)


def eigenvalue_distance(x: np.ndarray, y: np.ndarray) -> float:
    """FID as the demo's published figures have it: roots of the eigenvalues of the product of both covariances."""
    s, t = np.cov(x.T), np.cov(y.T)
    roots = np.sqrt(np.clip(np.linalg.eigvals(s @ t).real, 0, None))
    return float(np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(s) + np.trace(t) - 2 * roots.sum())


def features(kind: str, count: int, d: int, rng: np.random.Generator) -> np.ndarray:
    found = rng.normal(rng.normal(), rng.uniform(0.5, 2), (count, d))
    if kind == "one is constant":
        found[:, 0] = 3
    if kind == "two are the same":
        found[:, 1] = found[:, 0]
    return np.zeros_like(found) if kind == "all are zero" else found


@pytest.mark.parametrize("kind", ["random", "one is constant", "two are the same", "all are zero"])
@pytest.mark.parametrize(("real", "generated", "d"), [(300, 200, 24), (60, 50, 6), (8, 40, 12), (5, 4, 12)])
def test_frechet_distance_agrees_with_eigenvalues_on_random_and_on_degenerate_features(kind, real, generated, d):
    rng = np.random.default_rng(real)
    x, y = features(kind, real, d, rng), features("random", generated, d, rng)
    singular = kind != "random" or min(real, generated) <= d  # there the eigenvalues that should be 0 are 1e-16, their roots 1e-8
    expected = eigenvalue_distance(x, y)
    assert frechet_distance(x, y) == pytest.approx(expected, abs=1e-6 if singular else 1e-11)
    assert frechet_distance(y, x) == pytest.approx(expected, abs=1e-6 if singular else 1e-11)


def test_frechet_distance_of_two_normal_distributions():
    """Of many vectors, where a matrix of all against all would not fit."""
    first = np.random.default_rng(0).standard_normal((200_000, 2))
    second = first * [2.0, 3.0] + [1.0, -2.0]
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-6)
    expected = 1 + 4 + (2 - 1) ** 2 + (3 - 1) ** 2  # of diagonal covariances: means, and spreads one by one
    assert frechet_distance(first, second) == pytest.approx(expected, rel=0.02)


def test_distances_without_learned_weights_are_those_of_unit_channel_vectors():
    generator = torch.Generator().manual_seed(0)
    first, second = ([torch.randn(n, 5, 3, 3, generator=generator), torch.randn(n, 2, 1, 1, generator=generator)] for n in (2, 3))
    expected = np.zeros((2, 3))
    for i in range(2):
        for j in range(3):
            for a, b in zip(first, second, strict=True):
                x, y = a[i] / a[i].norm(dim=0), b[j] / b[j].norm(dim=0)
                expected[i, j] += float(((x - y) ** 2).sum(dim=0).mean())
    np.testing.assert_allclose(distances(unweighted(first), unweighted(second)), expected, atol=1e-5)


def test_clusters_by_hand():
    """Around red: red and yellow, 2 - 2 / sqrt 2 apart; around blue: the same twice; nobody is at green."""
    training = plain(RED, BLUE, (0, 255, 0))
    generated = plain(BLUE, RED, BLUE, YELLOW)
    generated[3, ..., 1] = 254  # a little nearer to red than to green
    yellow = np.array([255, 254, 0]) / np.hypot(255, 254)
    found = intra_cluster(COLOURS, generated, training, GenerationSettings())
    assert found.sizes == (2, 2, 0)
    assert found.value == pytest.approx((np.sum((yellow - [1, 0, 0]) ** 2) + 0) / 2, abs=1e-6)


def test_the_mean_within_a_cluster_takes_each_pair_once():
    """Red, yellow, blue: red-yellow 2 - sqrt 2, red-blue 2, yellow-blue 2."""
    found = mean_pairwise(COLOURS.layers(plain(RED, YELLOW, BLUE)))
    assert found == pytest.approx((2 - np.sqrt(2) + 2 + 2) / 3, abs=1e-6)


def test_a_large_cluster_is_sampled_by_the_seed():
    generated = pieces(6, None, seed=1)
    training = generated[:1]
    every, few, again, other = (
        intra_cluster(COLOURS, generated, training, GenerationSettings(cluster_limit=limit, seed=seed)).value
        for limit, seed in ((6, 0), (2, 0), (2, 0), (2, 1))
    )
    assert few == again
    assert len({every, few, other}) == 3


def test_no_cluster_of_two():
    with pytest.raises(DataError, match=r"2 generated images and 2 training anomalies.*IC-LPIPS is undefined"):
        intra_cluster(COLOURS, plain(RED, BLUE), plain(RED, BLUE), GenerationSettings())


@pytest.mark.parametrize("proxy", [backbones.own_proxy, backbones.pretrained_proxy])
def test_scores_of_drawn_pieces_under_a_proxy(proxy):
    """Unseen pieces of the same kind are nearer than another product's, copies are less varied than new pieces."""
    loaded = proxy()
    settings = GenerationSettings(side=64, splits=1)
    training, real = pieces(2, "contamination", seed=2), pieces(12, "contamination", seed=3)
    new = evaluate(pieces(12, "contamination", seed=4), training, real, loaded, settings)
    copies = evaluate(np.repeat(training, 6, axis=0), training, real, loaded, settings)
    nuts = np.stack([demo.draw("nut", "bent", 64, np.random.default_rng(i))[0] for i in range(12)])
    other = evaluate(nuts, training, real, loaded, settings)
    assert copies.ic_lpips.value == pytest.approx(0, abs=1e-5)
    assert copies.ic_lpips.sizes == (6, 6)
    assert new.ic_lpips.value > 0.01
    assert other.kernel_distance > 10 * abs(new.kernel_distance)
    assert other.frechet_distance > 2 * new.frechet_distance
    assert new.classifier == loaded.classifier_origin
    assert (new.count, new.real) == (12, 12)
    inception, varied = mean_over_types([new, other])
    assert inception == pytest.approx((new.inception_score.mean + other.inception_score.mean) / 2)
    assert varied == pytest.approx((new.ic_lpips.value + other.ic_lpips.value) / 2)


@pytest.mark.parametrize("count", [0, 1])
def test_distances_are_left_out_without_two_real_images(count):
    generated = pieces(4, None, seed=5)
    settings = GenerationSettings(side=64, splits=2)
    found = evaluate(generated, generated[:1], generated[:count], backbones.own_proxy(), settings)
    assert found.kernel_distance is None
    assert found.frechet_distance is None
    assert found.real == count
