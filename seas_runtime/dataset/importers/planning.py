"""Every picture that was found opened and every mark painted -> what the import will do."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from seas_runtime.dataset.importers.advice import advise
from seas_runtime.dataset.importers.attempts import attempts
from seas_runtime.dataset.importers.painting import is_scaled, open_picture, paint
from seas_runtime.dataset.importers.plan import COMBINED, Entry, Piece, Plan
from seas_runtime.dataset.importers.records import BrokenError, Findings, LeftOut, Mark, Picture
from seas_runtime.dataset.importers.settings import ImportSettings
from seas_runtime.dataset.shapes.widths import CELL, width
from seas_runtime.fit import Bits, Size, View, cut_mask, views

Progress = Callable[[int], object]


def make(source: Path, found: Findings, settings: ImportSettings, pool: Executor, progress: Progress | None = None) -> Plan:
    """Open every picture that was found and say what becomes of it."""
    named, words = _named(found, settings)
    left_out = list(found.left_out)
    entries: list[Entry] = []
    results = attempts(pool, partial(_enter, settings=settings), named)
    for picture, entry in zip(named, results, strict=True):
        if progress is not None:
            progress(1)
        if isinstance(entry, BrokenError):
            left_out.append(LeftOut(picture.file, str(entry), loses=True))
        elif not entry.pieces:
            left_out.append(LeftOut(picture.file, entry.passed[0], loses=True))
        else:
            entries.append(entry)
    notes, doubts = advise(entries, settings)
    notes = [*found.notes, *words, *notes]
    left = tuple(sorted(left_out, key=lambda one: str(one.file)))
    return Plan(source, found.format, settings, tuple(entries), left, tuple(notes), (*found.doubts, *doubts))


def _named(found: Findings, settings: ImportSettings) -> tuple[list[Picture], list[str]]:
    """The pictures with their marks' titles as the user names them, or as they are proposed; and notes on names."""
    asked = {_word(word): title for word, title in settings.types.items()}
    seen: set[str] = set()

    def rename(mark: Mark) -> Mark | None:
        title = found.proposed.get(mark.title, mark.title)
        for word in (_word(mark.title), _word(title)):
            if word in asked:
                seen.add(word)
                title = asked[word]
                break
        return replace(mark, title=title) if title else None

    pictures = []
    for picture in found.pictures:
        marks = tuple(mark for one in picture.marks if (mark := rename(one)) is not None)
        if marks or not picture.marks:
            pictures.append(replace(picture, marks=marks))
        else:
            found.leave(picture.file, "all its marks are left out by --type", loses=False)
    notes = [f"--type {word}=...: no mark is called so" for word in asked if word not in seen]
    unnamed = {word: title for word, title in found.proposed.items() if not {_word(word), _word(title)} & asked.keys()}
    if unnamed:
        words = ", ".join(f"{word} as {title}" for word, title in unnamed.items())
        notes.append(f"nobody named {words}; --type '{next(iter(unnamed))}=NAME' does")
    return pictures, notes


def _word(text: str) -> str:
    """A word as `--type` compares it: in any case; a colour also as R,G,B."""
    channels = text.split(",")
    if len(channels) == 3 and all(re.fullmatch(r"\s*[0-9]{1,3}\s*", channel) for channel in channels):
        return "#" + "".join(f"{int(channel):02x}" for channel in channels)
    return text.strip().casefold()


def _enter(picture: Picture, settings: ImportSettings) -> Entry:
    """Open a picture and paint its marks; raises BrokenError."""
    _, header = open_picture(picture)
    if not picture.marks:
        whole = _views(header.size, settings, None)
        return Entry(picture, header, tuple(Piece(view) for view in whole))
    masks = paint(picture, header)
    union = np.logical_or.reduce(list(masks.values()))
    if not union.any():
        if picture.blank == "broken":
            raise BrokenError("its marks cover no pixel")
        whole = _views(header.size, settings, None)
        doubtful = picture.blank == "doubt"
        return Entry(replace(picture, marks=()), header, tuple(Piece(view) for view in whole), blank=doubtful)
    if union.all():
        raise BrokenError("its mask covers every pixel")
    across = width(union)
    pieces, passed = [], []
    for view in _views(header.size, settings, union):
        piece = _piece(view, masks, union, settings)
        if isinstance(piece, Piece):
            pieces.append(replace(piece, width=across if piece.title is not None else 0.0))
        elif piece:
            passed.append(piece)
    return Entry(picture, header, tuple(pieces), tuple(passed), is_scaled(picture, header))


def _views(size: Size, settings: ImportSettings, marked: Bits | None) -> tuple[View, ...]:
    return views(size, settings.fit, settings.size, settings.overlap, marked)


def _piece(view: View, masks: dict[str, Bits], union: Bits, settings: ImportSettings) -> Piece | str:
    """A piece of a photograph with marks, or the reason why it is none; "" where there is nothing on it."""
    mask = cut_mask(union, view)
    count = int(mask.sum())
    if count == 0:
        if settings.fit == "tile":
            return Piece(view) if settings.normal_tiles else ""
        return "nothing of its mask is left in the middle"
    if count == mask.size:
        return f"a mask that covers all of {_where(view)}"
    if settings.fit == "tile" and count < min(CELL * CELL, int(union.sum())):
        return f"{count} pixels of a mask at the edge of {_where(view)}"
    alone = len(masks) == 1
    areas = {title: count if alone else int(cut_mask(one, view).sum()) for title, one in masks.items()}
    titles = tuple((title, area) for title, area in areas.items() if area)
    title = titles[0][0] if len(titles) == 1 else COMBINED
    return Piece(view, title, titles, count / mask.size)


def _where(view: View) -> str:
    return "the picture" if view.place is None else f"tile {view.place[0]}, {view.place[1]}"
