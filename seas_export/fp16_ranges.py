"""Which modules fp16 would overflow: the largest magnitude of every tensor of a graph, measured."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx_ir as ir

from seas_export.fp16 import place
from seas_export.graphs import Tensors
from seas_export.session import open_graph

LARGEST_HALF = 65504.0
HEADROOM = 16.0  # what other latents, prompts and seeds may add to the inputs measured
LIMIT = LARGEST_HALF / HEADROOM


def largest(graph: Path, inputs: Iterable[Tensors]) -> dict[str, float]:
    """Largest magnitude met in each module, over its nodes' floating-point inputs and outputs.

    Args:
        graph: an fp32 ONNX file whose nodes are named after their modules.
        inputs: what to run it on.

    Returns:
        magnitude by module path (see `half.place`); infinite where a tensor holds NaN or infinity.
    """
    model = ir.load(graph)
    values = _floats(model.graph)
    # The last tensor first: ONNX Runtime reaches the outputs added last first, measures a tensor as soon as it is made and
    # frees it; in the other order all tensors of the graph are kept to the end (4.3 GB instead of 0.6 in a small graph).
    probes = {value: _probe(model.graph, value) for value in reversed(values) if not value.is_initializer()}
    found = {value: _magnitude(value.const_value.numpy()) for value in values if value.is_initializer()}
    session = open_graph(model, graph.parent)
    names = [probe.name for probe in probes.values()]
    for feeds in inputs:
        results = session.run(names, {key: value.numpy() for key, value in feeds.items()})
        for value, result in zip(probes, results, strict=True):
            found[value] = max(found.get(value, 0.0), _magnitude(result))
    return _by_place(found)


def overflowing(magnitudes: dict[str, float]) -> dict[str, float]:
    """The places that fp16 cannot hold with `HEADROOM` to spare."""
    return {name: value for name, value in sorted(magnitudes.items()) if not value <= LIMIT}


def _floats(graph: ir.Graph) -> list[ir.Value]:
    """Floating-point tensors of the graph: inputs, constants, and what the nodes make; stored weights are checked elsewhere."""
    made = [output for node in graph for output in node.outputs if node.op_type != "Cast"]
    constants = [value for value in graph.initializers.values() if not isinstance(value.const_value, ir.ExternalTensor)]
    return [value for value in (*graph.inputs, *constants, *made) if value.dtype == ir.DataType.FLOAT]


def _probe(graph: ir.Graph, value: ir.Value) -> ir.Value:
    """Add an output that is the largest magnitude in `value`."""
    size = ir.node("Abs", [value], name=f"{value.name}.abs")
    peak = ir.node("ReduceMax", [size.outputs[0]], attributes={"keepdims": 0}, name=f"{value.name}.max")
    size.outputs[0].name, peak.outputs[0].name = f"{value.name}.abs", f"{value.name}.max"
    peak.outputs[0].type, peak.outputs[0].shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(())
    graph.extend([size, peak])
    graph.outputs.append(peak.outputs[0])
    return peak.outputs[0]


def _by_place(found: dict[ir.Value, float]) -> dict[str, float]:
    places: dict[str, float] = {}
    for value, magnitude in found.items():
        nodes = [use.node for use in value.uses()] + [value.producer()]
        for node in nodes:
            if node is not None and not (node.name or "").startswith(f"{value.name}."):
                places[place(node.name)] = max(places.get(place(node.name), 0.0), magnitude)
    return places


def _magnitude(array: np.ndarray) -> float:
    largest = float(np.abs(array).max(initial=0.0))
    return largest if math.isfinite(largest) else math.inf
