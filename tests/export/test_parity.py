"""Figures of parity against hand calculations, and the bounds."""

import dataclasses
import math

import pytest
import torch

from seas_export import parity
from seas_export.parity import Row
from seas_runtime.errors import BundleError

GOOD = Row("fp16", "mask_head", "t=40", "probability", 1e-3, 0.99999, 1.0)


def test_relative_l2_by_hand():
    assert parity.relative_l2(torch.tensor([3.0, 4.5]), torch.tensor([3.0, 4.0])) == pytest.approx(0.1)


def test_cosine_by_hand():
    assert parity.cosine(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 0.0])) == pytest.approx(1 / math.sqrt(2))
    assert parity.cosine(torch.zeros(3), torch.zeros(3)) == 1.0
    assert parity.cosine(torch.ones(3), torch.zeros(3)) == 0.0


def test_iou_does_not_count_pixels_beside_the_threshold():
    expected = torch.tensor([0.9, 0.1, 0.21, 0.5, 0.0])
    found = torch.tensor([0.8, 0.1, 0.19, 0.1, 0.0])  # 0.21 is within 0.02 of 0.2; the fourth pixel is lost
    assert parity.mask_iou(found, expected, 0.2) == pytest.approx(1 / 2)
    assert parity.mask_iou(found, expected, 0.95) == 1.0


def test_summary_keeps_the_worst():
    worse = dataclasses.replace(GOOD, case="t=999", relative_l2=5e-3, cosine=0.9999, iou=0.995)
    assert parity.summary([GOOD, worse, GOOD]) == {
        "fp16": {"mask_head": {"probability": {"relative_l2": 5e-3, "cosine": 0.9999, "iou": 0.995}}}
    }


@pytest.mark.parametrize(
    "bad",
    [
        {"relative_l2": 1.01e-2},
        {"relative_l2": math.nan},
        {"cosine": 0.9998},
        {"cosine": math.nan},
        {"iou": 0.98},
        {"precision": "fp32"},  # 1e-3 is too much there
    ],
)
def test_each_bound_is_enforced(bad):
    parity.require([GOOD])
    with pytest.raises(BundleError, match=r"mask_head\.probability"):
        parity.require([GOOD, dataclasses.replace(GOOD, **bad)])
