"""Results of trainings -> the tables and pictures of the downstream comparison (tab. 2, 3, 9, 10, 12, 19, 31, 32)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.quality import plots
from benchmarks.quality.downstream import segmenters, trials
from benchmarks.quality.downstream.fitting import Masks
from benchmarks.quality.downstream.sources import Method
from benchmarks.quality.downstream.trials import Result
from benchmarks.quality.metrics import segmentation
from benchmarks.quality.real import Material
from benchmarks.quality.tables import Cell, Seeds, Table

PIXEL = {"AUROC": "pixel_auroc", "AP": "pixel_ap", "F1-max": "pixel_f1_max", "IoU": "pixel_iou", "PRO": "pixel_pro"}
IMAGE = {"AUROC": "image_auroc", "AP": "image_ap", "F1-max": "image_f1_max"}
"""Columns of the paper's tables, and the score each holds."""
IOU = (
    "IoU is the authors' own: that of each anomalous image at its best threshold. `pixel_iou_pooled` in the trainings' files is "
    "that of one threshold for all."
)
MAXIMUM = "Score of an image: the maximum of its map."
AVERAGE = "average"


def percent(results: Sequence[Result], score: str, product: str | None = None) -> Seeds | None:
    """A score in per cent by seed, of one product or the mean over products; None where there is no result."""
    ordered = sorted(results, key=lambda result: result.trial.seed)
    rows = [[result.scores[product]] if product else list(result.scores.values()) for result in ordered]
    return Seeds(tuple(100 * float(np.mean([row[score] for row in found])) for found in rows)) if rows else None


def chance(tested: Iterable[Masks], columns: Mapping[str, str]) -> str:
    """A sentence on what maps of one value everywhere reach: AUROC and AP by chance, F1-max and IoU at least.

    Args:
        tested: Masks (n, H, W) of each product's test images.
        columns: `PIXEL` or `IMAGE`.
    """
    rows = [segmentation.score(np.zeros(masks.shape, np.float32), masks).row() for masks in tested]
    found = ", ".join(f"{column} {100 * float(np.mean([row[name] for row in rows])):.2f}" for column, name in columns.items())
    return f"Maps of one value everywhere reach: {found}. No map has less F1-max or IoU."


def tables(results: Sequence[Result], methods: Sequence[Method], materials: Mapping[str, Material]) -> list[Table]:
    """Segmentation, detection, parameters, one network or many, and each product: those that the results fill."""
    most = max(result.trial.count for result in results)
    scopes = sorted({result.trial.scope for result in results}, reverse=True)
    main = list(trials.of(results, count=most, scope=scopes[0]))
    tested = [material.test.masks for material in materials.values()]
    notes = [f"{most} pairs of each product; mean and standard deviation over seeds, in per cent. {IOU}", chance(tested, PIXEL)]
    notes += [note for method in methods for note in method.notes]
    found = [
        _by_method("Anomaly segmentation, per pixel", main, methods, PIXEL, tuple(notes)),
        _by_method("Anomaly detection, per image", main, methods, IMAGE, (MAXIMUM, chance(tested, IMAGE))),
        _parameters(main, methods),
    ]
    if len(scopes) > 1:
        found.append(_scopes([result for result in results if result.trial.count == most], methods, scopes))
    if len({name for result in results for name in result.scores}) > 1:
        found.append(_products(main, methods))
    if len({result.trial.count for result in results}) > 1:
        found.append(_counts(results, scopes[0]))
    return found


def pictures(results: Sequence[Result], materials: Mapping[str, Material], folder: Path, out: Path) -> dict[str, str]:
    """Save the pictures into `out`; captions by file name.

    Args:
        results: Of all trainings.
        materials: Each product's images.
        folder: Where the trainings left their maps.
        out: Where the pictures go.
    """
    out.mkdir(parents=True, exist_ok=True)
    most = max(result.trial.count for result in results)
    first = min((result.trial for result in results if result.trial.count == most), key=lambda trial: trial.seed)
    same = {"network": first.network, "scope": first.scope, "count": most, "seed": first.seed}
    maps = {result.trial.method: trials.read_maps(folder, result.trial) for result in trials.of(results, **same)}
    curves = {method: [(found[name], m.test.masks) for name, m in materials.items()] for method, found in maps.items()}
    plots.precision_recall(curves, out / "precision_recall.png")
    captions = {"precision_recall.png": f"Precision against recall of pixels: {first.network}, {most} pairs, seed {first.seed}."}
    for name, material in materials.items():
        file = f"predictions_{name}.png"
        plots.predictions(material, {method: found[name] for method, found in maps.items()}, out / file)
        captions[file] = f"{name}: test images, truth, and the anomaly map of each method ({first.network}, seed {first.seed})."
    by_count = _by_count(results, first.scope)
    if any(len(found) > 1 for found in by_count.values()):
        plots.counts(by_count, "pixel AP", out / "counts.png")
        captions["counts.png"] = "Pixel AP against the number of generated pairs; bars show the range over seeds."
    return captions


def _by_method(
    title: str, results: Sequence[Result], methods: Sequence[Method], columns: Mapping[str, str], notes: tuple[str, ...]
) -> Table:
    rows: list[tuple[Cell, ...]] = []
    networks = _networks(results)
    for network in networks:
        for method in methods:
            own = list(trials.of(results, network=network, method=method.name))
            rows.append((network, method.name, *(percent(own, score) for score in columns.values())))
    for method in methods if len(networks) > 1 else ():
        each = [list(trials.of(results, network=network, method=method.name)) for network in networks]
        rows.append((AVERAGE, method.name, *(_mean([percent(found, score) for found in each]) for score in columns.values())))
    return Table(title, ("network", "learns from", *columns), tuple(rows), notes)


def _mean(cells: Sequence[Seeds | None]) -> Seeds | None:
    """Seed by seed."""
    known = [cell.values for cell in cells if cell is not None]
    return Seeds(tuple(float(np.mean(values)) for values in zip(*known, strict=True))) if known else None


def _parameters(results: Sequence[Result], methods: Sequence[Method]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for network in _networks(results):
        size = parameters(network) / 1e6
        for method in methods:
            own = list(trials.of(results, network=network, method=method.name))
            scores = [percent(own, score) for score in (*IMAGE.values(), *list(PIXEL.values())[:4])]
            rows.append((f"{method.name}, {network}", f"{size:.3f}", *scores))
    names = ("", "M parameters", *(f"image {name}" for name in IMAGE), *list(PIXEL)[:4])
    return Table("Size and scores", names, tuple(rows), ("Parameters at inference, without auxiliary heads.",))


def parameters(network: str) -> int:
    """How many a network of `segmenters.NETWORKS` has at inference."""
    with torch.device("meta"):
        named = segmenters.NETWORKS[network]().named_parameters()
    return sum(value.numel() for name, value in named if "auxiliary" not in name)


def _scopes(results: Sequence[Result], methods: Sequence[Method], scopes: Sequence[str]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for network in _networks(results):
        for method in methods:
            for scope in scopes:
                own = list(trials.of(results, network=network, method=method.name, scope=scope))
                rows.append((network, method.name, scope, *(percent(own, score) for score in PIXEL.values())))
    return Table("One network for all products, or one for each", ("network", "learns from", "networks", *PIXEL), tuple(rows))


def _products(results: Sequence[Result], methods: Sequence[Method]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for product in sorted({name for result in results for name in result.scores}):
        for network in _networks(results):
            for method in methods:
                own = list(trials.of(results, network=network, method=method.name))
                rows.append((product, network, method.name, *(percent(own, score, product) for score in PIXEL.values())))
    return Table("Each product, per pixel", ("product", "network", "learns from", *PIXEL), tuple(rows))


def _counts(results: Sequence[Result], scope: str) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (method, count, cell) for method, found in _by_count(results, scope).items() for count, cell in sorted(found.items())
    ]
    return Table("More pairs", ("learns from", "pairs of each product", "pixel AP"), tuple(rows))


def _by_count(results: Sequence[Result], scope: str) -> dict[str, dict[int, Seeds]]:
    """Pixel AP of methods with several counts, by method and count, of the first network."""
    network = _networks(results)[0]
    found: dict[str, dict[int, Seeds]] = {}
    for method, count in sorted({(result.trial.method, result.trial.count) for result in results}):
        cell = percent(list(trials.of(results, method=method, count=count, scope=scope, network=network)), PIXEL["AP"])
        if cell is not None:
            found.setdefault(method, {})[count] = cell
    return {method: cells for method, cells in found.items() if len(cells) > 1}


def _networks(results: Sequence[Result]) -> list[str]:
    """Names in the order in which they were trained."""
    return list(dict.fromkeys(result.trial.network for result in results))
