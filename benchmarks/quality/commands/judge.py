"""Commands that judge pairs of any generator. Heavy imports wait until a command needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from benchmarks.quality import options
from seas_runtime.errors import SettingsError
from seas_train.options import IntegersType


@click.command(epilog="Example: seas-quality generation out/tile --data data/tile --splits 5")
@click.argument("pairs", type=options.PATH)
@options.data_options
@options.RUN
@options.INCEPTION
@options.VGG
@click.option("--side", type=click.IntRange(32), default=256, metavar="PIXELS", help="Side to which images are resized.")
@click.option("--splits", type=click.IntRange(1), default=10, metavar="N", help="Of the Inception Score.")
@options.AUGMENT
@options.out_option("generation")
@click.pass_context
def generation(
    ctx: click.Context,
    *,
    pairs: Path,
    given: options.Given,
    runs: tuple[Path, ...],
    inception: Path | None,
    vgg: Path | None,
    side: int,
    splits: int,
    augment: bool,
    out: Path,
) -> None:
    """Fidelity, diversity, copies and mask fit of the folder PAIRS (tab. 1, 8, 30), by product and type."""
    from benchmarks.quality import documents, paper
    from benchmarks.quality.metrics import backbones, judgement
    from benchmarks.quality.metrics.generation import GenerationSettings
    from benchmarks.quality.pairs import read_pairs
    from benchmarks.quality.tables import Document

    settings = GenerationSettings(side=side, splits=splits, augment=augment)
    facts = options.facts(ctx, settings=settings.model_dump())
    networks = backbones.load(inception, vgg)
    real, generated = given.products(runs), read_pairs(pairs)
    facts |= {"weights": [*networks.classifier_origin.sha256, *networks.perceptual_origin.sha256]}
    facts |= {"division": given.origin(runs), "images": options.division(real)}
    opening = [f"Generated images of each defect type, against the anomalies for training. {documents.divided(runs)}"]
    with options.output(out):
        found = judgement.judge(real, generated, networks, settings, options.log, out / "measured")
        tables = judgement.tables(found)
        if judgement.comparable(found):
            unlike = paper.unlike(side, splits, [judged.scores.count for judged in found])
            if unlike:
                opening.append(f"The paper's figures are left out, as ours were measured otherwise: {'; '.join(unlike)}.")
            else:
                tables += paper.shown("1", "8", "30")
        captions = judgement.picture(real, generated, side, out)
        documents.write(Document("generation", "Generated pairs", tuple(opening), tuple(tables), facts, captions), out)


@click.command(epilog="Example: seas-quality downstream --data data/tile --pairs ours=out/tile --comparator perlin")
@options.data_options
@options.RUN
@options.PAIRS
@click.option("--comparator", "comparators", type=click.Choice(options.COMPARATORS), multiple=True, help="May be repeated.")
@click.option(
    "--network", "networks", type=click.Choice(options.NETWORKS), multiple=True, show_default="small, bisenet with --budget paper",
    help="May be repeated.",
)  # fmt: skip
@click.option("--scope", type=click.Choice(["unified", "each", "both"]), default="unified", help="One network for all products?")
@click.option(
    "--count", "counts", type=click.IntRange(1), multiple=True, metavar="N", show_default="all that every --pairs has",
    help="Pairs of each product; smaller ones beside the largest draw a curve.",
)  # fmt: skip
@click.option("--few-real", type=options.SHARES, metavar="X", help="Also with this share of the few real anomalies in a batch.")
@options.STEPS
@options.AUGMENT
@click.option("--weights", multiple=True, metavar="NETWORK=FILE", help="Weights of the ResNet in upernet or lfd; may be repeated.")
@options.BUDGET
@options.SIDE
@options.SEEDS
@options.out_option("downstream")
@click.pass_context
def downstream(
    ctx: click.Context,
    /,
    *,
    given: options.Given,
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
    from benchmarks.quality.weights import sha256
    from seas_train.config import resolve

    settings = resolve(SegmenterSettings, budget, None, {key: how[key] for key in ("steps", "augment")})
    networks, side = tuple(dict.fromkeys(networks)) or (settings.network,), options.side_of(budget, side)
    options.require_networks(networks)
    weights = options.weights_of(how["weights"], networks)
    facts = options.facts(ctx, side=side, seeds=seeds, weights={name: sha256(path) for name, path in weights.items()})
    real = given.products(runs)
    facts |= {"division": given.origin(runs), "images": options.division(real)}
    named = options.named_folders(how["folders"])
    materials, compared = sources.collect(real, side, named, how["comparators"], how["few_real"])
    scopes = ("unified", "each") if scope == "both" else (scope,)
    planned = trials.plan(compared, networks, scopes, counts or (sources.count_of(compared),), seeds)
    with options.output(out):
        results = trials.run(planned, compared, materials, settings, out / "trainings", options.log, weights)
        facts["segmenter"] = trials.stated(settings, results)
        documents.write_downstream(results, compared, materials, facts, out, documents.divided(runs))


@click.command(epilog="Example: seas-quality unsupervised --data data/tile --pairs out/tile")
@options.data_options
@options.RUN
@click.option(
    "--pairs", "folder", type=options.PATH, metavar="DIR", show_default="real ones alone",
    help="Generated normal images, in DIR/train/good or DIR/PRODUCT/train/good.",
)  # fmt: skip
@click.option(
    "--real", "counts", type=IntegersType(), default="5,20,0", metavar="N,N", help="Real normal images to learn from, 0 for all."
)
@click.option("--side", type=click.IntRange(32), default=128, metavar="PIXELS", help="Side to which images are resized.")
@options.SEEDS
@options.out_option("unsupervised")
@click.pass_context
def unsupervised(
    ctx: click.Context,
    *,
    given: options.Given,
    runs: tuple[Path, ...],
    folder: Path | None,
    counts: tuple[int, ...],
    side: int,
    seeds: int,
    out: Path,
) -> None:
    """PatchCore from 5, 20 and all real normal images, and from generated ones beside them (tab. 12)."""
    from benchmarks.quality import documents, paper
    from benchmarks.quality.downstream import unsupervised as detection
    from benchmarks.quality.downstream.patchcore import PatchcoreSettings
    from benchmarks.quality.real import load
    from benchmarks.quality.tables import Document

    options.require_networks(("efficientnet",))
    settings, side = PatchcoreSettings(), options.side_of("small", side)
    facts = options.facts(ctx, settings=settings.model_dump(mode="json"), side=side, seeds=seeds)
    real = given.products(runs)
    facts |= {"division": given.origin(runs), "images": options.division(real)}
    materials = {name: load(found, side) for name, found in real.items()}
    generated = detection.read_generated(folder, materials, side) if folder else {}
    compared = detection.banks(counts, materials, bool(generated), options.log)
    tested = "A detector that learns from normal images alone, tested on held-out real ones."
    with options.output(out):
        found = detection.run(compared, materials, generated, settings, seeds, out / "trainings", options.log)
        tables = (detection.table(found, materials, generated, settings), *paper.shown("12"))
        opening = (f"{tested} {documents.divided(runs)}",)
        documents.write(Document("unsupervised", "Generated normal images", opening, tables, facts), out)


@click.command(epilog="Example: seas-quality replaced --data data/tile --pairs out/tile --budget smoke")
@options.data_options
@options.RUN
@options.PAIRS
@click.option("--count", type=click.IntRange(1), metavar="N", show_default="all pairs", help="Anomalies of each product.")
@options.STEPS
@options.AUGMENT
@options.BUDGET
@options.SIDE
@options.SEEDS
@options.out_option("replaced")
@click.pass_context
def replaced(
    ctx: click.Context,
    *,
    given: options.Given,
    runs: tuple[Path, ...],
    folders: tuple[str, ...],
    count: int | None,
    steps: int | None,
    augment: bool,
    budget: str,
    side: int | None,
    seeds: int,
    out: Path,
) -> None:
    """A DRAEM-like detector with Perlin anomalies against the same with generated pairs (tab. 33)."""
    from benchmarks.quality import documents, paper
    from benchmarks.quality.downstream import sources
    from benchmarks.quality.downstream.draem import DraemSettings
    from benchmarks.quality.downstream.replaced import run, table
    from benchmarks.quality.tables import Document
    from seas_train.config import resolve

    if not folders:
        raise SettingsError("found no --pairs, expected at least one folder of generated pairs; add --pairs DIR")
    settings, side = resolve(DraemSettings, budget, None, {"steps": steps, "augment": augment}), options.side_of(budget, side)
    facts = options.facts(ctx, settings=settings.model_dump(mode="json"), side=side, seeds=seeds)
    real = given.products(runs)
    facts |= {"division": given.origin(runs), "images": options.division(real)}
    materials, compared = sources.collect(real, side, options.named_folders(folders))
    tested = "Two detectors that differ in the anomalies they learn from alone, tested on held-out real images."
    opening, tables = (f"{tested} {documents.divided(runs)}",), []
    with options.output(out):
        for method in compared:
            number = count or sources.count_of([method])
            found = run(method, materials, settings, number, seeds, out / "trainings", options.log)
            tables.append(table(found, method, number))
        tables += paper.shown("33")
        documents.write(Document("replaced", "The generator of another method, replaced", opening, tuple(tables), facts), out)
