"""Commands that train generators and judge them. Heavy imports wait until a command needs them."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.quality import options
from benchmarks.quality.ablation.variants import TABLES


@click.command(epilog="Example: python -m benchmarks.quality report --data data/tile --work out/report --budget small")
@options.data_options
@options.WORK
@options.BASE
@click.option("--licence", default="not stated", metavar="TEXT", help="Of the images, kept in the models.")
@options.AUGMENT
@options.BUDGET
@options.SIDE
@options.SEEDS
@click.pass_context
def report(
    ctx: click.Context,
    *,
    given: options.Given,
    work: Path,
    base: Path | None,
    licence: str,
    augment: bool,
    budget: str,
    side: int | None,
    seeds: int,
) -> None:
    """Train, export and generate on one product, then compare with every comparator; all of it resumes."""
    from benchmarks.quality.pipeline import Pipeline
    from benchmarks.quality.report import run

    side = options.side_of(budget, side)
    facts, real = options.facts(ctx, side=side, division=given.origin()), options.one(given)
    with options.output(work):
        run(real, Pipeline(work, options.log, augment), budget, side, seeds, base, licence, facts)


@click.command(epilog="Example: python -m benchmarks.quality ablate --data data/tile --work out/ablate --table 4 --table 21")
@options.data_options
@options.WORK
@click.option("--table", "numbers", type=click.Choice(TABLES), multiple=True, required=True, help="Of the paper; may be repeated.")
@options.BASE
@options.INCEPTION
@options.VGG
@options.AUGMENT
@click.option("--budget", type=click.Choice(["smoke", "small"]), default="small", help="How long everything is trained.")
@options.SIDE
@options.SEEDS
@click.pass_context
def ablate(
    ctx: click.Context,
    *,
    given: options.Given,
    work: Path,
    numbers: tuple[str, ...],
    base: Path | None,
    inception: Path | None,
    vgg: Path | None,
    augment: bool,
    budget: str,
    side: int | None,
    seeds: int,
) -> None:
    """Train every row of an ablation table and lay the paper's beside it; says which conclusions hold."""
    from benchmarks.quality.ablation.run import run
    from benchmarks.quality.metrics import backbones
    from benchmarks.quality.pipeline import Pipeline

    side = options.side_of(budget, side)
    networks = backbones.load(inception, vgg)
    weights = [*networks.classifier_origin.sha256, *networks.perceptual_origin.sha256]
    facts, real = options.facts(ctx, side=side, division=given.origin(), weights=weights), options.one(given)
    with options.output(work):
        run(real, numbers, budget, side, seeds, base, Pipeline(work, options.log, augment), networks, facts)
