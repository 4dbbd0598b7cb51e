"""How many places should be compared when an anomaly is placed on a normal image (`seas_train.data.placing`)?

    python -m benchmarks.experiments.placing --data data/bottle --shots 5 --steps 200 --seeds 1

Segmenters learn from the few real anomalies and, for the other half of their batches, from composites placed at the best of so many
random places. Writes placing_NAME.json and .md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from benchmarks import common
from benchmarks.quality import real
from benchmarks.quality.downstream import segmentation
from benchmarks.quality.downstream.segmentation import SegmenterSettings
from benchmarks.quality.downstream.sources import Method, tasks, with_real
from benchmarks.quality.tables import Cell, Seeds, Table
from seas_train.config import TuneSettings
from seas_train.data import layouts, placing

COUNT = 240
"""Composites."""


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="A product's folder.")
@click.option("--shots", type=click.IntRange(1), default=5, show_default=True, help="Real anomalies of each type.")
@click.option("--tries", type=click.IntRange(1), multiple=True, default=(1, 3, 12), show_default=True, help="May be repeated.")
@click.option("--steps", type=click.IntRange(1), default=200, show_default=True, help="Of every segmenter.")
@click.option("--side", type=click.IntRange(32), default=128, show_default=True, help="Of all images, pixels.")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--results", type=click.Path(path_type=Path), default=common.RESULTS, show_default=True)
def main(data: Path, shots: int, tries: tuple[int, ...], steps: int, side: int, seeds: int, results: Path) -> None:
    """Train, compare, write."""
    product = layouts.read(data)
    material = real.load(real.divide(product, TuneSettings(shots=shots)), side)
    settings = SegmenterSettings(steps=steps)
    method = with_real(Method("placed", comparator="placed"), 0.5)
    found: dict[int, list[dict[str, float]]] = {number: [] for number in tries}
    for seed in range(seeds):
        for number in tries:  # in turns, so that an interrupted run has something of each
            placing.TRIES = number
            given = tasks(method, {product.name: material}, COUNT, seed)
            scores = segmentation.evaluate(given, segmentation.segment(given, settings, seed))[product.name].row()
            found[number].append(dict(scores))
            click.echo(f"seed {seed}, best of {number}: pixel AP {100 * scores['pixel_ap']:.1f}", err=True)
    facts: dict[str, Any] = {
        "command": f"python -m benchmarks.experiments.placing --data {data.name} --shots {shots} --steps {steps} --seeds {seeds}",
        "composites": COUNT,
        "scores": found,
        **common.machine(),
    }
    columns = {"pixel AP": "pixel_ap", "pixel IoU": "pixel_iou", "image AUROC": "image_auroc"}
    rows: list[tuple[Cell, ...]] = []
    for number, reached in found.items():
        rows.append((number, *(Seeds(tuple(100 * each[name] for each in reached)) for name in columns.values())))
    title = f"{product.name}: {shots} real anomalies of each type, and as much of composites"
    table = Table(title, ("best of", *columns), tuple(rows), digits=1)
    text = "\n".join([table.markdown(), *common.listed(facts, "command", "machine", "versions", "commit"), ""])
    common.save(results / f"placing_{product.name}", facts, text)
    click.echo(text)


if __name__ == "__main__":
    main()
