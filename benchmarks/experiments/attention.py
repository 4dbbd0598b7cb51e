"""Attention of Stable Diffusion's U-Net on a CPU: three nodes as exported, against ONNX Runtime's own fused node.

    python -m benchmarks.experiments.attention

The fused node (MultiHeadAttention, `com.microsoft`) keeps a block of scores in the cache and never writes the whole matrix.
Saves results/attention.json.
"""

from __future__ import annotations

from typing import Any

import click
import numpy as np
import onnxruntime as ort
from onnx import ModelProto, NodeProto, TensorProto, helper

from benchmarks.experiments import turns

CASES = {  # (rows, queries, keys, heads, channels of a head): both halves of the guidance, one pair
    "self-attention, 64 x 64": (2, 4096, 4096, 8, 40),
    "self-attention, 32 x 32": (2, 1024, 1024, 8, 80),
    "cross-attention, 64 x 64": (2, 4096, 77, 8, 40),
}


def as_exported(rows: int, queries: int, keys: int, heads: int, width: int) -> ModelProto:
    """Products and softmax as nodes of their own."""
    nodes, constants = [], []
    for name, length, order in (("q", queries, [0, 2, 1, 3]), ("k", keys, [0, 2, 3, 1]), ("v", keys, [0, 2, 1, 3])):
        constants.append(helper.make_tensor(f"{name}_shape", TensorProto.INT64, [4], [rows, length, heads, width]))
        nodes.append(helper.make_node("Reshape", [name, f"{name}_shape"], [f"{name}_heads"]))
        nodes.append(helper.make_node("Transpose", [f"{name}_heads"], [f"{name}_turned"], perm=order))
    constants.append(helper.make_tensor("scale", TensorProto.FLOAT, [], [width**-0.5]))
    constants.append(helper.make_tensor("out_shape", TensorProto.INT64, [3], [rows, queries, heads * width]))
    nodes += [
        helper.make_node("Mul", ["q_turned", "scale"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "k_turned"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["shares"], axis=-1),
        helper.make_node("MatMul", ["shares", "v_turned"], ["mixed"]),
        helper.make_node("Transpose", ["mixed"], ["back"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["back", "out_shape"], ["out"]),
    ]
    return _model(nodes, constants, rows, queries, keys, heads * width)


def fused(rows: int, queries: int, keys: int, heads: int, width: int) -> ModelProto:
    """One node."""
    node = helper.make_node("MultiHeadAttention", ["q", "k", "v"], ["out"], domain="com.microsoft", num_heads=heads)
    return _model([node], [], rows, queries, keys, heads * width)


def _model(nodes: list[NodeProto], constants: list[TensorProto], rows: int, queries: int, keys: int, channels: int) -> ModelProto:
    sizes = {"q": queries, "k": keys, "v": keys}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, n, channels]) for name, n in sizes.items()]
    output = helper.make_tensor_value_info("out", TensorProto.FLOAT, [rows, queries, channels])
    graph = helper.make_graph(nodes, "attention", inputs, [output], constants)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


@click.command(help=__doc__)
@turns.ROUNDS
def main(*, rounds: int) -> None:
    """Measure and save."""
    results: dict[str, Any] = {}
    for case, (rows, queries, keys, heads, width) in CASES.items():
        rng = np.random.default_rng(0)
        sizes = {"q": queries, "k": keys, "v": keys}
        feeds = {name: rng.standard_normal((rows, n, heads * width), np.float32) for name, n in sizes.items()}
        calls = {}
        for name, make in (("as exported", as_exported), ("fused", fused)):
            options = ort.SessionOptions()
            options.intra_op_num_threads = 1
            model = make(rows, queries, keys, heads, width).SerializeToString()
            engine = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            calls[name] = lambda engine=engine, feeds=feeds: engine.run(None, feeds)
        error = max(map(turns.relative_l2, calls["fused"](), calls["as exported"]()))
        results[case] = {"relative_l2": error, "seconds": turns.take_turns(calls, rounds)}
        click.echo(f"{case}: relative L2 {error:.1e}")
        turns.show(results[case]["seconds"])
    turns.save("attention", f"python -m benchmarks.experiments.attention --rounds {rounds}", results)


if __name__ == "__main__":
    main()
