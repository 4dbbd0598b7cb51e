"""Every output of every graph, ONNX Runtime against PyTorch fp32 with the same stored weights.

The comparison is teacher-forced: each graph gets PyTorch's inputs, so that a figure is the error of that graph alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor

from seas_export import fp16_rounding
from seas_export.cases import Case
from seas_export.graphs import Tensors
from seas_export.session import open_graph
from seas_runtime.bundle.graphs import GraphName, Precision
from seas_runtime.errors import BundleError


@dataclass(frozen=True)
class Bound:
    """What an output may differ by: relative L2 at most, cosine at least."""

    relative_l2: float
    cosine: float


BOUNDS: dict[Precision, Bound] = {"fp32": Bound(1e-4, 0.999999), "fp16": Bound(1e-2, 0.9999)}
MIN_IOU = 0.99
BAND = 0.02  # pixels whose probability is this close to the threshold may fall on either side

Files = dict[GraphName, dict[Precision, str]]
Figures = dict[str, dict[str, dict[str, dict[str, float]]]]


@dataclass(frozen=True)
class Row:
    """One output of one graph in one case; `iou` is that of the masks, for probabilities only."""

    precision: Precision
    graph: GraphName
    case: str
    output: str
    relative_l2: float
    cosine: float
    iou: float | None = None

    @property
    def passed(self) -> bool:
        """Whether every figure is within its bound; NaN never is."""
        bound = BOUNDS[self.precision]
        close = self.relative_l2 <= bound.relative_l2 and self.cosine >= bound.cosine
        return close and (self.iou is None or self.iou >= MIN_IOU)

    def __str__(self) -> str:
        iou = "" if self.iou is None else f", mask IoU {self.iou:.4f}"
        return (
            f"{self.graph}.{self.output} {self.precision} at {self.case}: "
            f"relative L2 {self.relative_l2:.1e}, cosine {self.cosine:.6f}{iou}"
        )


def compare(cases: list[Case], folder: Path, files: Files, threshold: float) -> Iterator[Row]:
    """Run every graph file on every case that has inputs for it.

    Args:
        cases: inputs and PyTorch's outputs.
        folder: the bundle.
        files: ONNX files by graph and precision.
        threshold: probability from which a pixel is anomalous, for the masks' IoU.
    """
    for graph, by_precision in files.items():
        for precision, file in by_precision.items():
            path = folder / file
            session = open_graph(path if precision == "fp32" else fp16_rounding.spell_out(path), folder)
            for case in cases:
                if graph in case.inputs:
                    yield from rows_of(case, graph, precision, _run(session, case, graph), threshold)


def summary(rows: Iterable[Row]) -> Figures:
    """The worst of each figure over all cases: precision -> graph -> output -> figure."""
    figures: Figures = {}
    for row in rows:
        worst = figures.setdefault(row.precision, {}).setdefault(row.graph, {}).setdefault(row.output, {})
        worst["relative_l2"] = max(row.relative_l2, worst.get("relative_l2", 0.0))
        worst["cosine"] = min(row.cosine, worst.get("cosine", 1.0))
        if row.iou is not None:
            worst["iou"] = min(row.iou, worst.get("iou", 1.0))
    return figures


def require(rows: Iterable[Row]) -> None:
    """Refuse graphs that are not faithful.

    Raises:
        BundleError: an output is not finite or beyond its bound.
    """
    for row in rows:
        if not row.passed:
            bound = BOUNDS[row.precision]
            raise BundleError(
                f"parity: {row}; allowed are relative L2 {bound.relative_l2:.0e}, cosine {bound.cosine}, mask IoU {MIN_IOU}. "
                + ("Export with --fp32." if row.precision == "fp16" else "Report this with the versions of torch and onnxruntime.")
            )


def relative_l2(found: Tensor, expected: Tensor) -> float:
    """||found - expected|| / ||expected||, in float64."""
    difference = torch.linalg.vector_norm(found.double() - expected.double())
    return float(difference / torch.linalg.vector_norm(expected.double()).clamp(min=1e-30))


def cosine(found: Tensor, expected: Tensor) -> float:
    """Cosine of the angle between two tensors seen as vectors, in float64; 1 for two zeros."""
    a, b = found.double().flatten(), expected.double().flatten()
    norms = torch.linalg.vector_norm(a) * torch.linalg.vector_norm(b)
    return float(a @ b / norms) if norms != 0 else float(torch.equal(a, b))


def mask_iou(found: Tensor, expected: Tensor, threshold: float) -> float:
    """IoU of the masks of two probability maps, without the pixels within `BAND` of the threshold; 1 for two empty ones."""
    counted = (expected - threshold).abs() >= BAND
    a, b = (found >= threshold) & counted, (expected >= threshold) & counted
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 1.0


def rows_of(case: Case, graph: GraphName, precision: Precision, found: Tensors, threshold: float) -> Iterator[Row]:
    """A row for each output of one graph in one case, as some engine found it."""
    for output, expected in case.truth[graph].items():
        made = found[output]
        iou = mask_iou(made, expected, threshold) if output == "probability" else None
        yield Row(precision, graph, case.name, output, relative_l2(made, expected), cosine(made, expected), iou)


def _run(session: ort.InferenceSession, case: Case, graph: GraphName) -> Tensors:
    names = list(case.truth[graph])
    arrays = session.run(names, {key: value.numpy() for key, value in case.inputs[graph].items()})
    return {name: torch.from_numpy(np.asarray(array)) for name, array in zip(names, arrays, strict=True)}
