"""Generated pairs -> the tables of the generation metrics (tab. 1, 8, 30), of copies and of mask fit, by product and type."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import TypeAdapter

from benchmarks.quality import plots
from benchmarks.quality.metrics import copies
from benchmarks.quality.metrics.backbones import PRETRAINED, PROXY, Backbones
from benchmarks.quality.metrics.copies import CopyReport
from benchmarks.quality.metrics.generation import (
    GenerationScores,
    GenerationSettings,
    evaluate,
    mean_over_types,
)
from benchmarks.quality.pairs import LoadedPairs, Products, by_type, load_pairs, read_refused
from benchmarks.quality.real import Real, digest, match, missing_types
from benchmarks.quality.tables import Cell, Table
from seas_runtime.errors import DataError
from seas_runtime.files import write_atomic
from seas_train.data.layouts import Record
from seas_train.pipeline.stages import Log

REAL = "real, held out"
LABELS = {
    name: f"Label: proxy. Computed by {network}, since no published weights were given. These figures compare folders of pairs "
    "with one another, and with nothing that is published."
    for name, network in (
        (PROXY, "a small network of this project's own"),
        (PRETRAINED, "EfficientNet-Lite0 with ImageNet's weights"),
    )
}
"""What tables say of figures by a proxy."""


@dataclass(frozen=True)
class Judged:
    """What was found for one product and defect type.

    Attributes:
        product, defect: Which.
        scores: Of the generated images.
        copies: Of the generated pairs; None where they have no masks.
        real: The same of the real held-out pairs, for comparison; None where there are none.
        missing: Types of the product that have no pairs, and how many of theirs `seas-gen` refused.
    """

    product: str
    defect: str
    scores: GenerationScores
    copies: CopyReport | None
    real: CopyReport | None
    missing: Mapping[str, int] = field(default_factory=dict)


_JUDGED = TypeAdapter(Judged)
FORMAT = 2
"""Of kept measurements; those of another are made again."""


def judge(
    real: Mapping[str, Real],
    generated: Products,
    backbones: Backbones,
    settings: GenerationSettings,
    log: Log,
    folder: Path | None = None,
) -> list[Judged]:
    """Measure every product and defect type that was generated.

    Args:
        real: The products.
        generated: Their generated pairs.
        backbones: What sees the images.
        settings: Of the metrics.
        log: Called with a line for each product and type.
        folder: Where each product and type is kept, so that the same call again goes on with the rest; None for nowhere.

    Raises:
        DataError: A product is missing on one side, a type is unknown, a file does not fit, or there are too few images.
    """
    found = []
    for name, other in match(real, generated).items():
        refused = read_refused(generated[other])
        missing = {d: refused[d].total() if d in refused else 0 for d in missing_types(real[name], generated[other])}
        for defect, records in by_type(generated[other]).items():
            types = real[name].product.defects
            few, held_out = (_chosen(part, defect, types) for part in (real[name].few, real[name].held_out))
            made, training, test = (load_pairs(part, settings.side) for part in (records, few, held_out))
            log(f"{name}, {defect}: {len(records)} generated, {len(few)} training, {len(held_out)} held-out images")
            masked = all(record.mask is not None for record in records)
            subject = _Subject(name, defect, made, training, test, masked, dict(refused.get(defect, {})))
            found.append(replace(_kept(folder, subject, backbones, settings), missing=missing))
    return found


class _Subject(NamedTuple):
    """What is measured: the pairs of a product's defect type, whether they have masks, and those refused, by verdict."""

    product: str
    defect: str
    made: LoadedPairs
    training: LoadedPairs
    test: LoadedPairs
    masked: bool
    refused: dict[str, int]


def _kept(folder: Path | None, subject: _Subject, backbones: Backbones, settings: GenerationSettings) -> Judged:
    """Read what is measured, or measure it; a file is named after all it came from."""
    if folder is None:
        return _judge(subject, backbones, settings)
    origins = [asdict(origin) for origin in (backbones.classifier_origin, backbones.perceptual_origin)]
    asked = json.dumps([FORMAT, settings.model_dump(), origins, subject.masked, subject.refused], sort_keys=True)
    key = digest(np.array(asked), *subject.made, *subject.training, *subject.test)[:16]
    path = folder / f"{subject.product}-{subject.defect}-{key}.json"
    if path.is_file():
        try:
            return _JUDGED.validate_json(path.read_bytes())
        except ValueError as error:
            raise DataError(f"{path}: cannot be read, expected a finished measurement; remove it") from error
    found = _judge(subject, backbones, settings)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(path, _JUDGED.dump_json(found, indent=1).decode() + "\n")
    return found


def _judge(subject: _Subject, backbones: Backbones, settings: GenerationSettings) -> Judged:
    product, defect, made, training, test, masked, refused = subject
    perceptual, batch, augment = backbones.perceptual, settings.batch, settings.augment
    try:
        scores = evaluate(made.images, training.images, test.images, backbones, settings)
    except DataError as error:
        raise DataError(f"{product}, {defect}: {error.message}") from error
    own = copies.report(perceptual, made, training, batch, augment=augment, refused=refused) if masked else None
    usual = copies.report(perceptual, test, training, batch, augment=augment) if len(test.images) else None
    return Judged(product, defect, scores, own, usual)


def _chosen(records: Sequence[Record], defect: str, known: Sequence[str]) -> tuple[Record, ...]:
    """Those of a type; all where it is that of a flat folder and the product has other types."""
    return tuple(record for record in records if record.defect == defect or defect not in known)


def tables(found: Sequence[Judged]) -> list[Table]:
    """Fidelity and diversity, then copies and masks."""
    origins = {origin.name for judged in found for origin in (judged.scores.classifier, judged.scores.perceptual)}
    label = tuple(LABELS[name] for name in sorted(origins) if name in LABELS)
    note = f"IS over {found[0].scores.splits} splits, mean ± standard deviation over them; backbones: {', '.join(sorted(origins))}."
    gaps = _gaps(found)
    return [_fidelity(found, (*label, note, *gaps)), _copies(found, (*label, *gaps))]


def _gaps(found: Sequence[Judged]) -> list[str]:
    """A sentence for each type without pairs."""
    return [
        f"{product}: has no pairs of {defect} ({refused} refused by seas-gen); means are of the other types."
        for product, types in {judged.product: judged.missing for judged in found}.items()
        for defect, refused in types.items()
    ]


def comparable(found: Sequence[Judged]) -> bool:
    """Whether these figures may be compared with the paper's."""
    return all(origin.comparable for judged in found for origin in (judged.scores.classifier, judged.scores.perceptual))


def _fidelity(found: Sequence[Judged], notes: tuple[str, ...]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    averages = []
    for product in dict.fromkeys(judged.product for judged in found):
        own = [judged for judged in found if judged.product == product]
        for judged in own:
            s = judged.scores
            inception = f"{s.inception_score.mean:.3f} ± {s.inception_score.std:.3f}"
            cells = (inception, s.ic_lpips.value, s.kernel_distance, s.frechet_distance)
            rows.append((product, judged.defect, s.count, *cells, len(s.ic_lpips.sizes), s.real))
        inception_score, diversity = mean_over_types([judged.scores for judged in own])
        averages.append((inception_score, diversity))
        total = sum(judged.scores.count for judged in own)
        rows.append((product, "mean of types", total, inception_score, diversity, None, None, None, None))
    if len(averages) > 1:
        rows.append(("all", "mean of products", None, *map(float, np.mean(averages, axis=0)), None, None, None, None))
    names = ("product", "type", "images", "IS", "IC-LPIPS", "KID", "FID", "clusters", "real images")
    notes = (*notes, "KID and FID are measured against the held-out anomalies; with so few, FID compares equal numbers alone.")
    return Table("Fidelity and diversity", names, tuple(rows), notes, digits=3)


def _copies(found: Sequence[Judged], notes: tuple[str, ...]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for judged in found:
        for name, checked in (("generated", judged.copies), (REAL, judged.real)):
            if checked is None:
                continue
            s = checked.shares
            shares = tuple(f"{share:.1%}" for share in (s.empty, s.full, s.duplicate))
            near = None if checked.near_copies is None else f"{checked.near_copies:.1%}"
            distances = (checked.feature, checked.pixel, checked.mask_iou)
            masks = (f"{checked.area:.1%}", checked.mask_fit)
            rows.append((judged.product, judged.defect, name, s.count, *shares, near, *distances, *masks))
    names = (
        *("product", "type", "pairs", "number", "empty", "full", "duplicate", "near copies"),
        *("nearest: distance", "pixels", "mask IoU", "mask area", "mask fit"),
    )
    notes = (
        *notes,
        "Near copies: nearer to a training anomaly (unless --no-augment: in any view) than any two of these to each other.",
        "Pairs that seas-gen refused are in the number: too small masks count as empty, too large ones as full.",
        "Nearest training anomaly, medians: perceptual distance, root mean square difference inside the masks, IoU of both masks.",
        "Mask area: the share of an image that is marked, median.",
        "Mask fit: the share of displaced masks whose edge has less contrast, 0.5 by chance. Real pairs show what is usual.",
    )
    return Table("Copies and masks", names, tuple(rows), notes, digits=3)


def picture(real: Mapping[str, Real], generated: Products, side: int, out: Path) -> dict[str, str]:
    """Save a sheet of each type's first generated pairs into `out`; captions by file name."""
    out.mkdir(parents=True, exist_ok=True)
    captions = {}
    for name, other in match(real, generated).items():
        types = {d: load_pairs(records[: plots.SHOWN], side) for d, records in by_type(generated[other]).items()}
        plots.pairs(types, out / f"generated_{name}.png")
        captions[f"generated_{name}.png"] = f"{name}: the first generated pairs of each type, and the same with their masks."
    return captions
