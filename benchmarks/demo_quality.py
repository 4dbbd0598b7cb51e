"""How good the pairs of the demo engine are, judged by what any number of procedural pairs can tell.

    python -m benchmarks.demo_quality --work out/demo --engine engines/bottle.plan

WORK is the folder of make_demo.py, whose few-shot data set the engine learned from. Every step is kept in WORK/quality, and the
same command continues there. Saves demo_quality.md, .json and .jpg. Where the pairs lose says `benchmarks.quality decompose`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.demo import figures, report
from benchmarks.demo.drawn import JudgeSettings
from benchmarks.demo.oracle import Oracle, Pieces
from benchmarks.make_demo import PRODUCT
from benchmarks.quality import real
from benchmarks.quality.decomposition import build, cases, trainings
from benchmarks.quality.decomposition.build import Request
from benchmarks.quality.decomposition.cases import Case
from benchmarks.quality.decomposition.stock import Stock
from benchmarks.quality.downstream.segmentation import SegmenterSettings
from benchmarks.stages import interruptible
from seas_train.config import TuneSettings
from seas_train.pipeline.stages import Log

SIDE, SHOTS = 128, 15
"""The engine's images, and the anomalies of each type that it learned from."""
BLENDS = 300
"""Pairs of cut-and-paste and of Perlin's noise."""
METHODS = {
    "real": cases.FEW,
    "real + cut-and-paste": cases.CROP_PASTE,
    "real + Perlin": "perlin",
    "real + generated": cases.OURS,
}
"""What a segmenter learns from, as the table calls it."""


def request(work: Path, engine: Path | None, count: int) -> Request:
    """What is judged: the few-shot data set and, if one is given, an engine's pairs."""
    few = real.divide(real.read_products(work / "few" / PRODUCT)[PRODUCT], TuneSettings())
    return Request(
        real=few,
        side=SIDE,
        shots=(SHOTS,),
        order="seeded",
        seed=0,
        engines={} if engine is None else {0: engine},
        pairs={},
        normals={},
        drawn=PRODUCT,
        count=count,
        judge=JudgeSettings(),
    )


def segmenters(stock: Stock, names: tuple[str, ...], seeds: int, folder: Path, log: Log) -> report.Scores:
    """AP and IoU of the segmenters by name, one for each seed; half of a batch's anomalies are the few real ones."""
    planned = {name: Case(SHOTS, METHODS[name]) for name in names}
    parts = [
        trainings.run(list(planned.values()), seed, stock, SegmenterSettings(), folder / "trainings", log) for seed in range(seeds)
    ]
    found = trainings.merge(*parts)
    scores = {name: [kept["scores"] for kept in found[case].values()] for name, case in planned.items()}
    return {name: [{"ap": row["pixel_ap"], "iou": row["pixel_iou_half"]} for row in rows] for name, rows in scores.items()}


@click.command(help=__doc__)
@click.option("--work", type=click.Path(path_type=Path, exists=True), default=Path("out/demo"), show_default=True)
@click.option("--engine", type=click.Path(path_type=Path), default=Path("engines/bottle.plan"), show_default=True)
@click.option("--count", default=600, show_default=True, help="Pairs to generate.")
@click.option("--seeds", default=3, show_default=True, help="Segmenters of each kind.")
@click.option(
    "--method",
    "methods",
    multiple=True,
    type=click.Choice(tuple(METHODS)),
    help="Train these segmenters only, and write no table.",
)
def main(work: Path, engine: Path, count: int, seeds: int, methods: tuple[str, ...]) -> None:
    """Run what is not done yet."""
    folder, names = work / "quality", methods or tuple(METHODS)
    asked = request(work, engine if cases.OURS in map(METHODS.get, names) else None, count)
    with interruptible():
        stock = replace(build.stock_of(asked, folder, click.echo), blends=BLENDS)
        scores = segmenters(stock, names, seeds, folder, click.echo)
        if not methods:
            judge(engine, asked, stock, scores)


def judge(engine: Path, asked: Request, stock: Stock, scores: report.Scores) -> None:
    """Take every figure of the engine's pairs and save table and sheet."""
    found, ours, oracle = measured(asked, stock)
    report.save(engine, found, scores, ours, oracle)


def measured(asked: Request, stock: Stock) -> tuple[dict[str, Any], Pieces, Oracle]:
    """Every figure of generated pairs, the pairs, and the oracle that judged them.

    Raises:
        click.ClickException: there is neither a judge nor pairs.
    """
    laid, fresh = build.sets(stock, asked)
    own = stock.shots[SHOTS]
    if stock.judge is None or own.ours is None:
        raise click.ClickException("found no judge or no pairs, expected both")
    test = own.material.test
    whole = ~test.masks.any(axis=(1, 2))
    pieces = Pieces(test.images[whole], test.masks[whole], np.zeros(whole.sum(), np.uint8))
    few = Pieces(*own.material.few, own.types)
    found = figures.measure(stock.judge, own.ours, laid[fresh], pieces, few)
    found["empty"] = 1 - len(own.ours.images) / asked.count
    return found, own.ours, stock.judge


if __name__ == "__main__":
    main()
