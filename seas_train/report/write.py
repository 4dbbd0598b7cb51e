"""The page of a finished run: what came of it first, then how the training went."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from pydantic import ValidationError

from seas_runtime.bundle.manifest import Manifest
from seas_runtime.errors import DataError
from seas_runtime.files import explained, read_regular, write_atomic
from seas_runtime.footprint import duration, size
from seas_train import run_folder
from seas_train.data.images import png
from seas_train.report import looks, losses, svg
from seas_train.report.looks import Look
from seas_train.report.page import Page
from seas_train.run_folder import Run

MEANINGS = {
    "tune": "loss is all of it: da draws the tokens' attention to the masks (eq. 3), df and ob are the errors on anomalies and on "
    "normal images (eq. 4, 5). They hardly fall, since every step sees another noise.",
    "distill": "How far the student is from its teacher.",
    "masks-decoder": "loss is how far the small decoder's pictures are from the own one's, pixels (l1) and edges together.",
    "masks": "loss is the sum of the others (eq. 7): coarse and fine masks of anomalies, and empty ones of normal images.",
}
OUTPUTS = {"relative_l2": "relative L2", "cosine": "cosine", "iou": "mask IoU"}


@dataclass(frozen=True)
class Sources:
    """What a page is made of.

    Attributes:
        runs: run folders whose losses are shown, the last one is what was exported.
        engine: its bundle, or None.
        pairs: a folder of `seas-gen`, or None.
        times: what each stage took, by its name, as `pipeline.stages.times` gives it.
    """

    runs: tuple[Path, ...]
    engine: Path | None = None
    pairs: Path | None = None
    times: Mapping[str, Mapping[str, Any]] | None = None


def write(sources: Sources, out: Path) -> None:
    """Write the page; one that is there is replaced.

    Raises:
        DataError: a run or the bundle's manifest cannot be read, or the last run has no mask branch.
        OutputError: the page cannot be written.
    """
    manifest = None if sources.engine is None else _manifest(sources.engine)
    run = run_folder.load(sources.runs[-1])
    run_folder.require_masks(run)
    looks.place(run)
    images = looks.anomalies(run)
    page = Page(f"{run.facts.product}: report")
    _opening(page, run, manifest, sources)
    _pairs(page, sources.pairs)
    _masks(page, run, looks.masks(run, images))
    sheet = looks.attention(run, images)
    if sheet is not None:
        page.heading("Where the tokens look")
        page.text(
            "An anomaly of each type, its mask, and the cross-attention of the product's token <ob> and of the anomaly's tokens "
            "<df>, level by level of the U-Net. <df> should light up where the mask is white, <ob> elsewhere.",
            note=True,
        )
        page.picture(png(sheet), f"attention, white is most; from above: {', '.join(run.facts.defects)}")
    _losses(page, sources.runs)
    _times(page, sources.times or {})
    _parity(page, manifest)
    _settings(page, run)
    with explained(out, "name a file that can be written with --out"):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(out, str(page))


def _manifest(engine: Path) -> Manifest:
    path = engine / "manifest.json"
    try:
        return Manifest.model_validate_json(read_regular(path))
    except (OSError, ValidationError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be read ({reason}); give a bundle of seas-export as --engine") from error


def _opening(page: Page, run: Run, manifest: Manifest | None, sources: Sources) -> None:
    facts = run.facts
    trained = f"{len(facts.train)} anomaly images of {len(facts.defects)} types and {len(facts.normals)} normal images"
    data, base, licence = (str(facts.provenance.get(name, "not stated")) for name in ("data", "base", "licence"))
    page.text(
        f"Learned from {trained} ({data}), at {run.model.image_size} pixels, over the base {base}; images' licence: {licence}."
    )
    if facts.student is not None:
        page.text(f"The U-Net is a student: {facts.student.steps} steps, guidance {facts.student.guidance:g} inside.")
    if manifest is not None and sources.engine is not None:
        total = size(sum(entry.bytes for entry in manifest.files.values()))
        defaults = manifest.defaults
        page.text(
            f"{sources.engine.name}: {total}, {defaults.steps} steps, guidance {defaults.guidance:g}, digest {manifest.digest}.",
            note=True,
        )


def _pairs(page: Page, folder: Path | None) -> None:
    if folder is None:
        return
    page.heading("First generated pairs")
    try:
        sheet = read_regular(folder / "sheet.png")
    except OSError:
        page.text(f"{folder.name} has no sheet: no pair passed the quality gate. The masks below say more.")
        return
    made, refused = (_lines(folder / name) for name in ("metadata.jsonl", "refused.jsonl"))
    gone = f", {refused} refused by the quality gate" if refused else ""
    page.text(f"{made} pairs{gone}. Of each type a row of pictures over the same with their masks, the surest first.", note=True)
    if _from_composites(folder):
        page.text(
            "They start from training anomalies placed on normal images. How well the networks do without that, pairs of "
            "seas-gen --init normal show, and the masks below."
        )
    page.picture(sheet, "generated pictures and masks")


def _from_composites(folder: Path) -> bool:
    with suppress(OSError, ValueError, TypeError, AttributeError):
        return bool(json.loads(read_regular(folder / "run.json")).get("settings", {}).get("init") == "composite")
    return False


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def _masks(page: Page, run: Run, found: Sequence[Look]) -> None:
    if not found:
        return
    page.heading("Masks of the training anomalies")
    seen = "noised again as the sampler's last steps find it" if run.look is None else "shown as it is"
    page.text(
        f"Each image is {seen}, and the mask branch marks it. It has learned from these very images: low figures are bad news, "
        "high ones no proof. Masks that are too large or empty here are so in the pairs too.",
        note=True,
    )
    rows = []
    for defect in run.facts.defects:
        own = [look for look in found if look.defect == defect]
        known = run.facts.calibration.get(defect)
        areas = [mean(float(mask.float().mean()) for mask in masks) for masks in _both(own)] if own else []
        rows.append(
            [
                defect,
                str(len(own)),
                f"{mean(look.iou for look in own):.2f}" if own else "",
                *(f"{100 * area:.1f} %" for area in areas or ()),
                "the bundle's" if known is None else f"{known.threshold:.2f}",
            ]
        )
    page.table(["type", "shown", "mean IoU", "true area", "area found", "threshold"], rows)
    page.picture(png(looks.mask_sheet(found)), "true masks, and under them those of the branch")


def _both(own: Sequence[Look]) -> tuple[list[Any], list[Any]]:
    return [look.mask for look in own], [look.found for look in own]


def _losses(page: Page, runs: Sequence[Path]) -> None:
    page.heading("Losses")
    stages = [(stage, series) for run in runs for stage, series in losses.read(run).items()]
    if not stages:
        page.text("The runs have no log.", note=True)
    for stage, series in stages:
        page.heading(stage, 3)
        page.text(*[MEANINGS[stage]] if stage in MEANINGS else [], note=True)
        page.drawing(svg.curves({name: losses.binned(points) for name, points in series.items()}, "step"))


def _times(page: Page, times: Mapping[str, Mapping[str, Any]]) -> None:
    rows = [
        [
            name,
            duration(float(note["seconds"])) if note.get("done") else "not told",
            "" if note.get("peak_mib") is None else size(float(note["peak_mib"]) * 2**20),
        ]
        for name, note in times.items()
        if name != "report"
    ]
    if rows:
        page.heading("What it took")
        page.table(["stage", "time", "memory"], rows)


def _parity(page: Page, manifest: Manifest | None) -> None:
    if manifest is None:
        return
    page.heading("Parity of the bundle")
    page.text("The worst of each output against PyTorch, as the export measured it before sealing.", note=True)
    rows = [
        [f"{graph}.{output}", precision, *(_figure(figures, name) for name in OUTPUTS)]
        for precision, graphs in manifest.parity.items()
        for graph, outputs in _items(graphs)
        for output, figures in _items(outputs)
    ]
    page.table(["output", "graphs", *OUTPUTS.values()], rows)


def _items(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, dict) else []


def _figure(figures: Any, name: str) -> str:
    value = figures.get(name) if isinstance(figures, dict) else None
    if not isinstance(value, int | float):
        return ""
    return f"{value:.1e}" if name == "relative_l2" else f"{value:.6f}".rstrip("0").rstrip(".")


def _settings(page: Page, run: Run) -> None:
    page.heading("Settings")
    facts = run.facts
    for name, settings in (("tune", facts.tune), ("distill", facts.distill), ("masks", facts.masks)):
        if settings is not None:
            page.facts(name, [(key, _plain(value)) for key, value in settings.model_dump(mode="json").items()])
    page.facts("provenance", [(key, _plain(value)) for key, value in facts.provenance.items()])
    page.facts("prompts", [("normal", facts.prompts.normal), *facts.prompts.anomaly.items()])
    page.facts("training anomalies", [(str(index), name) for index, name in enumerate(facts.train)])
    page.facts("held out", [(str(index), name) for index, name in enumerate(facts.held_out)])


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
