"""The points of curve.py: which runs there are, what each makes and how fast, and the table and plot of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any, Literal

import numpy as np

from benchmarks import common
from benchmarks.demo.figures import spread
from benchmarks.demo.oracle import Oracle, Pieces
from benchmarks.quality.downstream import segmentation
from benchmarks.quality.downstream.segmentation import SegmenterSettings, Source, Task
from benchmarks.quality.metrics.perceptual import unweighted
from benchmarks.quality.metrics.segmentation import overlaps
from seas_runtime import Generator, Options
from seas_runtime.bundle.manifest import Manifest
from seas_runtime.bundle.schema import WHOLE
from seas_runtime.settings import COMPOSITE_STRENGTH

STEPS = (1, 2, 4, 8, 25)
COLUMNS = {
    "rate": "pairs/s",
    "type": "asked type",
    "iou": "IoU with the judge",
    "diversity": "diversity",
    "empty": "without mask",
    "ap": "segmenter's AP",
    "downstream": "segmenter's IoU, best threshold",
}
PLOTTED = ("iou", "type", "diversity", "ap", "downstream")
Row = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """One run: whose, in so many steps, guided in a part of the schedule, with masks of so many steps; None for the bundle's.

    `start` is what it starts from: a normal image's latent, or a composite, on whose photograph the anomaly is then laid.
    """

    engine: str
    steps: int
    interval: tuple[float, float] | None = None
    mask_steps: int | None = None
    start: Literal["normal", "composite"] = "normal"

    @property
    def series(self) -> str:
        """The line of the plot that it is on."""
        extras = []
        if self.interval is not None:
            extras.append("guided in {:g}:{:g}".format(*self.interval))
        if self.mask_steps is not None:
            extras.append(f"{self.mask_steps} mask step")
        if self.start == "composite":
            extras.append("composites")
        return ", ".join([self.engine, *extras])

    def options(self, count: int, batch: int) -> Options:
        """Its pairs, one attempt at each and none refused."""
        return Options(
            count=count,
            batch=batch,
            steps=self.steps,
            guidance_interval=self.interval,
            mask_steps=self.mask_steps,
            init=self.start,
            min_agreement=0.0,
            max_area=1.0,
            retries=0,
        )


def points(
    engine: str,
    manifest: Manifest,
    steps: Sequence[int],
    interval: tuple[float, float],
    start: Literal["normal", "composite"] = "normal",
) -> Iterator[Point]:
    """The points of a bundle: what it can do of all steps, with and without the interval and with a single mask step.

    Composites bring their masks along, so nothing is to be spared there.
    """
    student, known = manifest.student, manifest.student.runs if manifest.student else ()
    intervals = [None] if student or manifest.defaults.guidance == 1 or interval == WHOLE else [None, interval]
    for count in steps:
        if known and count not in known:
            continue
        levels = np.linspace(0, 1, count + 1)[1:]
        if start == "composite":
            levels = levels[levels <= max(COMPOSITE_STRENGTH, levels[0])]
        for inside in intervals:
            if inside is not None and not ((inside[0] <= levels) & (levels <= inside[1])).any():
                continue
            for masks in (None, 1) if start == "normal" and manifest.look is None and count > 1 else (None,):
                yield Point(engine, count, inside, masks, start)


def pairs_of(generator: Generator, point: Point, count: int, batch: int) -> Pieces:
    """The pairs of a point, those with empty masks among them."""
    names = generator.defects
    made = [pair for parts in generator.batches(*generator.recipe(point.options(count, batch))) for pair in parts]
    types = np.array([1 + names.index(pair.defect) for pair in made], np.uint8)
    return Pieces(np.stack([pair.image for pair in made]), np.stack([pair.mask > 0 for pair in made]), types)


def judged(judge: Oracle, made: Pieces) -> Row:
    """What the judge says of pairs: overlap with their masks, share of the type asked for, spread inside a type."""
    labels = judge.labels(made.images)
    return {
        "iou": float(overlaps(labels > 0, made.masks).mean()),
        "type": float((judge.types(labels) == made.types).mean()),
        "diversity": float(spread(unweighted(judge.features(made.images)), made).mean()),
        "empty": float((~made.masks.any(axis=(1, 2))).mean()),
    }


def helpful(few: Task, pairs: Pieces | None, settings: SegmenterSettings, seeds: int) -> dict[str, list[float]]:
    """AP and IoU, at each image's best threshold, of a segmenter of each seed, with pairs as half of its anomalies or without."""
    task = few if pairs is None else replace(few, sources=(*few.sources, Source(pairs.images, pairs.masks)))
    reached = [
        segmentation.evaluate({"": task}, segmentation.segment({"": task}, settings, seed))[""].row() for seed in range(seeds)
    ]
    return {"ap": [row["pixel_ap"] for row in reached], "downstream": [row["pixel_iou"] for row in reached]}


def rates(generators: dict[str, Generator], found: Sequence[Point], count: int, batch: int, rounds: int) -> list[float]:
    """Pairs per second of each point, medians of rounds in which all take turns; each warms up on a batch."""
    seconds: list[list[float]] = [[] for _ in found]
    for turn in range(1 + rounds):
        for point, taken in zip(found, seconds, strict=True):
            began = time.perf_counter()
            pairs_of(generators[point.engine], point, count if turn else min(count, batch), batch)
            if turn:
                taken.append(time.perf_counter() - began)
    return [count / median(taken) for taken in seconds]


def table(facts: dict[str, Any], picture: str | None) -> str:
    """The points as Markdown, with the plot of this name beside it."""
    known = [key for key in COLUMNS if any(key in row for row in facts["points"])]
    lines = ["# Quality against steps" if picture else "# Speed against steps", ""]
    judged = f"{facts['pairs']} pairs of a point, first attempts; " if picture else ""
    lines += [f"{judged}pairs/s: medians of {facts['rounds']} rounds in turn."]
    if "alone" in facts:
        alone = ", ".join(f"{COLUMNS[key]} {_said(values)}" for key, values in facts["alone"].items())
        lines += [
            "Segmenters learn from few real anomalies and the pairs, mean and standard deviation of seeds, per cent; without the"
        ]
        lines += [f"pairs: {alone}."]
    lines += ["", f"| | steps | {' | '.join(COLUMNS[key] for key in known)} |", "|---|---:" + "|---:" * len(known) + "|"]
    for row in facts["points"]:
        lines.append(f"| {row['series']} | {row['steps']} | {' | '.join(_cell(key, row) for key in known)} |")
    lines += ["", *([f"![quality against steps, and against speed]({picture})", ""] if picture else [])]
    shown = ("engines", "backend", "data", "machine", "versions", "commit", "command")
    return "\n".join([*lines, *common.listed(facts, *(name for name in shown if name in facts)), ""])


def _cell(key: str, row: Row) -> str:
    value = row[key]
    return _said(value) if isinstance(value, list) else f"{value:.2f}" if key == "rate" else f"{value:.3f}"


def _said(values: Sequence[float]) -> str:
    """Scores of seeds, per cent."""
    return f"{100 * mean(values):.1f} ± {100 * (stdev(values) if len(values) > 1 else 0):.1f}"


def plot(rows: Sequence[Row], path: Path) -> None:
    """What is known of quality, against the steps and pairs per second, a line for each series; bars are a deviation of seeds."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FixedLocator, NullLocator

    keys = [key for key in PLOTTED if key in rows[0]]
    figure, grid = pyplot.subplots(2, len(keys), figsize=(4 * len(keys), 7), layout="constrained", squeeze=False)
    for axes_row, (x, label) in zip(grid, (("steps", "steps"), ("rate", "pairs/s")), strict=True):
        for axes, key in zip(axes_row, keys, strict=True):
            for series in dict.fromkeys(row["series"] for row in rows):
                line = sorted(
                    (row[x], np.mean(row[key]), np.std(row[key], ddof=np.size(row[key]) > 1))
                    for row in rows
                    if row["series"] == series
                )
                places, means, spreads = zip(*line, strict=True)
                axes.errorbar(places, means, spreads, fmt="o-", capsize=3, label=series)
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(FixedLocator([0.1, 0.2, 0.5, 1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 25, 50, 100]))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xlabel(label)
            axes.set_ylabel(COLUMNS[key])
    grid[0][0].legend(fontsize="small")
    figure.savefig(path, dpi=120)
