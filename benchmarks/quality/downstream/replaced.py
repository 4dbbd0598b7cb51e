"""The table of the replaced-generator test (tab. 33): every seed and product is kept, and the same call goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.quality.downstream import draem
from benchmarks.quality.downstream.draem import DraemSettings
from benchmarks.quality.downstream.scores import IMAGE, PIXEL
from benchmarks.quality.downstream.sources import Method, sources
from benchmarks.quality.real import Material, digest
from benchmarks.quality.tables import Cell, Seeds, Table
from seas_runtime.files import write_atomic
from seas_train.output import require_same
from seas_train.pipeline.stages import Log

Rows = dict[str, dict[str, float]]
"""Scores of both detectors by name."""
COLUMNS = {f"image {name}": score for name, score in IMAGE.items()} | PIXEL


def run(
    method: Method,
    materials: Mapping[str, Material],
    settings: DraemSettings,
    count: int,
    seeds: int,
    folder: Path,
    log: Log,
) -> list[dict[str, Rows]]:
    """Compare both detectors on every product, for each seed.

    Raises:
        DataError, TrainError: as `draem.compare`.
        OutputError: `folder` holds a comparison of other data or settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for seed in range(seeds):
        products = {}
        for name, material in materials.items():
            began = time.monotonic()
            products[name] = _kept(folder / f"{name}-{method.name}-{seed}.json", method, name, material, settings, count, seed)
            aps = ", ".join(f"{key} {100 * row['pixel_ap']:.2f}" for key, row in products[name].items())
            log(f"{name}, seed {seed}: pixel AP {aps}, {time.monotonic() - began:.0f} s")
        found.append(products)
    return found


def table(found: list[dict[str, Rows]], method: Method, count: int) -> Table:
    """Both detectors, mean over products and spread over seeds."""
    titles = {"perlin": "DRAEM-like", "generated": f"{method.name} + DRAEM-like"}
    rows: list[tuple[Cell, ...]] = []
    for key, title in titles.items():
        cells = [
            Seeds(tuple(100 * float(np.mean([rows[key][score] for rows in products.values()])) for products in found))
            for score in COLUMNS.values()
        ]
        rows.append((title, *cells))
    notes = (
        f"{count} anomalies of each product in both; a detector of 1.1 M parameters for each product, in per cent. Both get each "
        "anomaly's normal image alike, the nearest one outside the mask.",
        *method.notes,
    )
    return Table(f"Replaced generator: {method.name}", ("", *COLUMNS), tuple(rows), notes)


def _kept(path: Path, method: Method, product: str, material: Material, settings: DraemSettings, count: int, seed: int) -> Rows:
    (pairs,) = sources(method, product, material, count, seed)
    asked = {
        "settings": settings.model_dump(mode="json"),
        "count": count,
        "seed": seed,
        "learned": digest(pairs.images, pairs.masks, material.normals),
        "tested": digest(*material.test),
    }
    if path.is_file():
        saved = json.loads(path.read_text(encoding="utf-8"))
        require_same(path, saved["asked"], asked)
        return dict(saved["scores"])
    compared = draem.compare((pairs.images, pairs.masks), material.normals, material.test, settings, seed)
    scores = {name: score.row() for name, score in compared.items()}
    write_atomic(path, json.dumps({"asked": asked, "scores": scores}, indent=1) + "\n")
    return scores
