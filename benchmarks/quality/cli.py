"""`python -m benchmarks.quality`. Heavy imports wait until a command needs them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks.quality import options
from benchmarks.quality.ablation.variants import TABLES
from benchmarks.quality.options import BUDGET, COMPARATORS, NETWORKS, PAIRS, PATH, RUN, SEEDS, SIDE, Given
from seas_runtime.errors import DataError, SettingsError

if TYPE_CHECKING:
    from benchmarks.quality.real import Real

INTERRUPTED = 130
EXAMPLES = """\b
Examples:
  python -m benchmarks.quality generation out/tile --data data/tile
  python -m benchmarks.quality downstream --data data/tile --pairs ours=out/tile --comparator perlin
  python -m benchmarks.quality replaced --data data/tile --pairs out/tile
  python -m benchmarks.quality report --data data/tile --work out/report --budget small
  python -m benchmarks.quality ablate --data data/tile --work out/ablate --table 4

Real anomalies are divided as seas-train tune divides them: tests see none that anything has learned from.
The same command again continues an interrupted one.

\b
Exit codes: 0 done, 1 training failed, 2 usage, 3 bad data or weights, 5 output problem, 130 interrupted."""


class Group(click.Group):
    """Commands that remember their words, and end an interrupt with one line and the exit code of the house."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words for the documents."""
        ctx.meta["words"] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Interrupted: the same command continues from what is saved.", err=True)
            ctx.exit(INTERRUPTED)


@click.group(cls=Group, epilog=EXAMPLES, context_settings={"show_default": True, "max_content_width": 100})
def main() -> None:
    """Judge image-mask pairs, of any generator, after the SeaS paper; benchmarks/README.md says where this differs from it."""


def say(line: str) -> None:
    """Show progress beside the results."""
    click.echo(line, err=True)


@main.command(epilog="Example: python -m benchmarks.quality generation out/tile --data data/tile --splits 5")
@click.argument("pairs", type=PATH)
@options.data_options
@RUN
@options.INCEPTION
@options.VGG
@click.option("--side", type=click.IntRange(32), default=256, metavar="PIXELS", help="Side to which images are resized.")
@click.option("--splits", type=click.IntRange(1), default=10, metavar="N", help="Of the Inception Score.")
@options.TURN
@options.out_option("generation")
@click.pass_context
def generation(
    ctx: click.Context,
    *,
    pairs: Path,
    given: Given,
    runs: tuple[Path, ...],
    inception: Path | None,
    vgg: Path | None,
    side: int,
    splits: int,
    turn: bool,
    out: Path,
) -> None:
    """Fidelity, diversity, copies and mask fit of the folder PAIRS (tab. 1, 8, 30), by product and type."""
    from benchmarks.quality import documents, paper
    from benchmarks.quality.metrics import backbones
    from benchmarks.quality.metrics import tables as generation_tables
    from benchmarks.quality.metrics.generation import GenerationSettings
    from benchmarks.quality.pairs import read_pairs
    from benchmarks.quality.tables import Document

    settings = GenerationSettings(side=side, splits=splits, turn=turn)
    facts = _facts(ctx, settings=settings.model_dump())
    networks = backbones.load(inception, vgg)
    real, generated = given.products(runs), read_pairs(pairs)
    facts |= {"weights": [*networks.classifier_origin.sha256, *networks.perceptual_origin.sha256]}
    facts |= {"division": given.origin(runs), "images": options.division(real)}
    opening = [f"Generated images of each defect type, against the anomalies for training. {documents.divided(runs)}"]
    with options.output(out):
        found = generation_tables.judge(real, generated, networks, settings, say, out / "measured")
        tables = generation_tables.tables(found)
        if generation_tables.comparable(found):
            unlike = paper.unlike(side, splits, [judged.scores.count for judged in found])
            if unlike:
                opening.append(f"The paper's figures are left out, as ours were measured otherwise: {'; '.join(unlike)}.")
            else:
                tables += paper.shown("1", "8", "30")
        captions = generation_tables.picture(real, generated, side, out)
        documents.write(Document("generation", "Generated pairs", tuple(opening), tuple(tables), facts, captions), out)


@main.command(epilog="Example: python -m benchmarks.quality downstream --data data/tile --pairs ours=out/tile --comparator perlin")
@options.data_options
@RUN
@PAIRS
@click.option("--comparator", "comparators", type=click.Choice(COMPARATORS), multiple=True, help="May be repeated.")
@click.option(
    "--network", "networks", type=click.Choice(NETWORKS), multiple=True, show_default="small, bisenet with --budget paper",
    help="May be repeated.",
)  # fmt: skip
@click.option("--scope", type=click.Choice(["unified", "each", "both"]), default="unified", help="One network for all products?")
@click.option(
    "--count", "counts", type=click.IntRange(1), multiple=True, metavar="N", show_default="all that every --pairs has",
    help="Pairs of each product; smaller ones beside the largest draw a curve.",
)  # fmt: skip
@click.option("--few-real", type=options.SHARES, metavar="X", help="Also with this share of the few real anomalies in a batch.")
@options.STEPS
@options.TURN
@click.option("--weights", multiple=True, metavar="NETWORK=FILE", help="Weights of the ResNet in upernet or lfd; may be repeated.")
@BUDGET
@SIDE
@SEEDS
@options.out_option("downstream")
@click.pass_context
def downstream(
    ctx: click.Context,
    /,
    *,
    given: Given,
    runs: tuple[Path, ...],
    networks: tuple[str, ...],
    scope: str,
    counts: tuple[int, ...],
    budget: str,
    side: int | None,
    seeds: int,
    out: Path,
    **how: Any,
) -> None:
    """Train segmenters on pairs and normal images, test them on held-out real ones (tab. 2, 3, 9, 10, 12, 19, 31, 32)."""
    from benchmarks.quality import documents
    from benchmarks.quality.downstream import sources, trials
    from benchmarks.quality.downstream.segmentation import SegmenterSettings
    from benchmarks.quality.metrics import backbones
    from seas_train.config import resolve

    settings = resolve(SegmenterSettings, budget, None, {key: how[key] for key in ("steps", "turn")})
    networks, side = networks or (settings.network,), options.side_of(budget, side)
    weights = options.weights_of(how["weights"], networks)
    facts = _facts(ctx, side=side, seeds=seeds, weights={name: backbones.sha256(path) for name, path in weights.items()})
    real = given.products(runs)
    facts |= {"division": given.origin(runs), "images": options.division(real)}
    named = options.named_folders(how["folders"])
    materials, compared = sources.collect(real, side, named, how["comparators"], how["few_real"])
    scopes = ("unified", "each") if scope == "both" else (scope,)
    planned = trials.plan(compared, networks, scopes, counts or (sources.count_of(compared),), seeds)
    with options.output(out):
        results = trials.run(planned, compared, materials, settings, out / "trainings", say, weights)
        facts["segmenter"] = trials.stated(settings, results)
        documents.write_downstream(results, compared, materials, facts, out, documents.divided(runs))


@main.command(epilog="Example: python -m benchmarks.quality replaced --data data/tile --pairs out/tile --budget smoke")
@options.data_options
@RUN
@PAIRS
@click.option("--count", type=click.IntRange(1), metavar="N", show_default="all pairs", help="Anomalies of each product.")
@options.STEPS
@options.TURN
@BUDGET
@SIDE
@SEEDS
@options.out_option("replaced")
@click.pass_context
def replaced(
    ctx: click.Context,
    *,
    given: Given,
    runs: tuple[Path, ...],
    folders: tuple[str, ...],
    count: int | None,
    steps: int | None,
    turn: bool,
    budget: str,
    side: int | None,
    seeds: int,
    out: Path,
) -> None:
    """A DRAEM-like detector with Perlin anomalies against the same with generated pairs (tab. 33)."""
    from benchmarks.quality import documents, paper
    from benchmarks.quality.downstream import replaced as test
    from benchmarks.quality.downstream import sources
    from benchmarks.quality.downstream.draem import DraemSettings
    from benchmarks.quality.tables import Document
    from seas_train.config import resolve

    if not folders:
        raise SettingsError("found no --pairs, expected at least one folder of generated pairs; add --pairs DIR")
    settings, side = resolve(DraemSettings, budget, None, {"steps": steps, "turn": turn}), options.side_of(budget, side)
    facts = _facts(ctx, settings=settings.model_dump(mode="json"), side=side, seeds=seeds)
    real = given.products(runs)
    facts |= {"division": given.origin(runs), "images": options.division(real)}
    materials, compared = sources.collect(real, side, options.named_folders(folders))
    tested = "Two detectors that differ in the anomalies they learn from alone, tested on held-out real images."
    opening, tables = (f"{tested} {documents.divided(runs)}",), []
    with options.output(out):
        for method in compared:
            number = count or sources.count_of([method])
            found = test.run(method, materials, settings, number, seeds, out / "trainings", say)
            tables.append(test.table(found, method, number))
        tables += paper.shown("33")
        documents.write(Document("replaced", "The generator of another method, replaced", opening, tuple(tables), facts), out)


@main.command(epilog="Example: python -m benchmarks.quality report --data data/tile --work out/report --budget small")
@options.data_options
@options.WORK
@options.BASE
@click.option("--licence", default="not stated", metavar="TEXT", help="Of the images, kept in the models.")
@options.TURN
@BUDGET
@SIDE
@SEEDS
@click.pass_context
def report(
    ctx: click.Context,
    *,
    given: Given,
    work: Path,
    base: Path | None,
    licence: str,
    turn: bool,
    budget: str,
    side: int | None,
    seeds: int,
) -> None:
    """Train, export and generate on one product, then compare with every comparator; all of it resumes."""
    from benchmarks.quality import report as everything
    from benchmarks.quality.pipeline import Pipeline

    side = options.side_of(budget, side)
    facts, real = _facts(ctx, side=side, division=given.origin()), _one(given)
    with options.output(work):
        everything.run(real, Pipeline(work, say, turn), budget, side, seeds, base, licence, facts)


@main.command(epilog="Example: python -m benchmarks.quality ablate --data data/tile --work out/ablate --table 4 --table 21")
@options.data_options
@options.WORK
@click.option("--table", "numbers", type=click.Choice(TABLES), multiple=True, required=True, help="Of the paper; may be repeated.")
@options.BASE
@options.INCEPTION
@options.VGG
@options.TURN
@click.option("--budget", type=click.Choice(["smoke", "small"]), default="small", help="How long everything is trained.")
@SIDE
@SEEDS
@click.pass_context
def ablate(
    ctx: click.Context,
    *,
    given: Given,
    work: Path,
    numbers: tuple[str, ...],
    base: Path | None,
    inception: Path | None,
    vgg: Path | None,
    turn: bool,
    budget: str,
    side: int | None,
    seeds: int,
) -> None:
    """Train every row of an ablation table and lay the paper's beside it; says which conclusions hold."""
    from benchmarks.quality.ablation import run
    from benchmarks.quality.metrics import backbones

    side = options.side_of(budget, side)
    networks = backbones.load(inception, vgg)
    weights = [*networks.classifier_origin.sha256, *networks.perceptual_origin.sha256]
    facts, real = _facts(ctx, side=side, division=given.origin(), weights=weights), _one(given)
    with options.output(work):
        run.run(real, numbers, budget, side, seeds, base, work, networks, facts, say, turn)


def _one(given: Given) -> Real:
    """The only product.

    Raises:
        DataError: DATA holds several.
    """
    found = given.products()
    if len(found) > 1:
        raise DataError(f"{given.data}: holds the products {', '.join(found)}, expected the folder of one; give that folder")
    return next(iter(found.values()))


def _facts(ctx: click.Context, **more: Any) -> dict[str, Any]:
    """Origin of a document, before anything is computed."""
    from benchmarks.quality import tables

    return tables.origin(ctx.meta["words"], **more)
