"""What a person should know of an import, or look at before it is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from seas_runtime.dataset.importers.levels import MaskFile
from seas_runtime.dataset.importers.plan import COMBINED, Entry, Piece
from seas_runtime.dataset.importers.settings import ImportSettings
from seas_runtime.dataset.importers.words import counted, shown
from seas_runtime.dataset.shapes.widths import CELL

_LARGE = 0.5  # of a picture; an anomaly is rarely larger
_NAMED = 3


def advise(entries: Sequence[Entry], settings: ImportSettings) -> tuple[list[str], list[str]]:
    """Notes and doubts, a line each."""
    return [*_notes(entries, settings), *_sizes(entries, settings)], list(_doubts(entries, settings))


def _notes(entries: Sequence[Entry], settings: ImportSettings) -> Iterator[str]:
    if turned := sum(entry.header.orientation != 1 for entry in entries):
        yield f"{counted(turned, 'picture')} turned upright as EXIF says, with the masks"
    if scaled := [entry for entry in entries if entry.scaled]:
        yield f"{counted(len(scaled), 'picture')} marked at another size, scaled: {_first(scaled)}"
    if inside := sum(entry.picture.embedded for entry in entries):
        yield f"{counted(inside, 'picture')} taken out of LabelMe files, as no file is called as they say"
    several = Counter(len(piece.titles) for entry in entries for piece in entry.pieces)
    if count := sum(number for titles, number in several.items() if titles > 1):
        yield f"{counted(count, 'picture')} with several types of anomalies, called {COMBINED}"
    if passed := sum(len(entry.passed) for entry in entries):
        yield f"{counted(passed, 'tile')} not written, as little of a mask lies on them: import.json names them"
    pieces = [piece for entry in entries for piece in entry.pieces]
    if not any(piece.title is None for piece in pieces):
        yield "no normal picture, and training needs some: --normals FOLDER adds them"
    if settings.fit != "tile" and settings.normal_tiles:
        yield "--normal-tiles says nothing without --fit tile"


def _doubts(entries: Sequence[Entry], settings: ImportSettings) -> Iterator[str]:
    if not any(piece.title is not None for entry in entries for piece in entry.pieces):
        yield "nothing is marked on any picture, all are taken as normal ones"
    if blank := [entry for entry in entries if entry.blank]:
        yield f"{counted(len(blank), 'picture')} whose masks mark nothing, taken as normal ones: {_first(blank)}"
    boxes = [entry for entry in entries if any(mark.coarse for mark in entry.picture.marks)]
    if boxes:
        yield f"{counted(len(boxes), 'picture')} marked by boxes, which cover more than the anomaly: {_first(boxes)}"
    unsure = [entry for entry in entries if _turn_unsure(entry)]
    if unsure:
        yield (
            f"{counted(len(unsure), 'picture')} that EXIF turns without changing its sides, with masks as files: taken as "
            f"drawn upright: {_first(unsure)}"
        )
    large = [entry for entry in entries if any(piece.area > _LARGE for piece in entry.pieces)]
    if large and settings.fit != "tile":  # a tile is small
        yield f"{counted(len(large), 'picture')} marked on more than half: {_first(large)}"


def _turn_unsure(entry: Entry) -> bool:
    """Whether a mask file could be meant for the upright picture or for the stored one, and nothing tells which."""
    same_sides = entry.header.stored == entry.header.size
    return entry.header.orientation != 1 and same_sides and any(isinstance(m.shape, MaskFile) for m in entry.picture.marks)


def _sizes(entries: Sequence[Entry], settings: ImportSettings) -> Iterator[str]:
    """Anomalies that shrink to less than a latent cell, by type, with the smallest as an example."""
    types = sorted({piece.title for entry in entries for piece in entry.pieces if piece.title is not None})
    for title in types:
        widths = [
            (piece.width * _model_scale(piece, settings), piece.width, entry)
            for entry in entries
            for piece in entry.pieces
            if piece.title == title
        ]
        small = [one for one in widths if one[0] < CELL]
        if small:
            shrunk, width, entry = min(small, key=lambda one: one[0])
            cut = settings.fit != "tile" and max(entry.header.size) > settings.size
            yield (
                f"{shown(title)}: {len(small)} of {len(widths)} are narrower than a latent cell ({CELL} pixels) at "
                f"{settings.size}: one of {width:.3g} px becomes {shrunk:.2g} px ({shown(entry.picture.file.name)}); "
                f"a larger --size{' or --fit tile' if cut else ''} keeps them"
            )


def _model_scale(piece: Piece, settings: ImportSettings) -> float:
    """Pixels of the model for one of the photograph; without a fit, training stretches the picture to its square."""
    if settings.fit == "keep":
        return settings.size / max(piece.view.size)
    return piece.view.scale


def _first(entries: Sequence[Entry]) -> str:
    names = ", ".join(shown(entry.picture.file.name) for entry in entries[:_NAMED])
    return names + (", ..." if len(entries) > _NAMED else "")
