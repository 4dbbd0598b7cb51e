"""Everything at once on one product: train, export, generate, and compare with every comparator (tab. 2, 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.quality import documents
from benchmarks.quality.downstream import sources, trials, verdict
from benchmarks.quality.downstream.comparators import COMPARATORS
from benchmarks.quality.downstream.segmentation import SegmenterSettings
from benchmarks.quality.downstream.sources import Method
from benchmarks.quality.metrics import backbones, judgement
from benchmarks.quality.metrics.generation import GenerationSettings
from benchmarks.quality.options import division
from benchmarks.quality.pairs import by_type, read_pairs
from benchmarks.quality.pipeline import Effort, Pipeline
from benchmarks.quality.real import Material, Real, write_learnable
from benchmarks.quality.tables import Table
from benchmarks.stages import seconds
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.errors import DataError
from seas_train.pipeline.stages import Log

EFFORTS = {
    "smoke": Effort(vae=30, unet=30, tune=10, masks=10, count=12, solver=8, align=10, sharpen=10, every=10),
    "small": Effort(vae=3000, unet=5000, tune=300, masks=600, count=400, solver=25, align=800, sharpen=800),
    "paper": Effort(vae=6000, unet=20_000, tune=1000, masks=1500, count=1000, solver=25, align=1500, sharpen=2000, every=200),
}
"""By budget. `paper` is what a small base can take on a CPU in a day, not the paper's training."""
OURS = "SeaS"
PLACED = "SeaS, composites"
"""The same generator; its pairs start from training anomalies placed on normal images, and keep the photographs' background."""
FROM_COMPOSITES = ("--init", "composite", "--background", "real")
FROM_NORMALS = ("--init", "normal")
FEW_REAL = 0.5
"""Share of the few real anomalies in a batch, in the methods that have them."""
PASTED = ("crop-paste", "placed")
"""Comparators that are trained a second time, beside the few real anomalies."""
CURVE = (8, 3)
"""The curve's smaller numbers of pairs: all of them divided by these."""
SPLITS = 5


@dataclass(frozen=True)
class Chosen:
    """How much is trained.

    Attributes:
        effort: Of the generator.
        segmenter: Settings of every segmenter.
        seeds: Segmenters of each kind.
        networks: Names of the segmenters; the curve over the number of pairs is of the first alone.
        reasons: Sentences for the report, where the command decided.
    """

    effort: Effort
    segmenter: SegmenterSettings
    seeds: int
    networks: tuple[str, ...]
    reasons: tuple[str, ...] = ()
    refit: Callable[[float], tuple[int, str]] | None = None
    """Of the seconds that the generator took: how many steps segmenters have then, and why; None for those of `segmenter`."""


def make(real: Real, pipeline: Pipeline, effort: Effort, base: Path | None, licence: str) -> dict[str, Path]:
    """Train and export a generator of the product and generate its pairs, as far as that is not done.

    Args:
        real: The product; the generator sees `few` and `normals` alone.
        pipeline: Runs the stages in its folder.
        effort: How much of it.
        base: A base model, or None for one that is trained here.
        licence: Of the images.

    Returns:
        The folders of generated pairs by name: from noised normal images, as in the paper, and from composites.

    Raises:
        click.ClickException: as the commands.
    """
    work = pipeline.work
    data = write_learnable(real, work / "learnable")
    start = base or pipeline.base(data, effort, licence)
    run, plan = work / "run", work / f"{real.product.name}.plan"
    pipeline.tune(data, start, run, effort, ("--licence", licence))
    pipeline.masks(data, run, effort)
    pipeline.export(run, plan)
    found = {OURS: work / "pairs"}
    pipeline.generate(plan, found[OURS], effort, FROM_NORMALS)
    if read_bundle(plan).manifest.composites:
        found[PLACED] = work / "composites"
        pipeline.generate(plan, found[PLACED], effort, FROM_COMPOSITES)
    else:
        pipeline.log(f"{plan}: was exported without composites, so no pairs start from them; remove it to have it exported again")
    return found


def compare(
    real: Real,
    pairs: Mapping[str, Path],
    chosen: Chosen,
    side: int,
    out: Path,
    log: Log,
) -> tuple[list[trials.Result], list[Method], dict[str, Material]]:
    """Train a segmenter on the pairs of every method and seed, as far as that is not done.

    Raises:
        DataError, TrainError, OutputError: as `trials.run`.
    """
    name = real.product.name
    materials, found = sources.collect({name: real}, side, pairs, tuple(COMPARATORS), FEW_REAL)
    kept = [method for method in found if method.comparator is None or method.real_share == 0 or method.comparator in PASTED]
    most = sources.count_of(kept)
    if most < max(CURVE):
        raise DataError(
            f"{', '.join(map(str, pairs.values()))}: found {most} pairs with a mask, expected at least {max(CURVE)}; "
            "train the generator longer"
        )
    settings, (first, *others) = chosen.segmenter, chosen.networks
    counts = (most, *(most // part for part in CURVE))
    planned = trials.plan(kept, (first,), (settings.scope,), counts, chosen.seeds)
    planned += trials.plan(kept, others, (settings.scope,), (most,), chosen.seeds)
    planned.sort(key=lambda trial: trial.seed)  # keeps the order within a seed
    return trials.run(planned, kept, materials, settings, out / "trainings", log), kept, materials


def judge(real: Real, pairs: Mapping[str, Path], side: int, out: Path, pipeline: Pipeline) -> tuple[list[Table], dict[str, str]]:
    """Tables of the generation metrics, by a proxy backbone, and a sheet of pairs; of those from composites, where there are."""
    products, generated = {real.product.name: real}, read_pairs(pairs.get(PLACED, pairs[OURS]))
    fewest = min(len(records) for found in generated.values() for records in by_type(found).values())
    settings = GenerationSettings(side=side, splits=min(SPLITS, fewest), augment=pipeline.augment)
    try:
        found = judgement.judge(products, generated, backbones.load(), settings, pipeline.log, out / "measured")
        tables = judgement.tables(found)
    except DataError as error:  # a score that so few pairs do not have
        tables = [Table("Fidelity and diversity", ("not measured",), ((error.message,),))]
    return tables, judgement.picture(products, generated, side, out)


def stage_table(work: Path, results: Sequence[trials.Result]) -> Table:
    """Seconds of each stage and of all trainings of segmenters."""
    taken = seconds(work) | {"segmenters": round(sum(result.seconds for result in results), 1)}
    rows = (*taken.items(), ("all", round(sum(taken.values()), 1)))
    notes = ("By the clock, interrupted attempts included; killed ones are missing.",)
    return Table("Seconds", ("stage", "seconds"), tuple(rows), notes, digits=0)


def run(
    real: Real,
    pipeline: Pipeline,
    chosen: Chosen,
    side: int,
    base: Path | None,
    licence: str,
    facts: dict[str, Any],
) -> None:
    """Do what is not done yet and write report.md, .json, .csv and index.html into the folder `report` of the pipeline's.

    Raises:
        click.ClickException: as the parts.
    """
    pairs, out = make(real, pipeline, chosen.effort, base, licence), pipeline.work / "report"
    settings = chosen.segmenter.model_copy(update={"augment": pipeline.augment})
    if chosen.refit is not None:
        steps, reason = chosen.refit(sum(seconds(pipeline.work).values()))
        pipeline.log(reason)
        settings = settings.model_copy(update={"steps": steps})
        chosen = replace(chosen, reasons=(*chosen.reasons, reason))
    results, compared, materials = compare(real, pairs, replace(chosen, segmenter=settings), side, out, pipeline.log)
    tables, captions = judge(real, pairs, side, out, pipeline)
    found = facts | {
        "effort": vars(chosen.effort),
        "augment": pipeline.augment,
        "segmenter": trials.stated(settings, results),
        "seeds": chosen.seeds,
        "images": division({real.product.name: real}),
    }
    more = [*tables, stage_table(pipeline.work, results)]
    opening = " ".join((documents.OWN, *chosen.reasons))
    said = list(verdict.verdict(results, pairs))
    documents.write_downstream(results, compared, materials, found, out, opening, "report", more, captions, said)
    for line in said:
        pipeline.log(line)
