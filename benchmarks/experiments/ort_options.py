"""ONNX Runtime's session options on the CPU, one thread.

    python -m benchmarks.experiments.ort_options engines/bottle.plan

Saves results/ort_options.json.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import onnxruntime

from benchmarks.experiments import turns
from seas_runtime.bundle.manifest import REQUIRED_GRAPHS, GraphName
from seas_runtime.bundle.reader import Bundle, read_bundle

LEVEL = onnxruntime.GraphOptimizationLevel
Change = Callable[[onnxruntime.SessionOptions], object]
CHANGES: dict[str, Change] = {
    "default": lambda _options: None,
    "no arena": lambda options: setattr(options, "enable_cpu_mem_arena", False),
    "no memory pattern": lambda options: setattr(options, "enable_mem_pattern", False),
    "no spinning": lambda options: options.add_session_config_entry("session.intra_op.allow_spinning", "0"),
    "denormals as zero": lambda options: options.add_session_config_entry("session.set_denormal_as_zero", "1"),
    "no prepacking": lambda options: options.add_session_config_entry("session.disable_prepacking", "1"),
    "basic (no NCHWc)": lambda options: setattr(options, "graph_optimization_level", LEVEL.ORT_ENABLE_BASIC),
    "extended (no NCHWc)": lambda options: setattr(options, "graph_optimization_level", LEVEL.ORT_ENABLE_EXTENDED),
}


def measure(bundle: Bundle, graph: GraphName, pairs: int, rounds: int) -> dict[str, Any]:
    """Seconds of one graph with each change, turns taken."""
    feeds, calls = turns.random_feeds(bundle, graph, pairs), {}
    for name, change in CHANGES.items():
        engine = turns.one_thread(bundle.graph_path(graph), change)
        calls[name] = lambda engine=engine: engine.run(None, feeds)
    return turns.take_turns(calls, rounds)


@click.command(help=__doc__)
@turns.BUNDLE
@turns.PAIRS
@turns.ROUNDS
def main(*, bundle: Path, pairs: int, rounds: int) -> None:
    """Measure and save."""
    read = read_bundle(bundle)
    results: dict[str, Any] = {}
    for graph in REQUIRED_GRAPHS:
        click.echo(graph)
        results[graph] = measure(read, graph, pairs, rounds)
        turns.show(results[graph])
    command = f"python -m benchmarks.experiments.ort_options {bundle.name} --pairs {pairs} --rounds {rounds}"
    turns.save("ort_options", command, {"pairs": pairs, "rounds": rounds, "threads": 1, **results})


if __name__ == "__main__":
    main()
