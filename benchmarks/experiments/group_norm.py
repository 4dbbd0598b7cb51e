"""Scale and shift of a group norm as one BatchNormalization (mean 0, variance 1) instead of Mul and Add: exact, a pass less.

    python -m benchmarks.experiments.group_norm engines/bottle.plan

Saves results/group_norm.json.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from benchmarks.experiments import turns
from seas_runtime.bundle.manifest import REQUIRED_GRAPHS, GraphName
from seas_runtime.bundle.reader import Bundle, read_bundle


def merge(model: onnx.ModelProto) -> int:
    """Replace each Mul and Add by constants of shape (C, 1, 1); returns how many."""
    graph = model.graph
    stored = {entry.name: entry for entry in graph.initializer}
    casts = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Cast"}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)

    def channels(node: onnx.NodeProto) -> tuple[str, NDArray[np.float32]] | None:
        """The other input's name, and the constant by channel."""
        for name, other in (tuple(node.input), tuple(node.input)[::-1]):
            entry = stored.get(casts.get(name, name))
            if entry is not None and len(entry.dims) == 3 and list(entry.dims[1:]) == [1, 1]:
                return other, numpy_helper.to_array(entry).astype(np.float32).ravel()
        return None

    merged = 0
    for scale in [node for node in graph.node if node.op_type == "Mul"]:
        following = readers.get(scale.output[0], [])
        scaled = channels(scale)
        shifted = channels(following[0]) if len(following) == 1 and following[0].op_type == "Add" else None
        if scaled is None or shifted is None:
            continue
        width = len(scaled[1])
        constants = (scaled[1], shifted[1], np.zeros(width, np.float32), np.ones(width, np.float32))
        names = [f"norm{merged}.{part}" for part in range(4)]
        graph.initializer.extend(map(numpy_helper.from_array, constants, names))
        inputs, output = [scaled[0], *names], [following[0].output[0]]
        place = list(graph.node).index(scale)
        graph.node.insert(place, helper.make_node("BatchNormalization", inputs, output, epsilon=0.0))
        graph.node.remove(scale)
        graph.node.remove(following[0])
        merged += 1
    return merged


def measure(bundle: Bundle, graph: GraphName, pairs: int, rounds: int) -> dict[str, Any]:
    """The graph as it is and with merged nodes, in ONNX Runtime with one thread."""
    feeds = turns.random_feeds(bundle, graph, pairs)
    model = onnx.load(bundle.graph_path(graph))
    engines = [turns.one_thread(bundle.graph_path(graph))]
    merged = merge(model)
    with TemporaryDirectory() as folder:
        onnx.save(model, Path(folder) / "merged.onnx")
        engines.append(turns.one_thread(Path(folder) / "merged.onnx"))
    calls = {
        name: lambda engine=engine: engine.run(None, feeds) for name, engine in zip(("as exported", "merged"), engines, strict=True)
    }
    error = max(map(turns.relative_l2, calls["merged"](), calls["as exported"]()))
    return {"merged": merged, "relative_l2": error, "seconds": turns.take_turns(calls, rounds)}


@click.command(help=__doc__)
@turns.BUNDLE
@turns.PAIRS
@turns.ROUNDS
def main(*, bundle: Path, pairs: int, rounds: int) -> None:
    """Measure and save."""
    read = read_bundle(bundle)
    results: dict[str, Any] = {}
    for graph in REQUIRED_GRAPHS:
        results[graph] = measure(read, graph, pairs, rounds)
        click.echo(f"{graph}: {results[graph]['merged']} merged, relative L2 {results[graph]['relative_l2']:.1e}")
        turns.show(results[graph]["seconds"])
    command = f"python -m benchmarks.experiments.group_norm {bundle.name} --pairs {pairs} --rounds {rounds}"
    turns.save("group_norm", command, {"pairs": pairs, "rounds": rounds, "threads": 1, **results})


if __name__ == "__main__":
    main()
