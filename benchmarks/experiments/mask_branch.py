"""The mask branch: three steps as one batch, and 1x1 convolutions before the upsampling instead of behind it.

    python -m benchmarks.experiments.mask_branch engines/bottle.plan

conv1x1(up(x)) = up(conv1x1(x)), the bias included, since bilinear weights sum to one. Saves results/mask_branch.json.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import onnx

from benchmarks.experiments import turns
from seas_runtime.backends.mnn import MnnBackend
from seas_runtime.backends.ort import OrtBackend
from seas_runtime.backends.workers import CoreSplit
from seas_runtime.bundle.reader import Bundle, read_bundle

OUTPUT = ("probability",)
ONE = CoreSplit(workers=1, threads=1)


def commute(model: onnx.ModelProto) -> int:
    """Move 1x1 convolutions that read a bilinear upsampling before it; returns how many."""
    graph = model.graph
    made = {output: node for node in graph.node for output in node.output}
    shapes = {entry.name: entry.dims for entry in graph.initializer}
    casts = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Cast"}
    moved = 0
    for conv in [node for node in graph.node if node.op_type == "Conv"]:
        resize = made.get(conv.input[0])
        weight = shapes.get(conv.input[1]) or shapes.get(casts.get(conv.input[1], ""))
        if resize is None or resize.op_type != "Resize" or weight is None or list(weight[2:]) != [1, 1]:
            continue
        if any(attribute.name == "mode" and attribute.s != b"linear" for attribute in resize.attribute):
            continue
        later = onnx.NodeProto()
        later.CopyFrom(resize)
        small, result = f"{conv.output[0]}_small", conv.output[0]
        if len(resize.input) > 3 and resize.input[3]:  # sizes name the channels too: scales take their place
            del later.input[:]
            later.input.extend([small, "", "scales_of_two"])
        else:
            later.input[0] = small
        later.name = f"{conv.name}_up"
        later.output[0] = result
        conv.input[0], conv.output[0] = resize.input[0], small
        graph.node.insert(list(graph.node).index(conv) + 1, later)
        moved += 1
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales_of_two"))
    return moved


def measure_commuted(bundle: Bundle, pairs: int, rounds: int) -> dict[str, Any]:
    """The graph as it is and with the convolutions moved."""
    feeds = turns.random_feeds(bundle, "mask_branch", pairs)
    model = onnx.load(bundle.graph_path("mask_branch"))
    with TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{name}.onnx" for name in ("as exported", "commuted")}
        onnx.save(model, paths["as exported"])
        moved = commute(model)
        onnx.save(model, paths["commuted"])
        engines = {name: turns.one_thread(path) for name, path in paths.items()}
    calls = {name: lambda engine=engine: engine.run(None, feeds) for name, engine in engines.items()}
    error = turns.relative_l2(calls["commuted"]()[0], calls["as exported"]()[0])
    return {"convolutions_moved": moved, "relative_l2": error, "seconds": turns.take_turns(calls, rounds)}


def measure_batched(bundle: Bundle, pairs: int, rounds: int) -> dict[str, Any]:
    """Three calls against one of three times the rows."""
    found = {}
    for name, engine in (
        ("cpu", OrtBackend(bundle, "cpu", ONE, ("mask_branch",))),
        ("mnn", MnnBackend(bundle, ONE, ("mask_branch",))),
    ):
        for n in sorted({1, pairs}):
            one, three = turns.random_feeds(bundle, "mask_branch", n), turns.random_feeds(bundle, "mask_branch", 3 * n)
            calls = {
                "three calls": lambda engine=engine, one=one: [engine.run("mask_branch", one, OUTPUT) for _ in range(3)],
                "one call": lambda engine=engine, three=three: engine.run("mask_branch", three, OUTPUT),
            }
            found[f"{name}, {n} pairs"] = turns.take_turns(calls, rounds)
    return found


@click.command(help=__doc__)
@turns.BUNDLE
@turns.PAIRS
@turns.ROUNDS
def main(*, bundle: Path, pairs: int, rounds: int) -> None:
    """Measure and save."""
    read = read_bundle(bundle)
    commuted = measure_commuted(read, pairs, rounds)
    click.echo(f"{commuted['convolutions_moved']} convolutions moved, relative L2 {commuted['relative_l2']:.1e}")
    turns.show(commuted["seconds"])
    batched = measure_batched(read, pairs, rounds)
    for name, table in batched.items():
        click.echo(name)
        turns.show(table)
    command = f"python -m benchmarks.experiments.mask_branch {bundle.name} --pairs {pairs} --rounds {rounds}"
    content = {"pairs": pairs, "rounds": rounds, "threads": 1, "commuted": commuted, "batched": batched}
    turns.save("mask_branch", command, content)


if __name__ == "__main__":
    main()
