"""A data set looked at as a whole: every file opened, counts, sizes, mask areas, and all that is wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

from seas_runtime.bundle.names import defect_name, folder_name
from seas_runtime.errors import DataError
from seas_train.data.fitting import Defect
from seas_train.data.images import read_mask, read_rgb, require_blank
from seas_train.data.layouts.records import Product, Record

Progress = Callable[[int], object]
_LARGE = 50.0  # per cent of an image; an anomaly is rarely larger


@dataclass(frozen=True)
class Group:
    """The images of one defect type, or of the normal ones.

    sizes, distinct (width, height) in pixels, sorted; areas, the masks' share of their image in per cent; defects, what
    each mask marks.
    """

    title: str
    count: int
    sizes: tuple[tuple[int, int], ...]
    areas: tuple[float, ...]
    defects: tuple[Defect, ...] = ()

    @property
    def inverted(self) -> bool:
        """Whether most masks mark more than half of their image."""
        return 2 * sum(area > _LARGE for area in self.areas) > len(self.areas)


@dataclass(frozen=True)
class Report:
    """All groups of a product, and what is wrong with it, a line each."""

    product: Product
    groups: tuple[Group, ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]

    def table(self) -> str:
        """The groups as text, a row each."""
        rows = [("type", "images", "size", "mask area %: min", "median", "max")]
        rows += [(g.title, str(g.count), _sizes(g.sizes), *_areas(g.areas)) for g in self.groups]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = []
        for title, *cells in rows:
            padded = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
            lines.append("  ".join([title.ljust(widths[0]), *padded]).rstrip())
        return "\n".join(lines)


@dataclass
class _Seen:
    """What opening the files of one group gave."""

    title: str
    records: Sequence[Record]
    sizes: set[tuple[int, int]] = field(default_factory=set)
    areas: list[float] = field(default_factory=list)
    defects: list[Defect] = field(default_factory=list)


def inspect(product: Product, progress: Progress | None = None) -> Report:
    """Open every file of a product fully.

    Args:
        product: The records, with the problems of their arrangement (`layouts.scan`).
        progress: Called with 1 after each image (tqdm's `update` fits).
    """
    problems = [*product.problems, *_names(product)]
    warnings = [*product.warnings, *_single_images(product)]
    groups = [_Seen("normal", product.normals), _Seen("normal (test)", product.test_normals)]
    groups += [_Seen(defect, product.of_type(defect)) for defect in product.defects]
    contents: dict[bytes, Record] = {}
    for group in groups:
        for record in group.records:
            try:
                twin = contents.setdefault(_look(record, group), record)
                if twin.defect != record.defect:
                    problems.append(_contradiction(record, twin))
                elif twin is not record:
                    warnings.append(_duplicate(record, twin))
            except DataError as error:
                problems.append(error.message)
            if progress is not None:
                progress(1)
    for mask in product.normal_masks:
        try:
            require_blank(mask)
        except DataError as error:
            problems.append(error.message)
    seen = tuple(
        Group(g.title, len(g.records), tuple(sorted(g.sizes)), tuple(g.areas), tuple(g.defects)) for g in groups if g.records
    )
    warnings += [_inverted(product, group) for group in seen if group.inverted]
    return Report(product, seen, tuple(problems), tuple(warnings))


def check(product: Product) -> tuple[str, ...]:
    """Open every file fully, so that nothing in the data can stop a training later.

    Returns:
        Warnings, a line each.

    Raises:
        DataError: The first problem; `seas-train check` lists all.
    """
    report = inspect(product)
    if report.problems:
        raise DataError(report.problems[0])
    return report.warnings


def _look(record: Record, group: _Seen) -> bytes:
    """Open the files of a record, add what they hold to its group; a digest of the image's size and pixels."""
    image = read_rgb(record.image)
    group.sizes.add(image.size)
    if record.mask is not None:
        mask = read_mask(record.mask, record.mask_kind)
        if mask.shape != (image.height, image.width):
            raise DataError(
                f"{record.mask}: the mask is {mask.shape[1]} x {mask.shape[0]} pixels, "
                f"expected {image.width} x {image.height} as {record.image}; draw it at its image's size"
            )
        group.areas.append(100 * float(mask.mean()))
        group.defects.append(Defect.of(record.mask, mask))
    return hashlib.blake2b(repr(image.size).encode() + image.tobytes(), digest_size=16).digest()


def _single_images(product: Product) -> list[str]:
    return [
        f"{product.root}: the defect type {defect} has a single image; it goes into training and none is held out"
        for defect in product.defects
        if len(product.of_type(defect)) == 1
    ]


def _names(product: Product) -> Iterator[str]:
    """Names that a bundle cannot have: told before hours of training, not at the export after them."""
    for kind, check_name, names, advice in (
        ("product", folder_name, (product.name,), "rename its folder, or give --name"),
        ("defect type", defect_name, product.defects, "rename its folder"),
    ):
        for name in names:
            try:
                check_name(name)
            except ValueError as error:
                yield f"{product.root}: the {kind} could not be exported: {error}; {advice}"


def _inverted(product: Product, group: Group) -> str:
    return (
        f"{product.root}: most masks of {group.title} mark more than half of their image (median {median(group.areas):.3g} %); "
        "if they are white where nothing is wrong, invert them, or let seas-data import --inverted yes do it"
    )


def _contradiction(record: Record, twin: Record) -> str:
    labels = [label.defect or "normal" for label in (record, twin)]
    return (
        f"{record.image}: {labels[0]}, shows the same as {twin.image}, {labels[1]}; expected a single label for an image; "
        "remove one of the two"
    )


def _duplicate(record: Record, twin: Record) -> str:
    return f"{record.image}: shows the same as {twin.image}; one may be trained on and the other held out"


def _sizes(sizes: tuple[tuple[int, int], ...]) -> str:
    first, last = (f"{size[0]} x {size[1]}" for size in (sizes[0], sizes[-1])) if sizes else ("", "")
    if len(sizes) < 2:
        return first
    return f"{first} to {last} ({len(sizes)} sizes)"


def _areas(areas: tuple[float, ...]) -> tuple[str, str, str]:
    if not areas:
        return "", "", ""
    return f"{min(areas):.3g}", f"{median(areas):.3g}", f"{max(areas):.3g}"
