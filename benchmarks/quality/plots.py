"""Pictures that explain the tables: score against number of pairs, precision and recall, predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.metrics import precision_recall_curve

from benchmarks.quality.downstream.fitting import Maps, Masks
from benchmarks.quality.real import Material
from benchmarks.quality.tables import Seeds
from seas_runtime.dataset.sheet import overlay, sheet

POINTS = 500
"""Most points of a curve that are drawn."""
SHOWN = 8
"""Test anomalies on a sheet."""


def counts(curves: Mapping[str, Mapping[int, Seeds]], what: str, path: Path) -> None:
    """Draw a score in per cent against the number of pairs of each product, with its range over seeds.

    Args:
        curves: By method, the scores by number of pairs.
        what: The score's name.
        path: A PNG.
    """
    figure, axes = _figure()
    for name, found in curves.items():
        numbers = sorted(found)
        means = [found[n].mean for n in numbers]
        below, above = ([abs(edge(found[n].values) - found[n].mean) for n in numbers] for edge in (min, max))
        axes.errorbar(numbers, means, yerr=[below, above], marker="o", capsize=3, label=name)
    axes.set_xlabel("generated pairs of each product")
    axes.set_ylabel(f"{what}, %")
    axes.set_xscale("log")
    ticks = sorted({n for found in curves.values() for n in found})
    axes.set_xticks(ticks, [str(n) for n in ticks])
    axes.minorticks_off()
    axes.legend()
    figure.savefig(path, dpi=100)


def precision_recall(methods: Mapping[str, Sequence[tuple[Maps, Masks]]], path: Path) -> None:
    """Draw precision against recall of all test pixels together.

    Args:
        methods: By method, maps and masks (n, H, W) of every product.
        path: A PNG.
    """
    figure, axes = _figure()
    for name, pairs in methods.items():
        values, labels = (np.concatenate([part.ravel() for part in parts]) for parts in zip(*pairs, strict=True))
        precision, recall, _ = precision_recall_curve(labels, values)
        places = np.unique(np.searchsorted(recall[::-1], np.linspace(0, 1, POINTS)).clip(max=len(recall) - 1))
        axes.plot(recall[::-1][places], precision[::-1][places], label=name)
    axes.set_xlabel("recall of pixels")
    axes.set_ylabel("precision of pixels")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.legend()
    figure.savefig(path, dpi=100)


def predictions(material: Material, methods: Mapping[str, Maps], path: Path) -> None:
    """Save a sheet of test anomalies: image, truth, and for every method its map, black 0 and white 1.

    Args:
        material: A product's images.
        methods: By method, the maps (t, s, s) of its test images.
        path: A PNG.
    """
    anomalous = np.flatnonzero(material.test.masks.any(axis=(1, 2)))
    chosen = anomalous[np.linspace(0, len(anomalous) - 1, min(SHOWN, len(anomalous))).astype(int)]
    pictures = [Image.fromarray(material.test.images[i]) for i in chosen]
    truth = [overlay(x, grey(material.test.masks[i])) for x, i in zip(pictures, chosen, strict=True)]
    rows = [pictures, truth, *([grey(maps[i]) for i in chosen] for maps in methods.values())]
    _save(sheet(rows, labels=["test images", "truth", *methods]), path)


def pairs(types: Mapping[str, tuple[np.ndarray, np.ndarray]], path: Path) -> None:
    """Save a sheet of pairs, images over the same with their masks.

    Args:
        types: By label, images (n, H, W, 3) uint8 and masks (n, H, W); the first of them are shown.
        path: A PNG.
    """
    rows, labels = [], []
    for name, (images, masks) in types.items():
        shown = [Image.fromarray(image) for image in images[:SHOWN]]
        rows += [shown, [overlay(x, grey(mask)) for x, mask in zip(shown, masks, strict=False)]]
        labels += [name, ""]
    _save(sheet(rows, labels=labels), path)


def grey(values: np.ndarray) -> Image.Image:
    """Values (H, W) in [0, 1], or a mask, as a grey picture."""
    return Image.fromarray((np.asarray(values, np.float32) * 255 + 0.5).astype(np.uint8))


def _figure() -> Any:
    """A figure and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 4), layout="constrained")
    return figure, figure.subplots()


def _save(picture: Image.Image, path: Path) -> None:
    picture.save(path, optimize=True)
