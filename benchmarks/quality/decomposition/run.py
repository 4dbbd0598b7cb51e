"""A decomposition from beginning to end: stock, trainings seed by seed, tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.quality import documents, plots
from benchmarks.quality.decomposition import build, cases, gains, marks, trainings
from benchmarks.quality.decomposition.build import Request
from benchmarks.quality.decomposition.cases import Axes, Case
from benchmarks.quality.decomposition.stock import Stock
from benchmarks.quality.decomposition.trainings import Found
from benchmarks.quality.downstream.segmentation import SegmenterSettings
from benchmarks.quality.tables import Document, Table, save
from benchmarks.stages import seconds
from seas_runtime.errors import SettingsError
from seas_train.pipeline.stages import Log

NAME = "decompose"
JUDGED = (
    "Segmenters learn from few real anomalies and pairs of each origin, on the same normal images, and are tested on fresh drawn "
    "anomalies (pixels) and whole pieces too (images). The judge is a segmenter that has learned from plenty of drawn pieces."
)
PHOTOGRAPHED = (
    "Segmenters learn from few real anomalies and pairs of each origin, on the same normal images, and are tested on real images "
    "that are held out. There is no judge: the headroom is what the other real anomalies for training gain, where there are any."
)


def run(
    request: Request,
    axes: Axes,
    seeds: int,
    settings: SegmenterSettings,
    work: Path,
    log: Log,
    facts: Mapping[str, Any],
) -> None:
    """Train what is not trained yet and write decompose.md, .json, .csv and index.html into `work`.

    Tables are written after every seed: the next may take hours.

    Args:
        request: What is taken apart.
        axes: What differs, but for shots: they are the stock's.
        seeds: Trainings of each case.
        settings: Of every segmenter.
        work: Where everything goes.
        log: Called with a line for each thing that is done.
        facts: Of the document.

    Raises:
        click.ClickException: as the parts.
    """
    stock = build.stock_of(request, work, log)
    planned = possible(axes, stock, log)
    laid, real = build.sets(stock, request)
    known = marks.table(laid, request.defects, real)
    found: Found = {}
    for seed in range(seeds):
        found = trainings.merge(found, trainings.run(planned, seed, stock, settings, work / "trainings", log))
        document = _document(found, known, stock, seed + 1, settings, facts)
        save(document, work)
    plots.pairs({name: (pieces.images, pieces.masks) for name, pieces in laid.items()}, work / "pairs.png")
    captions = {"pairs.png": "The first pairs whose defects are compared, and the same with their masks."}
    documents.write(replace(document, facts=document.facts | {"stages, s": seconds(work)}, pictures=captions), work)


def possible(axes: Axes, stock: Stock, log: Log) -> list[Case]:
    """The cases that have what they need; the others are told.

    Raises:
        SettingsError: none has.
    """
    planned = cases.cases(tuple(stock.shots), axes)
    missing: dict[str, set[int]] = {}
    for case in planned:
        if not stock.has(case):
            missing.setdefault(case.method, set()).add(case.shots)
    for method, shots in missing.items():
        log(f"{method} is left out at {cases.spoken(*shots)}: it has no pairs here")
    found = [case for case in planned if stock.has(case)]
    if not found:
        raise SettingsError("no method has pairs to learn from, expected one at least; add --engine or --pairs, or --judge")
    return found


def _document(
    found: Found, known: Table, stock: Stock, seeds: int, settings: SegmenterSettings, facts: Mapping[str, Any]
) -> Document:
    opening = JUDGED if stock.judge else PHOTOGRAPHED
    more = {"seeds": seeds, "segmenter": settings.model_dump(mode="json"), "count": stock.count}
    more["segmenters, s"] = round(sum(kept["seconds"] for by_seed in found.values() for kept in by_seed.values()))
    tables: Sequence[Table] = (gains.table(found), known)
    return Document(NAME, "Where pairs lose", (opening,), tuple(tables), {**facts, **more})
