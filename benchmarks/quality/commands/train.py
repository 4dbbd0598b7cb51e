"""Commands that train generators and judge them. Heavy imports wait until a command needs them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from benchmarks.quality import options
from benchmarks.quality.ablation.variants import TABLES


@click.command(epilog="Example: seas-quality report --data data/tile --work out/report")
@options.data_options
@options.WORK
@options.BASE
@click.option("--licence", default="not stated", metavar="TEXT", help="Of the images, kept in the models.")
@click.option(
    "--augment/--no-augment", "--turn/--no-turn", "augment", default=None, show_default="as the normal images look",
    help="Quarter-turns and flips; not for a fixed pose.",
)  # fmt: skip
@click.option(
    "--budget", type=click.Choice(["auto", *options.BUDGETS]), default="auto",
    help="How long every network is trained; auto: as long as --minutes and this machine's speed allow.",
)  # fmt: skip
@click.option(
    "--minutes", type=click.FloatRange(5), default=170.0, show_default=True, metavar="N", help="For everything, with --budget auto."
)
@click.option(
    "--network", "networks", type=click.Choice(options.NETWORKS), multiple=True,
    show_default="small, bisenet with --budget paper, and efficientnet where its weights are installed", help="May be repeated.",
)  # fmt: skip
@options.SIDE
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, metavar="N", help="Trainings of each kind.")
@click.pass_context
def report(
    ctx: click.Context,
    *,
    given: options.Given,
    work: Path | None,
    base: Path | None,
    licence: str,
    augment: bool | None,
    budget: str,
    minutes: float,
    networks: tuple[str, ...],
    side: int | None,
    seeds: int,
) -> None:
    """Train, export and generate on one product, then compare with every comparator; all of it resumes."""
    from benchmarks.quality import choices
    from benchmarks.quality.downstream.segmentation import SegmenterSettings
    from benchmarks.quality.pipeline import Pipeline
    from benchmarks.quality.report import EFFORTS, Chosen, run
    from seas_train.config import resolve

    options.require_networks(networks)
    work = options.work_of(ctx, work, given)
    side = options.side_of("small" if budget == "auto" else budget, side)
    facts, real = options.facts(ctx, side=side, division=given.origin()), options.one(given)
    with options.output(work):
        if budget == "auto":
            found = choices.choose(real, minutes, side, seeds, work, networks)
            turned, segmenter = found.turned, resolve(SegmenterSettings, "small", None, {"steps": found.segmenter_steps})
            chosen = Chosen(found.effort, segmenter, seeds, found.networks, found.reasons, partial(choices.refit, work))
            for reason in found.reasons:
                options.log(reason)
        else:
            turned, segmenter = True, resolve(SegmenterSettings, budget, None, {})
            own = tuple(dict.fromkeys(networks)) or (segmenter.network, *choices.usual()[1:])
            chosen = Chosen(EFFORTS[budget], segmenter, seeds, own)
        pipeline = Pipeline(work, options.log, turned if augment is None else augment)
        run(real, pipeline, chosen, side, base, licence, facts)


@click.command(epilog="Example: seas-quality ablate --data data/tile --work out/ablate --table 4 --table 21")
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
    work: Path | None,
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

    side, work = options.side_of(budget, side), options.work_of(ctx, work, given)
    networks = backbones.load(inception, vgg)
    weights = [*networks.classifier_origin.sha256, *networks.perceptual_origin.sha256]
    facts, real = options.facts(ctx, side=side, division=given.origin(), weights=weights), options.one(given)
    with options.output(work):
        run(real, numbers, budget, side, seeds, base, Pipeline(work, options.log, augment), networks, facts)
