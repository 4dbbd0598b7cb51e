"""Losses against loops written from the equations."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from seas_train.losses import da_loss, focal_loss, level_mask, min_max, na_loss

ANOMALY = torch.tensor([[2, 4], [1, 3]])
PRODUCT = torch.tensor([[1], [0]])


def stretched(planes: list[list[list[float]]], over: str) -> list[list[list[float]]]:
    """Min-max of nested lists, each image alone or all together."""
    every = [v for plane in planes for row in plane for v in row]
    result = []
    for plane in planes:
        values = every if over == "batch" else [v for row in plane for v in row]
        low, high = min(values), max(values)
        result.append([[(v - low) / (high - low) for v in row] for row in plane])
    return result


def brute_da(levels: list[torch.Tensor], targets: list[torch.Tensor], over: str) -> float:
    """Eq. 3, cell by cell; `targets` are the masks at the sides of `levels`."""
    total = 0.0
    for maps, target in zip(levels, targets, strict=True):
        n, r = len(maps), maps.shape[1]

        def mean(image: int, tokens: list[int], maps=maps, r=r) -> list[list[float]]:
            values = maps[image].tolist()
            return [[sum(values[y][x][k] for k in tokens) / len(tokens) for x in range(r)] for y in range(r)]

        anomaly = stretched([mean(i, ANOMALY[i].tolist()) for i in range(n)], over)
        product = stretched([mean(i, PRODUCT[i].tolist()) for i in range(n)], over)
        inside, apart = [], []
        for i in range(n):
            cells = [(y, x) for y in range(r) for x in range(r)]
            marked = [(y, x) for y, x in cells if target[i, y, x] == 1]
            inside += [(anomaly[i][y][x] - float(target[i, y, x])) ** 2 for y, x in cells]
            apart.append(sum(product[i][y][x] ** 2 for y, x in marked) / len(marked) if marked else 0.0)
        total += sum(inside) / len(inside) + sum(apart) / n
    return total


def blocks(cells: torch.Tensor, factor: int) -> torch.Tensor:
    """A mask whose every cell is a square of `factor` pixels."""
    return cells.repeat_interleave(factor, -1).repeat_interleave(factor, -2)


@pytest.fixture
def attention() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(2, r, r, 6, generator=generator).softmax(dim=-1) for r in (4, 2)]


@pytest.mark.parametrize("over", ["image", "batch"])
@pytest.mark.parametrize("second_is_empty", [False, True])
def test_da_loss_is_equation_3(attention, over, second_is_empty):
    coarse = torch.tensor([[[1.0, 0], [0, 0]], [[0, 1], [0, 1]]])
    if second_is_empty:
        coarse[1] = 0
    mask = blocks(coarse, 16)[:, None]
    expected = brute_da(attention, [blocks(coarse, 2), coarse], over)
    assert float(da_loss(attention, mask, ANOMALY, PRODUCT, 4, over)) == pytest.approx(expected, rel=1e-5)


def test_image_and_batch_min_max_differ_in_da_loss(attention):
    mask = blocks(torch.tensor([[[1.0, 0], [0, 0]], [[0, 1], [0, 1]]]), 16)[:, None]
    image, batch = (da_loss(attention, mask, ANOMALY, PRODUCT, 4, over) for over in ("image", "batch"))
    assert not torch.isclose(image, batch)


def test_perfect_attention_costs_nothing():
    target = torch.zeros(1, 4, 4)
    target[:, :2, :2] = 1
    maps = torch.stack([1 - target, target], dim=-1) * 0.25
    loss = da_loss([maps], blocks(target, 8)[:, None], torch.tensor([[1]]), torch.tensor([[0]]), 4)
    assert float(loss) == pytest.approx(0, abs=1e-6)


def test_flat_attention_has_a_finite_gradient():
    maps = torch.full((1, 4, 4, 3), 1 / 3, requires_grad=True)
    mask = torch.ones(1, 1, 32, 32)
    da_loss([maps], mask, torch.tensor([[1]]), torch.tensor([[0]]), 4).backward()
    assert maps.grad.isfinite().all()


@pytest.mark.parametrize("side", [8, 4, 2])
def test_level_mask_is_resized_then_max_pooled(side):
    mask = torch.zeros(2, 1, 64, 64)
    mask[0, 0, 5:30, 12:50] = 1
    mask[1, 0, 40:41, 3:6] = 1
    expected = []
    for plane in mask[:, 0].numpy():
        soft = np.asarray(Image.fromarray(plane).resize((8, 8), Image.Resampling.BILINEAR))
        step = 8 // side
        pooled = np.array(
            [[soft[y * step : y * step + step, x * step : x * step + step].max() for x in range(side)] for y in range(side)]
        )
        expected.append(pooled >= pooled.max() / 2)
    assert level_mask(mask, 8, side).tolist() == np.stack(expected).astype(float).tolist()


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 63), st.integers(0, 63), st.sampled_from([8, 4, 2, 1]))
def test_one_pixel_marks_the_cell_it_lies_in(y, x, side):
    mask = torch.zeros(1, 1, 64, 64)
    mask[0, 0, y, x] = 1
    assert level_mask(mask, 8, side)[0, y * side // 64, x * side // 64] == 1


def test_no_anomaly_marks_nothing():
    assert level_mask(torch.zeros(2, 1, 64, 64), 8, 4).count_nonzero() == 0


def test_min_max_by_hand():
    maps = torch.tensor([[[1.0, 2], [3, 5]], [[2, 2], [4, 3]]])
    each = torch.tensor([[[0, 0.25], [0.5, 1]], [[0, 0], [1, 0.5]]])
    torch.testing.assert_close(min_max(maps), each)
    torch.testing.assert_close(min_max(maps, "batch"), (maps - 1) / 4)


def test_na_loss_is_the_mean_squared_error():
    noise, predicted = torch.tensor([[1.0, 2, 3, 4]]), torch.tensor([[1.0, 0, 4, 4]])
    assert float(na_loss(noise, predicted)) == pytest.approx((4 + 1) / 4)


@pytest.mark.parametrize("gamma", [0.0, 2.0, 3.0])
def test_focal_loss_pixel_by_pixel(gamma):
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(2, 2, 3, 3, generator=generator) * 2
    mask = (torch.rand(2, 1, 3, 3, generator=generator) < 0.4).float()
    terms = []
    for i in range(2):
        for y in range(3):
            for x in range(3):
                normal, anomaly = logits[i, :, y, x].tolist()
                p = 1 / (1 + math.exp(normal - anomaly))
                p = p if mask[i, 0, y, x] == 1 else 1 - p
                terms.append(-((1 - p) ** gamma) * math.log(p))
    assert float(focal_loss(logits, mask, gamma)) == pytest.approx(sum(terms) / len(terms), rel=1e-5)


def test_focal_loss_of_a_sure_wrong_answer_is_finite():
    logits = torch.tensor([[[[200.0]], [[-200.0]]]], requires_grad=True)
    loss = focal_loss(logits, torch.ones(1, 1, 1, 1))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(400)
    assert logits.grad.isfinite().all()
