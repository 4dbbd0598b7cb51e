"""Table and contact sheet of demo_quality.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import common
from benchmarks.demo.oracle import Oracle, Pieces
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.dataset.sheet import overlay, sheet

SHOWN = 10  # pairs of each type on the sheet, the first ones
Scores = dict[str, list[dict[str, float]]]


def save(engine: Path, table: dict[str, Any], scores: Scores, pairs: Pieces, judge: Oracle) -> None:
    """Write demo_quality.md, .json and .jpg."""
    manifest = read_bundle(engine).manifest
    facts = {
        "command": "python -m benchmarks.demo_quality --work WORK --engine ENGINE",
        **common.machine(),
        "engine": manifest.digest,
        "defaults": manifest.defaults.model_dump(),
        "pairs": len(pairs.images),
        "figures": table,
        "segmenters": scores,
    }
    common.save(common.RESULTS / "demo_quality", facts, "\n".join(_lines(facts)) + "\n")
    contact_sheet(pairs, judge).save(common.RESULTS / "demo_quality.jpg", quality=88, optimize=True)


def _lines(facts: dict[str, Any]) -> list[str]:
    made, real = facts["figures"]["generated"], facts["figures"]["real"]
    rows = [
        ("IoU of mask and oracle", made["iou"], real["iou"], f"goal {0.85 * real['iou']:.3f}"),
        ("share that shows the asked type", made["type"], real["type"], "goal 0.90"),
        ("share without a mask", facts["figures"]["empty"], 0.0, "goal at most 0.02"),
        ("share closer to a training anomaly than any real one", made["copies"], 0.0, "goal 0"),
        ("distance to the nearest training anomaly, median", *(float(np.median(x["nearest"])) for x in (made, real)), ""),
        ("the same, smallest", *(min(x["nearest"]) for x in (made, real)), ""),
        ("share of anomalous pixels", made["area"], real["area"], ""),
        (
            "Frechet distance to whole pieces, away from defects",
            made["fidelity"],
            real["fidelity"],
            f"two halves of the whole pieces: {facts['figures']['floor']:.3f}",
        ),
    ]
    lines = [
        "# Quality of the demo engine",
        "",
        f"{facts['pairs']} pairs of `engines/bottle.plan`, first attempts, against 300 fresh procedural anomalies. The judge is an",
        "oracle: a small U-Net trained on 3000 procedural pieces of the same bottle, which no user of a real product has.",
        "",
        "| | generated | real | |",
        "|---|---:|---:|---|",
        *(f"| {name} | {a:.3f} | {b:.3f} | {note} |" for name, a, b, note in rows),
        "",
        "| type | IoU, generated | real | asked type, generated | real | diversity, generated | real |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name in made["iou by type"]:
        cells = [x[key][name] for key in ("iou by type", "type by type", "diversity") for x in (made, real)]
        lines.append(f"| {name} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |")
    return [*lines, "", *_segmenters(facts)]


def _segmenters(facts: dict[str, Any]) -> list[str]:
    return [
        "Distances are those of LPIPS on the oracle's features, without learned weights; diversity is their mean inside a type.",
        "",
        "## A segmenter that learns from them",
        "",
        "A small U-Net (0.4 M parameters), 400 steps, tested on the fresh anomalies; mean and range over seeds. Normals are the",
        "same in all; half of the anomalies of a batch are real where there are others. The engine's base has seen defects of",
        "other bottles, which the first two rows have not. IoU is that of all pixels together, at probability 0.5.",
        "",
        "| learns from | AP | IoU |",
        "|---|---|---|",
        *(f"| {method} | {_range(runs, 'ap')} | {_range(runs, 'iou')} |" for method, runs in facts["segmenters"].items()),
        "",
        f"`{facts['command']}`, commit {facts['commit']}, {facts['machine']['cpu']}, {facts['machine']['cores']} cores.",
        f"Engine {facts['engine'][:16]}, {facts['defaults']}.",
    ]


def _range(runs: list[dict[str, float]], key: str) -> str:
    values = [run[key] for run in runs]
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def contact_sheet(pairs: Pieces, judge: Oracle) -> Image.Image:
    """For each type: images, the same with their masks, and what the oracle marks."""
    rows, labels = [], []
    for kind, name in enumerate(judge.defects, start=1):
        chosen = np.flatnonzero(pairs.types == kind)[:SHOWN]
        images = [Image.fromarray(pairs.images[i]) for i in chosen]
        found = judge.labels(pairs.images[chosen]) > 0
        rows += [images, [overlay(x, _mask(pairs.masks[i])) for x, i in zip(images, chosen, strict=True)]]
        rows.append([overlay(x, _mask(mask)) for x, mask in zip(images, found, strict=True)])
        labels += [f"{name}: generated", "its mask", "the oracle's"]
    return sheet(rows, labels=labels)


def _mask(mask: np.ndarray[Any, Any]) -> Image.Image:
    return Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0)))
