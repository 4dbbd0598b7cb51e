"""The paper's ablations end to end: tune, masks, sampling and a segmenter for every row of a table and every seed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.quality import documents, paper, report
from benchmarks.quality.ablation import variants, verdicts
from benchmarks.quality.ablation.variants import OURS, Variant
from benchmarks.quality.ablation.verdicts import EMPTY, IMAGES, PAIRS, Found
from benchmarks.quality.downstream import trials
from benchmarks.quality.downstream.fitting import Images
from benchmarks.quality.downstream.scores import PIXEL, chance, percent
from benchmarks.quality.downstream.segmentation import SegmenterSettings
from benchmarks.quality.downstream.sources import Method
from benchmarks.quality.metrics.backbones import Backbones
from benchmarks.quality.metrics.generation import GenerationSettings, evaluate, mean_over_types
from benchmarks.quality.options import division
from benchmarks.quality.pairs import LoadedPairs, by_type, load_pairs, read_pairs
from benchmarks.quality.pipeline import Effort, Pipeline, knows_anomalies
from benchmarks.quality.real import Material, Real, load, write_learnable
from benchmarks.quality.tables import Document, Seeds, Table, save
from benchmarks.stages import seconds
from seas_runtime.errors import DataError
from seas_train.config import resolve
from seas_train.data.layouts import Record
from seas_train.options import NOT_STATED

EFFORTS = {
    "smoke": replace(report.EFFORTS["smoke"], tune=6, masks=6, solver=6),
    "small": replace(report.EFFORTS["small"], masks=250, count=60),
}
"""By budget: the base is the report's, a row's own training and pairs are fewer."""
BATCH = 2
"""Anomalies in a batch of either training, as in the paper."""
OPENING = (
    "Every row trains a generator with one part of the method changed, from the same base model and on the same images, and a "
    "segmenter on its pairs. It is tested on held-out real images, which neither has seen, nor must a base given with --base."
)
KNOWING = (
    "The base has learned anomalies with the names of their types. So tuning is gentle, rows that change it differ little, and "
    "one that learns from fewer anomalies (table 22) is not as short of them as it says."
)
UNKNOWING = "The base has learned from normal images alone."


@dataclass(frozen=True)
class Bench:
    """What every row of every table shares.

    Attributes:
        real: The product.
        material: Its images as arrays.
        learnable: The folder of what may be learned from.
        base: The base model that every row starts from.
        effort: Steps and pairs.
        settings: Of the segmenters.
        seeds: Their number.
        backbones: For IS and IC-LPIPS.
        pipeline: Runs the stages in its folder.
    """

    real: Real
    material: Material
    learnable: Path
    base: Path
    effort: Effort
    settings: SegmenterSettings
    seeds: int
    backbones: Backbones
    pipeline: Pipeline


def tables(bench: Bench, number: str) -> list[Table]:
    """Run a table's rows, as far as they are not done, and lay the paper's figures beside ours.

    IS and IC-LPIPS stand in a table of their own.
    """
    published, rows = paper.table(number), variants.of(number)
    found: Found = {name: {} for name in rows}
    for name, variant in rows.items():
        made = [_pairs(bench, variant, seed) for seed in range(bench.seeds)]
        if set(PIXEL) & set(published.columns):
            found[name] |= _downstream(bench, name, made)
        if set(IMAGES) & set(published.columns):
            found[name] |= _images(bench, made)
    beside = [column for column in published.columns if column not in IMAGES]
    made_tables: list[Table] = []
    if beside:
        made_tables.append(verdicts.beside(published, beside, found, chance([bench.material.test.masks], PIXEL)))
    if set(IMAGES) & set(published.columns):
        unlike = paper.unlike(_image_side(bench), _splits(bench), [_each(bench)])
        made_tables.append(verdicts.of_images(published, found, unlike, bench.backbones.classifier_origin.name))
    return [*made_tables, verdicts.conclusions(published, found, bench.seeds)]


def _pairs(bench: Bench, variant: Variant, seed: int) -> list[Path]:
    """Folders of the variant's pairs: one, or one for each defect type."""
    defects = bench.real.product.defects if variant.each_type else (None,)
    return [_folder(bench, variant, seed, defect, len(defects)) for defect in defects]


def _folder(bench: Bench, variant: Variant, seed: int, defect: str | None, parts: int) -> Path:
    """Train and sample one generator; runs that differ in the mask branch alone share the fine-tuning before it."""
    work, pipeline, effort = bench.pipeline.work, bench.pipeline, _share(bench.effort, parts)
    chosen = () if defect is None else ("--defects", defect)
    tuned = _slug(seed, variant.tune, chosen)
    pipeline.tune(bench.learnable, bench.base, work / "tuned" / tuned, effort, (*variant.tune, *chosen, "--seed", str(seed)))
    run = work / "runs" / f"{tuned}-{_slug(variant.masks)}"
    if not (run / "run.json").is_file():
        partial = run.with_name(f"{run.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(work / "tuned" / tuned, partial)
        partial.rename(run)
    batch = ("--anomaly-batch", str(BATCH))  # a type alone may have no more
    pipeline.masks(bench.learnable, run, effort, (*batch, *variant.masks, "--seed", str(seed)))
    out = work / "pairs" / f"{run.name}-{_slug(variant.sample)}"
    pipeline.sample(run, out, effort, effort.count, (*variant.sample, "--seed", str(seed)))
    return out


def _share(effort: Effort, parts: int) -> Effort:
    """The same effort in all, divided among so many generators."""
    divided = {name: max(1, getattr(effort, name) // parts) for name in ("tune", "masks", "count")}
    return Effort(**{**vars(effort), **divided})


def _slug(*words: object) -> str:
    flat = [part for word in words for part in (word if isinstance(word, tuple) else (word,))]
    return re.sub(r"(?:[^\w.]|_)+", "_", "_".join(map(str, flat))).strip("_") or OURS


def _records(folders: Sequence[Path]) -> list[Record]:
    return [record for folder in folders for records in read_pairs(folder).values() for record in records]


def _downstream(bench: Bench, name: str, made: Sequence[Sequence[Path]]) -> dict[str, Seeds | None]:
    """Scores by column, None where a seed's generator drew no mask at all; share of empty masks and number of other pairs."""
    side, product = bench.material.test.images.shape[1], bench.real.product.name
    loaded = [load_pairs(_records(folders), side) for folders in made]
    marked = [pairs.masks.any(axis=(1, 2)) for pairs in loaded]
    lost = Seeds(tuple(100 * float((~kept).mean()) for kept in marked))
    numbers: dict[str, Seeds | None] = {EMPTY: lost, PAIRS: Seeds(tuple(float(kept.sum()) for kept in marked))}
    if max(lost.values) == 100:
        bench.pipeline.log(f"{name}: the masks of all pairs of a seed are empty")
        return dict.fromkeys(PIXEL) | numbers
    results, folder = [], bench.pipeline.work / "trainings"
    for seed, (pairs, kept) in enumerate(zip(loaded, marked, strict=True)):
        method = Method(name, pairs={product: LoadedPairs(pairs.images[kept], pairs.masks[kept])})
        planned = [trials.Trial(name, bench.settings.network, "unified", int(kept.sum()), seed)]
        results += trials.run(planned, [method], {product: bench.material}, bench.settings, folder, bench.pipeline.log)
    return {column: percent(results, score) for column, score in PIXEL.items()} | numbers


def _images(bench: Bench, made: Sequence[Sequence[Path]]) -> dict[str, Seeds | None]:
    """IS and IC-LPIPS; every row's clusters are the same training anomalies."""
    side, values = _image_side(bench), []

    def images(records: Sequence[Record]) -> Images:
        return load_pairs(records, side).images

    few = by_type(bench.real.few)
    for folders in made:
        types = by_type(_records(folders))
        settings = GenerationSettings(side=side, splits=_splits(bench))
        try:
            scores = [
                evaluate(images(records), images(few[defect]), images(()), bench.backbones, settings)
                for defect, records in types.items()
            ]
        except DataError as error:
            bench.pipeline.log(error.message)
            return dict.fromkeys(IMAGES)
        values.append(mean_over_types(scores))
    return {column: Seeds(column_values) for column, column_values in zip(IMAGES, zip(*values, strict=True), strict=True)}


def _image_side(bench: Bench) -> int:
    """That of the published networks, or of the segmenters for the proxy."""
    comparable = bench.backbones.classifier_origin.comparable
    return GenerationSettings().side if comparable else int(bench.material.test.images.shape[1])


def _splits(bench: Bench) -> int:
    """Of the Inception Score, ten images or more in each: a split of one has a score of 1, whatever it shows."""
    return max(1, _each(bench) // 10)


def _each(bench: Bench) -> int:
    """Images of each type."""
    return bench.effort.count // len(bench.real.product.defects)


def run(
    real: Real,
    numbers: Sequence[str],
    budget: str,
    side: int,
    seeds: int,
    base: Path | None,
    pipeline: Pipeline,
    backbones: Backbones,
    facts: dict[str, Any],
) -> None:
    """Run the rows of these tables that are not done yet, and write ablation.md, .json, .csv and index.html into WORK/ablation.

    Args:
        real: The product.
        numbers: Of the tables.
        budget: A name of `EFFORTS`.
        side: To which segmenters see images, pixels.
        seeds: How often every row is trained.
        base: A base model, or None for one that is trained here.
        pipeline: Runs the stages in its folder, WORK.
        backbones: For IS and IC-LPIPS.
        facts: Of the document.

    Raises:
        click.ClickException: as the stages.
    """
    _require_enough(real, numbers)
    work, effort = pipeline.work, EFFORTS[budget]
    material, learnable = load(real, side), write_learnable(real, work / "learnable")
    start = base or pipeline.base(learnable, effort, NOT_STATED)
    settings = resolve(SegmenterSettings, budget, None, {"augment": pipeline.augment})
    bench = Bench(real, material, learnable, start, effort, settings, seeds, backbones, pipeline)
    found = facts | {
        "effort": vars(effort),
        "segmenter": settings.model_dump(mode="json"),
        "seeds": seeds,
        "images": division({real.product.name: real}),
    }
    made: list[Table] = []
    for number in numbers:
        made += tables(bench, number)
        opening = (OPENING, KNOWING if knows_anomalies(start) else UNKNOWING, verdicts.summary(made))
        document = Document("ablation", "Ablations", opening, tuple(made), found | {"seconds": seconds(work)})
        save(document, work / "ablation")  # after every table: the next may take hours
    documents.write(document, work / "ablation")


def _require_enough(real: Real, numbers: Sequence[str]) -> None:
    """Refuse tables with a row that has fewer anomalies than a batch, before hours of training.

    Raises:
        DataError: a type has a single one and is to be learned alone, or the only type has a single one.
    """
    few = by_type(real.few)
    for number in numbers:
        for name, variant in variants.of(number).items():
            shots = int(variant.tune[1]) if variant.tune[:1] == ("--shots",) else None
            counts = {defect: min(len(records), shots or len(records)) for defect, records in few.items()}
            parts = counts if variant.each_type else {"all types": sum(counts.values())}
            for part, count in parts.items():
                if count < BATCH:
                    raise DataError(
                        f"table {number}, {name}: found {count} anomaly of {part} to learn from, expected {BATCH} or more; "
                        "leave this table out, or give more with --train-share"
                    )
