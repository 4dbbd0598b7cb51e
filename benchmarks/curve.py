"""Quality against steps, of a teacher's bundle and of a student's: what a user can choose from.

    python -m benchmarks.curve --teacher engines/bottle.plan --student out/fast.plan --work out/curve

Both are bundles of a drawn product (bottle, tile, nut), whose pairs a judge of drawn pieces can tell good from bad; it is trained
in WORK on the first call. Every number of steps is run with and without the guidance interval, and with a single mask step, where
a bundle has these. Saves curve.md, .json and .png.
"""

from __future__ import annotations

from pathlib import Path

import click

import seas_runtime
from benchmarks import common
from benchmarks.demo import drawn
from benchmarks.demo.drawn import JudgeSettings
from benchmarks.speed import curve
from seas_runtime.commands import interval_of
from seas_train.config import resolve
from seas_train.data import demo


@click.command(help=__doc__)
@click.option("--teacher", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--student", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--work", type=click.Path(path_type=Path), default=Path("out/curve"), show_default=True, help="Where the judge is kept."
)
@click.option("--steps", type=click.IntRange(1), multiple=True, default=curve.STEPS, show_default=True)
@click.option("--guidance-interval", "interval", type=interval_of, default="0.2:0.8", show_default=True, metavar="A:B")
@click.option("--count", type=click.IntRange(6), default=300, show_default=True, help="Pairs that are judged.")
@click.option("--timed", type=click.IntRange(1), default=12, show_default=True, help="Pairs that are timed in a round.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=4, show_default=True)
@click.option("--backend", default="auto", show_default=True)
@click.option("--judge", type=click.Choice(tuple(JudgeSettings.presets)), default="paper", show_default=True)
@click.option("--results", type=click.Path(path_type=Path), default=common.RESULTS)
def main(
    *,
    teacher: Path,
    student: Path | None,
    work: Path,
    steps: tuple[int, ...],
    interval: tuple[float, float],
    count: int,
    timed: int,
    rounds: int,
    batch: int,
    backend: str,
    judge: str,
    results: Path,
) -> None:
    """Measure, then save table and plot."""
    paths = {"teacher": teacher, **({"student": student} if student else {})}
    generators = {name: seas_runtime.open(path, backend) for name, path in paths.items()}
    manifests = {name: generator.bundle.manifest for name, generator in generators.items()}
    product, side = manifests["teacher"].product, manifests["teacher"].geometry.image_size
    if product not in demo.PRODUCTS or any(one.product != product for one in manifests.values()):
        raise click.ClickException(
            f"bundles of {', '.join(one.product for one in manifests.values())} found, one drawn product expected"
        )
    settings = resolve(JudgeSettings, judge, None, {})
    fresh, _ = drawn.fresh_pieces(product, side, settings)
    oracle = drawn.judge_of(work, product, fresh, settings)
    chosen = [point for name, manifest in manifests.items() for point in curve.points(name, manifest, steps, interval)]
    rows = []
    for point in chosen:
        made = curve.pairs_of(generators[point.engine], point, count, batch)
        rows.append({"series": point.series, "steps": point.steps, **curve.judged(oracle, made)})
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
        "command": f"python -m benchmarks.curve --teacher TEACHER{' --student STUDENT' if student else ''} --count {count}",
    }
    common.save(results / "curve", facts, curve.table(facts))
    curve.plot(rows, results / "curve.png")
    click.echo(f"saved {results / 'curve.md'}")


if __name__ == "__main__":
    main()
