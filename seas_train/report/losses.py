"""The losses of a run's stages, from its log."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

LOG = "log.jsonl"
Series = Mapping[str, Sequence[tuple[int, float]]]
"""(step, value) of each loss by its name."""
_NO_LOSS = ("stage", "step", "seconds")


def read(run: Path) -> dict[str, Series]:
    """The losses of each stage by its name, in the order of the log; none where there is no log. Torn lines are left out."""
    try:
        lines = (run / LOG).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    stages: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for line in lines:
        try:
            fields = json.loads(line)
            stage, step = str(fields["stage"]), int(fields["step"])
            values = {str(name): float(value) for name, value in fields.items() if name not in _NO_LOSS}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
        for name, value in values.items():
            stages.setdefault(stage, {}).setdefault(name, []).append((step, value))
    return dict(stages)


def binned(points: Sequence[tuple[int, float]], most: int = 200) -> list[tuple[float, float]]:
    """At most so many points: means of equal parts, in step and value."""
    size = -(-len(points) // most) or 1
    parts = (points[start : start + size] for start in range(0, len(points), size))
    return [(sum(step for step, _ in part) / len(part), sum(value for _, value in part) / len(part)) for part in parts]
