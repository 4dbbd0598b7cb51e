"""Quality against steps, of a teacher's bundle and of a student's: what a user can choose from.

    python -m benchmarks.curve --teacher engines/bottle.plan --student out/fast.plan --work out/curve
    python -m benchmarks.curve --teacher own.plan --student fast.plan --judge none --data data/bottle --start composite

Bundles of a drawn product (bottle, tile, nut) are judged by what only drawn products have, an oracle, trained in WORK on the first
call. With --data segmenters learn from a few real anomalies of that data set and from the pairs of each point. Every number of
steps is run with and without the guidance interval, and with a single mask step, where a bundle has these; from a normal image's
latent, or from composites. With --judge none and no --data the table says how fast the points are, no more. Engines must have
learned from the --shots anomalies of that data set and no others: of the rest the segmenters are tested on.
Saves curve_NAME.md, .json and .png. What a point was judged to be is kept in WORK, so that an interrupted run goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import click
import numpy as np

import seas_runtime
from benchmarks import common
from benchmarks.demo import drawn
from benchmarks.demo.drawn import JudgeSettings
from benchmarks.demo.oracle import Pieces
from benchmarks.quality import real
from benchmarks.quality.downstream.segmentation import SegmenterSettings, Source, Task
from benchmarks.quality.real import digest
from benchmarks.speed import curve
from benchmarks.speed.curve import Point, Row
from seas_runtime import Generator
from seas_runtime.bundle.manifest import Manifest
from seas_runtime.commands import interval_of
from seas_train.config import TuneSettings, resolve
from seas_train.data import demo, layouts


class Judge(NamedTuple):
    """What says how good pairs are, and what tells it from others."""

    says: Callable[[Pieces], Row]
    known: str


def by_oracle(work: Path, product: str, side: int, preset: str) -> Judge:
    """The oracle of a drawn product."""
    settings = resolve(JudgeSettings, preset, None, {})
    fresh, _ = drawn.fresh_pieces(product, side, settings)
    oracle = drawn.judge_of(work, product, fresh, settings)
    return Judge(partial(curve.judged, oracle), repr(settings))


def by_segmenters(few: Task, settings: SegmenterSettings, seeds: int) -> Judge:
    """Segmenters that learn from the pairs beside a few real anomalies."""
    (source,) = few.sources
    seen = digest(source.images, source.masks, few.normals, few.test_images, few.test_masks)
    return Judge(partial(curve.helpful, few, settings=settings, seeds=seeds), f"{settings!r} {seeds} {seen}")


def few_of(data: Path, shots: int, side: int) -> Task:
    """A few real anomalies of each type to learn from, and the rest to be tested on."""
    material = real.load(real.divide(layouts.read(data), TuneSettings(shots=shots)), side)
    return Task((Source(*material.few),), material.normals, *material.test)


def judged(judges: Sequence[Judge], generator: Generator, point: Point, count: int, batch: int) -> Row:
    """What all judges say of a point's pairs."""
    made = curve.pairs_of(generator, point, count, batch)
    return {key: value for judge in judges for key, value in judge.says(made).items()}


def place(work: Path, name: str, *known: object) -> Path:
    """Where a figure is kept, named after all that it comes from."""
    return work / "points" / f"{name.replace(' ', '_').replace(':', '-')}-{digest(np.array(repr(known)))[:12]}.json"


def require_one_product(manifests: dict[str, Manifest], judge: str) -> None:
    """Refuse bundles of several products, and what has no judge."""
    products = {name: one.product for name, one in manifests.items()}
    if len(set(products.values())) > 1:
        raise click.ClickException(f"bundles of {', '.join(products.values())} found, one product expected")
    if judge != "none" and products["teacher"] not in demo.PRODUCTS:
        raise click.ClickException(
            f"a bundle of {products['teacher']} found, a drawn product expected ({', '.join(demo.PRODUCTS)}); "
            "without a judge: --judge none, and --data DIR for segmenters"
        )


@click.command(help=__doc__)
@click.option("--teacher", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--student", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    default=Path("out/curve"),
    show_default=True,
    help="Where the judge and points are kept.",
)
@click.option("--steps", type=click.IntRange(1), multiple=True, default=curve.STEPS, show_default=True)
@click.option("--start", type=click.Choice(["normal", "composite"]), default="normal", show_default=True)
@click.option(
    "--guidance-interval",
    "interval",
    type=interval_of,
    default="0.2:0.8",
    show_default=True,
    metavar="A:B",
    help="0:1 for none beside the whole.",
)
@click.option("--count", type=click.IntRange(6), default=300, show_default=True, help="Pairs that are judged.")
@click.option("--timed", type=click.IntRange(1), default=12, show_default=True, help="Pairs that are timed in a round.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=4, show_default=True)
@click.option("--backend", default="auto", show_default=True)
@click.option("--judge", type=click.Choice((*JudgeSettings.presets, "none")), default="paper", show_default=True)
@click.option(
    "--data", type=click.Path(path_type=Path, exists=True), help="Real images that segmenters learn from and are tested on."
)
@click.option("--shots", type=click.IntRange(1), default=5, show_default=True, help="Of --data: real anomalies of each type.")
@click.option("--segmenter-steps", type=click.IntRange(1), default=200, show_default=True)
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True, help="Of segmenters.")
@click.option("--results", type=click.Path(path_type=Path), default=common.RESULTS)
def main(
    *,
    teacher: Path,
    student: Path | None,
    work: Path,
    steps: tuple[int, ...],
    start: Literal["normal", "composite"],
    interval: tuple[float, float],
    count: int,
    timed: int,
    rounds: int,
    batch: int,
    backend: str,
    judge: str,
    data: Path | None,
    shots: int,
    segmenter_steps: int,
    seeds: int,
    results: Path,
) -> None:
    """Measure, then save table and plot."""
    paths = {"teacher": teacher, **({"student": student} if student else {})}
    generators = {name: seas_runtime.open(path, backend) for name, path in paths.items()}
    manifests = {name: generator.bundle.manifest for name, generator in generators.items()}
    require_one_product(manifests, judge)
    product, side = manifests["teacher"].product, manifests["teacher"].geometry.image_size
    oracle = [by_oracle(work, product, side, judge)] if judge != "none" else []
    few = few_of(data, shots, side) if data else None
    settings = SegmenterSettings(steps=segmenter_steps)
    judges = [*oracle, *([by_segmenters(few, settings, seeds)] if few else [])]
    chosen = [point for name, manifest in manifests.items() for point in curve.points(name, manifest, steps, interval, start)]
    rows = []
    for point in chosen:
        generator = generators[point.engine]
        path = place(
            work, f"{point.series} {point.steps}", generator.bundle.manifest.digest, point, count, [by.known for by in judges]
        )
        found = common.kept(path, partial(judged, judges, generator, point, count, batch)) if judges else {}
        rows.append({"series": point.series, "steps": point.steps, **found})
        click.echo(rows[-1])
    for row, rate in zip(rows, curve.rates(generators, chosen, timed, batch, rounds), strict=True):
        row["rate"] = rate
    facts = {
        "points": rows,
        "pairs": count,
        "rounds": rounds,
        "engines": {name: manifest.digest for name, manifest in manifests.items()},
        "backend": {name: generator.backend.describe() for name, generator in generators.items()},
        **common.machine(),
        "command": " ".join(["python -m benchmarks.curve", *(Path(word).name if "/" in word else word for word in sys.argv[1:])]),
    }
    if few:
        facts["alone"] = common.kept(place(work, "alone", judges[-1].known), partial(curve.helpful, few, None, settings, seeds))
        facts["data"] = {"shots": shots, "segmenter steps": segmenter_steps, "seeds": seeds}
    name = f"curve_{product}" + ("_composites" if start == "composite" else "") + ("" if judges else "_rates")
    common.save(results / name, facts, curve.table(facts, f"{name}.png" if judges else None))
    if judges:
        curve.plot(rows, results / f"{name}.png")
    click.echo(f"saved {results / f'{name}.md'}")


if __name__ == "__main__":
    main()
