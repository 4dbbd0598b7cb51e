"""A bundle's fp32 graph -> the same graph computing in fp16, over the same stored weights.

Strongly typed engines take the precision from the graph, so it is decided here, node by node. Inputs and outputs stay
float32: latents and noise belong to the sampler, which computes in fp32, and the taps are small.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnx_ir as ir

FLOAT, HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16
ANGLES = ("Sin", "Cos")  # of timesteps up to 999, where fp16 counts in halves
FLOAT_INPUTS = {"Resize": (0,)}  # its scales are float32 by definition


def place(node_name: str | None) -> str:
    """The module a node comes from: "unet.mid_block.attentions.0/Softmax_1" -> "unet.mid_block.attentions.0"."""
    return (node_name or "").rpartition("/")[0]


def convert(source: Path, target: Path, keep: Collection[str]) -> set[str]:
    """Write the fp16 form of an ONNX graph beside it.

    Args:
        source: the fp32 graph; weights may be stored in fp16 behind a `Cast`.
        target: the new file, in the same folder, since both name the same external data.
        keep: places (see `place`) that go on computing in fp32.

    Returns:
        The places that do: those of `keep` that are in this graph, and the timestep's sines and cosines.
    """
    model = ir.load(source)
    graph = model.graph
    angles = _angles(graph)
    casts = _Casts(graph)
    kept = set()
    for node in list(graph):
        if _is_weight(node):
            continue
        wanted = FLOAT if node in angles or place(node.name) in keep else HALF
        if wanted == FLOAT:
            kept.add(place(node.name))
        for index, value in enumerate(node.inputs):
            if value is not None and index in FLOAT_INPUTS.get(node.op_type, (index,)):
                node.replace_input_with(index, casts.to(value, wanted, node))
        if node.op_type == "Cast" and node.attributes["to"].as_int() == FLOAT:
            node.attributes["to"] = ir.AttrInt64("to", wanted.value)
        for output in node.outputs:
            if output.dtype == FLOAT:
                output.type = ir.TensorType(wanted)
    for index, output in enumerate(graph.outputs):
        graph.outputs[index] = casts.output(output)
    casts.drop_unused()
    ir.save(model, target)
    return kept


def _is_weight(node: ir.Node) -> bool:
    """A stored fp16 weight on its way to fp32."""
    value = node.inputs[0] if node.inputs else None
    return node.op_type == "Cast" and value is not None and value.is_initializer() and value.dtype == HALF


def _angles(graph: ir.Graph) -> set[ir.Node]:
    """Sines, cosines and everything that leads to them."""
    found: set[ir.Node] = set()
    waiting = [node for node in graph if node.op_type in ANGLES]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += node.predecessors()
    return found


class _Casts:
    """Values in the other precision, each made once."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.known: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def to(self, value: ir.Value, dtype: ir.DataType, user: ir.Node) -> ir.Value:
        """`value` in `dtype` if it is a floating-point tensor, cast before `user` where need be."""
        if value.dtype not in (FLOAT, HALF) or value.dtype == dtype:
            return value
        producer = value.producer()
        if producer is not None and _is_weight(producer):
            return producer.inputs[0]
        if (value, dtype) not in self.known:
            inline = value.is_initializer() and not isinstance(value.const_value, ir.ExternalTensor)
            self.known[value, dtype] = self._constant(value) if inline else self._cast(value, dtype, user)
        return self.known[value, dtype]

    def _constant(self, value: ir.Value) -> ir.Value:
        """A small fp32 constant of the graph file, rounded to fp16."""
        array = value.const_value.numpy().astype(np.float16)
        made = ir.Value(name=f"{value.name}.float16", type=ir.TensorType(HALF), shape=value.shape, const_value=ir.tensor(array))
        self.graph.register_initializer(made)
        return made

    def _cast(self, value: ir.Value, dtype: ir.DataType, user: ir.Node) -> ir.Value:
        name = f"{value.name}.{dtype.name.lower()}"
        cast = ir.node("Cast", [value], attributes={"to": dtype.value}, name=f"{place(user.name)}/Cast.{name}")
        made = cast.outputs[0]
        made.name, made.shape, made.type = name, value.shape, ir.TensorType(dtype)
        self.graph.insert_before(user, cast)
        return made

    def output(self, value: ir.Value) -> ir.Value:
        """A graph output as float32 under its own name."""
        if value.dtype != HALF:
            return value
        cast = ir.node("Cast", [value], attributes={"to": FLOAT.value}, name=f"{value.name}.output")
        made = cast.outputs[0]
        made.name, made.shape, made.type = value.name, value.shape, ir.TensorType(FLOAT)
        value.name = f"{value.name}.float16"
        self.graph.append(cast)
        return made

    def drop_unused(self) -> None:
        """Remove weight casts and constants that no fp32 node uses any more."""
        for node in list(self.graph):
            if _is_weight(node) and not node.outputs[0].uses():
                self.graph.remove(node, safe=True)
        for name, value in list(self.graph.initializers.items()):
            if not value.uses():
                del self.graph.initializers[name]
