"""Graphs that do not hold half precision: found by the probe in PyTorch, and left in fp32 by the export."""

import numpy as np
import pytest
import torch
from torch import nn

from seas_export import bundle, fp16_probe, parity
from seas_export.cases import Case
from seas_export.graphs import Wrapper
from seas_export.parity import Row

LATENT = torch.linspace(-2.0, 2.0, 48).reshape(1, 3, 4, 4)


class Through(nn.Module):
    """x + offset - offset, which is x but for the rounding of numbers as large as the offset."""

    def __init__(self, offset):
        super().__init__()
        self.offset = offset

    def forward(self, latent):
        raised = latent + self.offset
        return raised - self.offset


def case(module, name="decoder"):
    wrapper = Wrapper(name, module, {"latent": LATENT})
    return {name: wrapper}, [Case("one", {name: {"latent": LATENT}}, {name: wrapper.run({"latent": LATENT})})]


def through_half(offset):
    """The same in NumPy's own half precision."""
    values = LATENT.numpy().astype(np.float16)
    return ((values + np.float16(offset)) - np.float16(offset)).astype(np.float32)


@pytest.mark.parametrize("offset", [512.0, 2048.0])
def test_the_probe_rounds_as_half_precision_does(offset):
    wrappers, cases = case(Through(offset))
    (row,) = fp16_probe.unfaithful(wrappers, cases, 0.5)
    truth = LATENT.numpy()
    expected = np.linalg.norm(through_half(offset) - truth) / np.linalg.norm(truth)
    assert row.relative_l2 == pytest.approx(expected, rel=1e-2)
    assert (row.graph, row.output, row.precision) == ("decoder", "image", "fp16")


@pytest.mark.parametrize("offset", [0.0, 1.0, 5000.0])
def test_what_holds_or_stays_in_fp32_for_its_size_is_not_told(offset):
    """65504 / 16 is the limit from which a module stays in fp32."""
    assert list(fp16_probe.unfaithful(*case(Through(offset)), 0.5)) == []


def test_views_are_still_views():
    class Filled(nn.Module):
        def forward(self, latent):
            made = torch.zeros_like(latent)
            made[:, 1] = latent[:, 1]
            return made

    assert list(fp16_probe.unfaithful(*case(Filled()), 0.5)) == []


def row(graph, precision, error):
    return Row(precision, graph, "t=40", "image", error, 1.0)


def test_unfaithful_graphs_lose_their_fp16_form_and_no_other(tmp_path):
    files = {name: {"fp32": f"{name}.onnx", "fp16": f"{name}.fp16.onnx"} for name in ("decoder", "mask_branch")}
    for by_precision in files.values():
        for file in by_precision.values():
            (tmp_path / file).touch()
    said = []
    bound = parity.BOUNDS["fp16"].relative_l2
    rows = [
        *(row(name, "fp32", 1e-6) for name in files),
        *(row("mask_branch", "fp16", error) for error in (bound / 2, bound * 2, bound * 3)),
        row("decoder", "fp16", bound),
    ]
    left = bundle._faithful(rows, tmp_path, files, said.append)
    assert left == [*rows[:2], rows[-1]]
    assert files == {"decoder": {"fp32": "decoder.onnx", "fp16": "decoder.fp16.onnx"}, "mask_branch": {"fp32": "mask_branch.onnx"}}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["decoder.fp16.onnx", "decoder.onnx", "mask_branch.onnx"]
    (line,) = said
    assert line.startswith("mask_branch computes in fp32: ")
    bad = row("decoder", "fp32", 1.0)
    assert bundle._faithful([bad], tmp_path, files, said.append) == [bad]  # which parity then refuses
