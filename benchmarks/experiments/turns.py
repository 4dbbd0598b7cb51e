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

from benchmarks import common

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


def relative_l2(found: Any, expected: Any) -> float:
    """Distance of two arrays (of one shape) over the length of the second."""
    return float(np.linalg.norm(np.subtract(found, expected)) / np.linalg.norm(expected))


def save(name: str, command: str, content: dict[str, Any], part: str | None = None) -> None:
    """Write results/NAME.json, or one part of its presets (what it has of other runs stays), with machine, versions and commit."""
    path = common.RESULTS / f"{name}.json"
    entry = {**common.machine(), "command": command, **content}
    if part is not None:
        kept = json.loads(path.read_text(encoding="utf-8"))["presets"] if path.exists() else {}
        entry = {"presets": {**kept, part: {**kept.get(part, {}), **entry}}}
    common.save(common.RESULTS / name, entry)
    click.echo(f"saved {path}")


def show(table: dict[str, dict[str, float]]) -> None:
    """The figures in lines."""
    for name, row in table.items():
        click.echo(f"  {name:24s} " + "  ".join(f"{key} {value:.4g}" for key, value in row.items()))


BUNDLE = click.argument("bundle", type=click.Path(path_type=Path, exists=True, file_okay=False))
PAIRS = click.option("--pairs", type=click.IntRange(1), default=4, show_default=True)
ROUNDS = click.option("--rounds", type=click.IntRange(1), default=9, show_default=True)
