"""Training and testing of a segmentation network, on squares drawn here."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quality.downstream import fitting, segmentation
from benchmarks.quality.downstream.segmentation import SegmenterSettings, Source, Task
from seas_runtime.errors import DataError, SettingsError
from seas_train.config import resolve


def squares(count, seed, side=32):
    """Grey noise with a bright square each, and its mask."""
    rng = np.random.default_rng(seed)
    images = rng.integers(60, 120, (count, side, side, 3), dtype=np.uint8)
    masks = np.zeros((count, side, side), bool)
    for image, mask in zip(images, masks, strict=True):
        top, left = rng.integers(0, side - 12, 2)
        image[top : top + 12, left : left + 12] += 100
        mask[top : top + 12, left : left + 12] = True
    return images, masks


def normals(count, side=32):
    return np.random.default_rng(99).integers(60, 120, (count, side, side, 3), dtype=np.uint8)


def test_learns_what_it_is_shown():
    settings = SegmenterSettings(steps=100, batch=8, lr=5e-3)
    network = segmentation.train([Source(*squares(16, 1))], normals(4), settings, seed=0)
    images, masks = squares(10, 2)
    maps = segmentation.predict(network, images, batch=3)
    assert maps.shape == masks.shape
    assert maps.dtype == np.float32
    assert 0 <= maps.min() <= maps.max() <= 1
    found = maps > 0.5
    assert (found & masks).sum() / (found | masks).sum() > 0.8
    assert (segmentation.predict(network, normals(4)) > 0.5).mean() < 0.02


def test_the_same_seed_gives_the_same_network():
    def weights(seed):
        settings = SegmenterSettings(steps=2, batch=4)
        network = segmentation.train([Source(*squares(4, 1))], normals(2), settings, seed)
        return torch.cat([p.detach().flatten() for p in network.parameters()])

    torch.manual_seed(0)
    first = weights(3)
    torch.manual_seed(1)
    assert torch.equal(first, weights(3))
    assert not torch.equal(first, weights(4))


def test_sources_are_drawn_by_weight_and_normals_by_share(monkeypatch):
    drawn = []

    def remember(images):
        drawn.append(images[:, 0, 0, 0].clone())
        return images

    monkeypatch.setattr(segmentation, "normalise", remember)
    shape, masks = (2, 32, 32, 3), np.zeros((2, 32, 32), bool)
    rare, often, clean = (np.full(shape, value, np.uint8) for value in (10, 20, 30))
    settings = SegmenterSettings(batch=8, normal_share=0.25, jitter=0)
    tensors = segmentation._tensors([Source(rare, masks, 1), Source(often, masks, 3)], clean)
    for step in range(400):
        generator = torch.Generator().manual_seed(step)
        segmentation._batch(tensors, torch.tensor([1.0, 3.0]), settings, generator)
    counts = {value: sum(int((x == value).sum()) for x in drawn) for value in (10, 20, 30)}
    assert counts[30] == 2 * 400
    assert counts[10] + counts[20] == 6 * 400
    assert counts[20] / counts[10] == pytest.approx(3, rel=0.2)  # 600 of 2400 expected, spread 21


def test_mask_turns_with_its_image():
    images, masks = squares(6, 3)
    images[masks] = 255
    images[~masks] = 0
    settings = SegmenterSettings(batch=8, jitter=0)
    tensors = segmentation._tensors([Source(images, masks)], normals(0))
    found, target = segmentation._batch(tensors, torch.ones(1), settings, torch.Generator().manual_seed(0))
    assert torch.equal(found[:, 0] > 0, target == 1)


def test_dice_loss_by_hand():
    masks = torch.tensor([[[1, 0], [1, 0]]])
    logits = torch.zeros(1, 2, 2, 2)  # p = 0.5 everywhere: overlap 1, sum of p 2, of the mask 2
    assert segmentation.dice_loss(logits, masks) == pytest.approx(1 - 3 / 5)


def test_loss_weighs_its_parts():
    masks = torch.tensor([[[1, 0], [1, 0]]])
    logits = torch.zeros(1, 2, 2, 2)
    one = np.log(2) + 0.5 * 0.4
    assert segmentation.segmentation_loss([logits], masks, 0.5, 0.1) == pytest.approx(one)
    assert segmentation.segmentation_loss([logits] * 3, masks, 0.5, 0.1) == pytest.approx(1.2 * one)


def two_tasks():
    """Bright squares, and dark ones on the same ground."""
    tasks = {}
    for name, sign in (("bright", 1), ("dark", -1)):
        pairs, (images, masks) = squares(12, 1), squares(4, 2)
        flip = (lambda x: x) if sign > 0 else (lambda x: 255 - x)
        test = np.concatenate([images, normals(4)]), np.concatenate([masks, np.zeros_like(masks)])
        tasks[name] = Task((Source(flip(pairs[0]), pairs[1]),), flip(normals(4)), flip(test[0]), test[1])
    return tasks


@pytest.mark.parametrize("scope", ["unified", "each"])
def test_products_are_trained_together_or_each_alone(scope):
    tasks = two_tasks()
    tasks["again"] = replace(tasks["dark"], test_images=tasks["bright"].test_images)
    settings = SegmenterSettings(steps=3, batch=8, scope=scope)
    maps = segmentation.segment(tasks, settings, seed=0)
    assert np.array_equal(maps["bright"], maps["again"]) == (scope == "unified")


def test_scores_of_every_product():
    tasks = two_tasks()
    settings = SegmenterSettings(steps=80, batch=12, lr=5e-3)
    scores = segmentation.evaluate(tasks, segmentation.segment(tasks, settings, seed=0))
    assert scores.keys() == {"bright", "dark"}
    for found in scores.values():
        assert found.pixel.auroc > 0.95
        assert found.pixel.iou > 0.6
        assert found.image.auroc > 0.9


def test_a_perfect_map_scores_one_and_a_test_set_of_one_class_is_named():
    tasks = two_tasks()
    perfect = {name: task.test_masks.astype(np.float32) for name, task in tasks.items()}
    assert segmentation.evaluate(tasks, perfect)["dark"].pixel.iou == 1
    tasks["dark"] = replace(tasks["dark"], test_images=normals(8), test_masks=np.zeros((8, 32, 32), bool))
    with pytest.raises(DataError, match=r"dark: all .* normal"):
        segmentation.evaluate(tasks, perfect)


def test_products_weigh_the_same_in_a_unified_network():
    sources = [Source(*squares(2, 0), 2.0), Source(*squares(2, 0), 6.0)]
    assert [source.weight for source in segmentation._balanced(sources)] == [0.25, 0.75]


def three_factors(image, strength, generator):
    """Brightness, then contrast around the mean, then colour around the grey image; not cut to a range."""
    brightness, contrast, colour = 1 + strength * (2 * torch.rand(3, generator=generator).double() - 1)
    changed = image.double() * brightness
    changed = changed.mean() + contrast * (changed - changed.mean())
    grey = changed.mean(dim=0)
    return (grey + colour * (changed - grey)).numpy()


@given(st.integers(0, 2**31), st.floats(0, 0.9))
def test_jitter_changes_brightness_then_contrast_then_colour_and_keeps_the_range(seed, strength):
    image = torch.randint(256, (3, 4, 4), generator=torch.Generator().manual_seed(seed)).float()
    changed = segmentation.jitter(image.clone(), strength, torch.Generator().manual_seed(seed))
    wanted = three_factors(image, strength, torch.Generator().manual_seed(seed))
    np.testing.assert_allclose(changed, np.clip(wanted, 0, 255), rtol=0, atol=1e-2)


def test_without_strength_jitter_changes_nothing():
    image = torch.arange(48.0).view(3, 4, 4) * 5
    torch.testing.assert_close(segmentation.jitter(image.clone(), 0.0, torch.Generator()), image, rtol=0, atol=1e-3)


def test_normalised_white_by_hand():
    white = fitting.normalise(torch.full((1, 3, 2, 2), 255.0))
    expected = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    torch.testing.assert_close(white[0, :, 0, 0], torch.tensor(expected))


@pytest.mark.parametrize(
    ("sources", "clean", "says"),
    [
        ([], normals(2), "found no pairs"),
        ([Source(*squares(2, 0)), Source(*squares(0, 0))], normals(2), "found no pairs"),
        ([Source(*squares(2, 0), 0.0)], normals(2), "weight 0"),
        ([Source(*squares(2, 0))], normals(2, side=64), "32x32 and 64x64"),
        ([Source(normals(2)[:, :, :16].repeat(2, axis=1), np.ones((2, 64, 16), bool))], normals(0), "found images of 64x16"),
        ([Source(*squares(2, 0, side=40))], normals(0, side=40), "a multiple of 32"),
        ([Source(squares(2, 0)[0], squares(3, 0)[1])], normals(2), "expected .n, H, W, 3. uint8"),
        ([Source(squares(2, 0)[0] / 255, squares(2, 0)[1])], normals(2), "float64"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(sources, clean, says):
    with pytest.raises(DataError, match=says):
        segmentation.train(sources, clean, SegmenterSettings(steps=1), seed=0)


@pytest.mark.parametrize("budget", ["smoke", "small", "paper"])
def test_budgets_are_presets(budget):
    assert resolve(SegmenterSettings, budget, None, {"steps": 7}).steps == 7


def test_unknown_setting_is_refused():
    with pytest.raises(SettingsError, match="epochs"):
        resolve(SegmenterSettings, "small", None, {"epochs": 3})


def test_a_part_learns_at_its_own_rate():
    """AdamW's first step moves a weight by the learning rate, whatever the gradient."""

    class Parts(torch.nn.Module):
        rates: ClassVar = {"slow": 0.1}

        def __init__(self):
            super().__init__()
            self.slow, self.fast = (torch.nn.Linear(1, 1, bias=False) for _ in range(2))

    network = Parts()
    before = network.slow.weight.item(), network.fast.weight.item()
    settings = SegmenterSettings(steps=1, lr=0.01, weight_decay=0)
    fitting.optimise(network, settings, 0, lambda _step: (3 * network.slow.weight + 7 * network.fast.weight).sum())
    moved = before[0] - network.slow.weight.item(), before[1] - network.fast.weight.item()
    assert moved == (pytest.approx(0.001, rel=1e-3), pytest.approx(0.01, rel=1e-3))
