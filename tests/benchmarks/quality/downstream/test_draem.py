"""The DRAEM-like detector: its triplets, losses, and that it learns."""

import numpy as np
import pytest
import torch

from benchmarks.quality.downstream import draem, fitting
from benchmarks.quality.downstream.comparators import perlin
from benchmarks.quality.downstream.draem import DraemSettings
from seas_runtime.errors import DataError
from seas_train.config import resolve

SIDE = 32


def normals(count=6):
    """Smooth images, each of its own brightness."""
    rng = np.random.default_rng(3)
    ramp = np.linspace(0, 40, SIDE)[:, None, None]
    bright = np.linspace(60, 160, count)[:, None, None, None]
    return (bright + ramp + rng.normal(0, 2, (count, SIDE, SIDE, 3))).astype(np.uint8)


def anomalies(count, seed, clean=None):
    """Normal images with a blue square each, masks, and the normal images' numbers."""
    rng, clean = np.random.default_rng(seed), normals() if clean is None else clean
    chosen = rng.integers(len(clean), size=count)
    images, masks = clean[chosen], np.zeros((count, SIDE, SIDE), bool)
    for image, mask in zip(images, masks, strict=True):
        top, left = rng.integers(2, SIDE - 12, 2)
        mask[top : top + 8, left : left + 8] = True
        image[mask] = (30, 30, 250)
    return images, masks, chosen


def test_a_perlin_anomaly_gets_the_image_it_was_made_of():
    clean = normals()
    images, masks = perlin.make(clean, clean[:0], np.zeros((0, SIDE, SIDE), bool), 8, 0)
    inputs, targets = draem.triplets(images, masks, clean)
    np.testing.assert_array_equal(inputs, images)
    outside = ~masks
    np.testing.assert_array_equal(targets[outside], images[outside])
    assert all((target == clean).all(axis=(1, 2, 3)).any() for target in targets)


def test_a_generated_anomaly_is_pasted_on_the_nearest_normal_image():
    clean = normals()
    images, masks, chosen = anomalies(5, 1)
    drifted = np.where(masks[..., None], images, images + np.uint8(3))  # a generator changes a little everywhere
    inputs, targets = draem.triplets(drifted, masks, clean)
    np.testing.assert_array_equal(targets, clean[chosen])
    np.testing.assert_array_equal(inputs, images)


def test_what_is_under_the_mask_does_not_decide():
    clean = np.stack([np.full((SIDE, SIDE, 3), value, np.uint8) for value in (50, 200)])
    image, mask = clean[:1].copy(), np.ones((1, SIDE, SIDE), bool)
    mask[0, :2] = False  # only two rows are outside
    image[mask] = 200
    _, targets = draem.triplets(image, mask, clean)
    np.testing.assert_array_equal(targets[0], clean[0])


def test_ssim_of_constant_images_by_hand():
    a, b = (torch.full((1, 3, 16, 16), value, dtype=torch.float64) for value in (0.5, -0.2))
    c = (0.01 / 0.226) ** 2  # the mean of ImageNet's spreads
    expected = (2 * 0.5 * -0.2 + c) / (0.25 + 0.04 + c)
    assert draem.ssim(a, b).item() == pytest.approx(expected, abs=1e-10)


def test_ssim_against_a_plain_loop():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 2, 3, 13, 14, generator=generator, dtype=torch.float64)
    span = 3 / (0.229 + 0.224 + 0.225)
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    found = []
    for n in range(2):
        for c in range(3):
            for i in range(13 - 10):
                for j in range(14 - 10):
                    x, y = (t[n, c, i : i + 11, j : j + 11].flatten() for t in (a, b))
                    cov = ((x - x.mean()) * (y - y.mean())).mean()
                    light = (2 * x.mean() * y.mean() + c1) / (x.mean() ** 2 + y.mean() ** 2 + c1)
                    found.append(light * (2 * cov + c2) / (x.var(correction=0) + y.var(correction=0) + c2))
    assert draem.ssim(a, b).item() == pytest.approx(torch.stack(found).mean().item(), abs=1e-10)
    assert draem.ssim(a, a).item() == pytest.approx(1)
    assert draem.repair_loss(a, a).item() == pytest.approx(0, abs=1e-9)


def test_every_parameter_learns():
    detector = draem.Draem()
    images = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    logits, repaired = detector(images)
    assert logits.shape == (2, 2, SIDE, SIDE)
    assert repaired.shape == images.shape
    masks = torch.zeros(2, 1, SIDE, SIDE)
    masks[0, :, :9] = 1
    (draem.repair_loss(repaired, images) + draem.focal_loss(logits, masks)).backward()
    assert [key for key, p in detector.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_finds_and_repairs_what_it_was_shown():
    settings = DraemSettings(steps=80, batch=8, lr=4e-3)
    images, masks, _ = anomalies(20, 1)
    detector = draem.train(images, masks, normals(), settings, seed=0)
    images, masks, chosen = anomalies(8, 2)
    maps = fitting.predict(detector, images)
    found = maps > 0.5
    assert (found & masks).sum() / (found | masks).sum() > 0.7
    with torch.no_grad():
        repaired = detector(fitting.normalise(fitting.channels_first(images)))[1]
    clean = fitting.normalise(fitting.channels_first(normals()[chosen]))
    before = fitting.normalise(fitting.channels_first(images))
    inside = torch.from_numpy(masks)[:, None].expand_as(clean)
    assert (repaired - clean)[inside].abs().mean() < 0.5 * (before - clean)[inside].abs().mean()


def test_both_methods_differ_in_their_anomalies_alone(monkeypatch):
    seen = []

    def remember(images, masks, clean, settings, seed):
        seen.append((images, masks, clean, settings, seed))
        return draem.Draem().eval()

    monkeypatch.setattr(draem, "train", remember)
    images, masks, _ = anomalies(4, 1)
    test = np.concatenate([images, normals(2)]), np.concatenate([masks, np.zeros((2, SIDE, SIDE), bool)])
    clean, settings = normals(), DraemSettings(steps=1)
    scores = draem.compare((images, masks), clean, test, settings, seed=7)
    assert list(scores) == ["perlin", "generated"]
    (perlins, _, *one), (generated, marks, *other) = seen
    assert perlins.shape == generated.shape
    assert (perlins != generated).any()
    assert generated is images
    assert marks is masks
    assert all(a is b for a, b in zip(one, other, strict=True))


def test_the_same_seed_gives_the_same_detector():
    images, masks, _ = anomalies(4, 1)

    def weights(seed):
        detector = draem.train(images, masks, normals(), DraemSettings(steps=2, batch=4), seed)
        return torch.cat([p.detach().flatten() for p in detector.parameters()])

    first = weights(1)
    assert torch.equal(first, weights(1))
    assert not torch.equal(first, weights(2))


def test_arrays_that_do_not_fit_are_refused():
    images, masks, _ = anomalies(3, 1)
    for given, marks, clean, says in (
        (images, masks, normals()[:0], "normal images"),
        (images[:, :, 1:], masks[:, :, 1:], normals(), "32x31 and 32x32"),
        (images, np.zeros_like(masks), normals(), "mask of anomaly 0 is empty"),
    ):
        with pytest.raises(DataError, match=says):
            draem.train(given, marks, clean, DraemSettings(steps=1), seed=0)


@pytest.mark.parametrize("budget", ["smoke", "small", "paper"])
def test_budgets_are_presets(budget):
    assert resolve(DraemSettings, budget, None, {"steps": 7}).steps == 7
