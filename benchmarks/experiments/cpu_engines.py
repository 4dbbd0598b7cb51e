"""Each graph on each CPU engine, one thread: the figures behind `seas_runtime.backends.mixed`.

    python -m benchmarks.experiments.cpu_engines engines/bottle.plan --preset tiny

Saves the preset's part of results/cpu_engines.json.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from benchmarks.common import random_feeds
from benchmarks.experiments import turns
from seas_runtime.backends import Backend
from seas_runtime.backends.mnn import MnnBackend
from seas_runtime.backends.openvino import OpenvinoBackend
from seas_runtime.backends.ort import OrtBackend
from seas_runtime.backends.workers import CoreSplit
from seas_runtime.bundle.graphs import GRAPH_OUTPUTS, REQUIRED_GRAPHS, GraphName
from seas_runtime.bundle.reader import Bundle, read_bundle

ONE = CoreSplit(workers=1, threads=1)


def measure(bundle: Bundle, graph: GraphName, pairs: int, rounds: int, openvino: bool) -> dict[str, Any]:
    """Seconds of one graph on the engines, and the largest relative L2 of its outputs against ONNX Runtime."""
    engines: dict[str, Backend] = {
        "cpu": OrtBackend(bundle, "cpu", ONE, (graph,)),
        "mnn": MnnBackend(bundle, ONE, (graph,)),
    }
    if openvino:
        engines["openvino"] = OpenvinoBackend(bundle, ONE, (graph,))
    feeds, outputs = random_feeds(bundle, graph, pairs), GRAPH_OUTPUTS[graph]
    calls = {name: lambda engine=engine: engine.run(graph, feeds, outputs) for name, engine in engines.items()}
    expected = calls["cpu"]()
    errors = {
        name: max(turns.relative_l2(value, expected[output]) for output, value in call().items()) for name, call in calls.items()
    }
    table = turns.take_turns(calls, rounds)
    return {name: {**row, "relative_l2": errors[name]} for name, row in table.items()}


@click.command(help=__doc__)
@turns.BUNDLE
@click.option("--preset", required=True, help="What the sizes are called in the file.")
@click.option("--graph", "graphs", type=click.Choice(REQUIRED_GRAPHS), multiple=True, default=REQUIRED_GRAPHS)
@click.option("--openvino/--no-openvino", default=True, show_default=True)
@turns.PAIRS
@turns.ROUNDS
def main(*, bundle: Path, preset: str, graphs: tuple[GraphName, ...], openvino: bool, pairs: int, rounds: int) -> None:
    """Measure and save."""
    read = read_bundle(bundle)
    packages = {name: version(name) for name in ("onnxruntime", "MNN", "openvino")}
    results: dict[str, Any] = {"engines": packages, "threads": 1}
    for graph in graphs:
        click.echo(graph)
        table = measure(read, graph, pairs, rounds, openvino)
        turns.show(table)
        results[graph] = {"pairs": pairs, "rounds": rounds, **table}
    shown = " ".join(f"--graph {graph}" for graph in graphs) + f" --pairs {pairs} --rounds {rounds}"
    command = f"python -m benchmarks.experiments.cpu_engines {bundle.name} --preset {preset} {shown}"
    turns.save("cpu_engines", command, results, preset)


if __name__ == "__main__":
    main()
