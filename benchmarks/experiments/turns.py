"""Timing for experiments: calls that take turns in one process, wall and processor time, medians, one JSON file."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime

from benchmarks.export_sd14 import RESULTS, machine
from seas_runtime.bundle.manifest import GraphName
from seas_runtime.bundle.reader import Bundle

Calls = Mapping[str, Callable[[], object]]
PAUSE = 0.1
"""Seconds before a call: an engine's threads look for work a while after the call before it, which would count as this one's."""


def take_turns(calls: Calls, rounds: int) -> dict[str, dict[str, float]]:
    """Median seconds of each call over the rounds, after one round that does not count.

    `cpu_seconds` are those of all threads of the process: they hardly depend on what else the machine does. `share` is
    relative to the first call: the median of the rounds' ratios in processor time.
    """
    wall: dict[str, list[float]] = {name: [] for name in calls}
    cpu: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(rounds + 1):
        for name, call in calls.items():
            time.sleep(PAUSE)
            began, busy = time.perf_counter(), time.process_time()
            call()
            if round_:
                wall[name].append(time.perf_counter() - began)
                cpu[name].append(time.process_time() - busy)
    first = next(iter(calls))
    return {
        name: {
            "wall_seconds": statistics.median(wall[name]),
            "cpu_seconds": statistics.median(cpu[name]),
            "share": statistics.median(a / b for a, b in zip(cpu[name], cpu[first], strict=True)),
        }
        for name in calls
    }


def random_feeds(bundle: Bundle, graph: GraphName, pairs: int) -> dict[str, Any]:
    """Inputs of one graph for a batch of pairs; the U-Net's rows come twice, as with guidance."""
    rng = np.random.default_rng(0)
    rows = 2 * pairs if graph == "unet" else pairs
    return {
        spec.name: np.full(rows, 500, np.int64)
        if spec.dtype == "int64"
        else rng.normal(size=(rows, *map(int, spec.shape[1:]))).astype(np.float32)
        for spec in bundle.manifest.graphs[graph].inputs
    }


def one_thread(path: Path, change: Callable[[onnxruntime.SessionOptions], object] | None = None) -> onnxruntime.InferenceSession:
    """An ONNX file in ONNX Runtime on one thread; `change` may change the session's options."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # it names initializers that nothing reads any more
    if change is not None:
        change(options)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def relative_l2(found: Any, expected: Any) -> float:
    """Distance of two arrays over the length of the second."""
    return float(np.linalg.norm(np.subtract(found, expected)) / np.linalg.norm(expected))


def save(name: str, command: str, content: dict[str, Any], part: str | None = None) -> None:
    """Write results/NAME.json, or one part of its presets (what it has of other runs stays), with machine, versions and commit."""
    path = RESULTS / f"{name}.json"
    entry = {**machine(), "command": command, **content}
    if part is not None:
        kept = json.loads(path.read_text(encoding="utf-8"))["presets"] if path.exists() else {}
        entry = {"presets": {**kept, part: {**kept.get(part, {}), **entry}}}
    path.write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")
    click.echo(f"saved {path}")


def show(table: dict[str, dict[str, float]]) -> None:
    """The figures in lines."""
    for name, row in table.items():
        click.echo(f"  {name:24s} " + "  ".join(f"{key} {value:.4g}" for key, value in row.items()))


BUNDLE = click.argument("bundle", type=click.Path(path_type=Path, exists=True, file_okay=False))
PAIRS = click.option("--pairs", type=click.IntRange(1), default=4, show_default=True)
ROUNDS = click.option("--rounds", type=click.IntRange(1), default=9, show_default=True)
