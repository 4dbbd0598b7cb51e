"""Workers of one thread each against one part over all threads: each graph by its processor time, whole runs by the clock.

    python -m benchmarks.experiments.workers engines/bottle.plan

Processor time says what splitting an operator costs, and holds on a busy machine too. The seconds of runs need an idle
one. Saves results/workers.json.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from benchmarks.common import random_feeds
from benchmarks.experiments import turns
from seas_runtime import Generator
from seas_runtime.backends import Backend
from seas_runtime.backends.mixed import MixedBackend
from seas_runtime.backends.ort import OrtBackend
from seas_runtime.backends.workers import CoreSplit, usable_cores
from seas_runtime.bundle.graphs import GRAPH_OUTPUTS, REQUIRED_GRAPHS
from seas_runtime.bundle.reader import Bundle, read_bundle

RUNS = ((1, 1), (8, 1), (8, 4))  # pairs, batch


def measure_graphs(bundle: Bundle, pairs: int, rounds: int) -> dict[str, Any]:
    """Seconds of each graph on one thread and on all, for a batch of one and of `pairs`."""
    engines = {name: OrtBackend(bundle, "cpu", CoreSplit(1, threads)) for name, threads in (("one thread", 1), ("all threads", 0))}
    found = {}
    for graph in REQUIRED_GRAPHS:
        for n in sorted({1, pairs}):
            feeds = random_feeds(bundle, graph, n)
            calls = {
                name: lambda engine=engine, graph=graph, feeds=feeds: engine.run(graph, feeds, GRAPH_OUTPUTS[graph])
                for name, engine in engines.items()
            }
            found[f"{graph}, {n} pairs"] = turns.take_turns(calls, rounds)
    return found


def measure_runs(bundle: Bundle, rounds: int) -> dict[str, Any]:
    """Seconds of whole runs without writing, the bundle's own steps."""
    cores = usable_cores()
    one, workers = CoreSplit(1, cores), CoreSplit(cores, 1)
    backends: dict[str, Backend] = {
        "one part, cpu": OrtBackend(bundle, "cpu", one),
        "workers, cpu": OrtBackend(bundle, "cpu", workers),
        "one part, cpu+mnn": MixedBackend(bundle, "cpu+mnn", one),
        "workers, cpu+mnn": MixedBackend(bundle, "cpu+mnn", workers),
    }
    generators = {name: Generator(bundle, backend) for name, backend in backends.items()}
    found = {}
    for count, batch in RUNS:
        options = {"count": count, "batch": batch, "max_area": 1.0, "retries": 0}
        calls = {name: lambda made=made, options=options: list(made.pairs(**options)) for name, made in generators.items()}
        found[f"{count} pairs in batches of {batch}"] = turns.take_turns(calls, rounds)
    return found


@click.command(help=__doc__)
@turns.BUNDLE
@turns.PAIRS
@turns.ROUNDS
def main(*, bundle: Path, pairs: int, rounds: int) -> None:
    """Measure and save."""
    read = read_bundle(bundle)
    graphs, runs = measure_graphs(read, pairs, rounds), measure_runs(read, rounds)
    for name, table in {**graphs, **runs}.items():
        click.echo(name)
        turns.show(table)
    command = f"python -m benchmarks.experiments.workers {bundle.name} --pairs {pairs} --rounds {rounds}"
    turns.save("workers", command, {"pairs": pairs, "rounds": rounds, "cores": usable_cores(), "graphs": graphs, "runs": runs})


if __name__ == "__main__":
    main()
