"""An fp16 graph whose every rounding is written out, to be measured on a CPU.

ONNX Runtime's CPU runs fp16 nodes in fp32 and drops the casts it puts between two of them, so that a chain of nodes is
rounded once at its end: its figures would flatter the graph. Here each node computes in fp32 from fp16 inputs and its
output is rounded to fp16, as GPU kernels with fp32 accumulators do.
"""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

FLOAT, HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16


def spell_out(source: Path) -> ir.Model:
    """The form with explicit roundings of an fp16 graph; its external weights lie beside `source`."""
    model = ir.load(source)
    graph = model.graph
    widened: dict[ir.Value, ir.Value] = {}
    for node in list(graph):
        if node.op_type == "Cast":
            continue
        for index, value in enumerate(node.inputs):
            if value is not None and value.dtype == HALF:
                if value not in widened:
                    widened[value] = _cast(graph, value, FLOAT, before=node)
                node.replace_input_with(index, widened[value])
        for output in node.outputs:
            if output.dtype == HALF:
                output.type = ir.TensorType(FLOAT)
                uses = list(output.uses())
                rounded = _cast(graph, output, HALF, after=node)
                for use in uses:
                    use.node.replace_input_with(use.idx, rounded)
    return model


def _cast(
    graph: ir.Graph, value: ir.Value, dtype: ir.DataType, before: ir.Node | None = None, after: ir.Node | None = None
) -> ir.Value:
    name = f"{value.name}.as.{dtype.name.lower()}"
    cast = ir.node("Cast", [value], attributes={"to": dtype.value}, name=name)
    made = cast.outputs[0]
    made.name, made.shape, made.type = name, value.shape, ir.TensorType(dtype)
    if before is not None:
        graph.insert_before(before, cast)
    elif after is not None:
        graph.insert_after(after, cast)
    return made
