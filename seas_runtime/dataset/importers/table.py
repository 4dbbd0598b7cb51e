"""A plan as text: what was understood, and every file that is left out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from seas_runtime.dataset.importers.plan import Piece, Plan
from seas_runtime.dataset.importers.records import LeftOut
from seas_runtime.dataset.importers.words import columns, counted, folders_of, shown

_HEAD = ("type", "folder", "pictures", "size", "area %: min", "median", "max", "width px: min", "median")
_MOST_NAMED = 20  # harmless files of one kind in one folder, before their number stands for them


def describe(plan: Plan) -> Iterator[str]:
    """The plan, line by line."""
    pieces = list(plan.pieces())
    made = "" if len(pieces) == len(plan.entries) else f", written as {len(pieces)}"
    yield f"{shown(plan.source)}: {plan.format}, {counted(len(plan.entries), 'picture')} to use{made}"
    yield ""
    yield from _table(plan, pieces)
    for heading, lines in (("Notes", plan.notes), ("Doubts", plan.doubts)):
        if lines:
            yield from ("", f"{heading}:")
            yield from (f"  {line}" for line in lines)
    if plan.lost:
        yield from ("", "Left out, though you may want them:")
        yield from _files(plan, plan.lost, most=None)
    harmless = [left for left in plan.left_out if not left.loses]
    if harmless:
        yield from ("", "Not used:")
        yield from _files(plan, harmless, most=_MOST_NAMED)


def _table(plan: Plan, pieces: Sequence[Piece]) -> Iterator[str]:
    folders = folders_of(plan.titles)
    rows: list[tuple[str, ...]] = [
        ("type", "folder", "pictures", "size", "area %: min", "median", "max", "width px: min", "median")
    ]
    for title, folder in folders.items():
        some = [piece for piece in pieces if piece.title == title]
        areas, widths = [100 * piece.area for piece in some], [piece.width for piece in some]
        figures = (*(f"{one:.3g}" for one in (min(areas), median(areas), max(areas), min(widths), median(widths))),)
        rows.append((shown(title), f"test/{folder}", str(len(some)), _sizes(some), *figures))
    for held_out, folder in ((False, "train/good"), (True, "test/good")):
        entries = [entry for entry in plan.entries if entry.picture.held_out == held_out]
        some = [piece for entry in entries for piece in entry.pieces if piece.title is None]
        if some:
            rows.append(("normal", folder, str(len(some)), _sizes(some), "", "", "", "", ""))
    widths_ = [max(map(columns, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [_padded(cell, size, right=i > 1) for i, (cell, size) in enumerate(zip(row, widths_, strict=True))]
        yield "  ".join(cells).rstrip()


def _padded(text: str, size: int, *, right: bool) -> str:
    gap = " " * (size - columns(text))
    return gap + text if right else text + gap


def _sizes(pieces: Sequence[Piece]) -> str:
    sizes = sorted({piece.view.size for piece in pieces})
    first, last = (f"{width} x {height}" for width, height in (sizes[0], sizes[-1]))
    return first if len(sizes) == 1 else f"{first} to {last} ({len(sizes)} sizes)"


def _files(plan: Plan, left_out: Sequence[LeftOut], most: int | None) -> Iterator[str]:
    """Each reason with its files; of more than `most` of one kind in a folder the number alone."""
    by_reason: defaultdict[str, list[Path]] = defaultdict(list)
    for left in left_out:
        by_reason[left.reason].append(left.file)
    for reason, files in sorted(by_reason.items()):
        if len(files) == 1:
            yield f"  {_name(plan, files[0])}: {reason}"
            continue
        yield f"  {len(files)} files: {reason}"
        groups: defaultdict[tuple[Path, str], list[Path]] = defaultdict(list)
        for file in files:
            groups[file.parent, file.suffix.lower()].append(file)
        for (parent, suffix), some in groups.items():
            if most is not None and len(some) > most:
                yield f"    {_name(plan, parent)}: {len(some)} {suffix or 'files'}"
            else:
                yield from (f"    {_name(plan, file)}" for file in some)


def _name(plan: Plan, file: Path) -> str:
    return shown(file.relative_to(plan.source) if file.is_relative_to(plan.source) else file)
