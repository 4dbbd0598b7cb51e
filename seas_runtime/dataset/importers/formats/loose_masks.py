"""Photographs and pictures of their masks, in folders of any kind."""

from __future__ import annotations

from concurrent.futures import Executor
from pathlib import Path

from seas_runtime.dataset.importers import colours, levels
from seas_runtime.dataset.importers.attempts import attempts
from seas_runtime.dataset.importers.folder import Folder
from seas_runtime.dataset.importers.levels import MaskFile, Survey
from seas_runtime.dataset.importers.pairing import Pairs, pair, title_of
from seas_runtime.dataset.importers.records import Blank, BrokenError, Findings, Mark, Picture
from seas_runtime.dataset.importers.settings import ImportSettings
from seas_runtime.dataset.importers.words import counted

TITLE = "pictures of masks"


def matches(folder: Folder) -> bool:
    """Whether some picture is a mask by its name and has a photograph."""
    return bool(pair(folder).masks)


def read(folder: Folder, settings: ImportSettings, found: Findings, pool: Executor) -> None:
    """Add the folder's pictures to `found`."""
    pairs = pair(folder)
    found.consumed.update(mask for masks in pairs.masks.values() for mask in masks)
    surveys = _surveys(pairs, found, pool)
    reading = colours.read(surveys.values(), settings.inverted) if surveys else colours.Reading(())
    found.notes += reading.notes
    found.doubts += reading.doubts
    found.proposed.update({word: colours.proposed(word) for word, _ in reading.rules if word})
    for mask, reason in pairs.unpaired:
        found.leave(mask, reason, loses=True)
    for photograph, masks in pairs.masks.items():
        if all(mask in surveys for mask in masks):
            title = title_of(folder, photograph)
            marks = (
                Mark(word or title, MaskFile(mask, rule), surveys[mask].size) for mask in masks for word, rule in reading.rules
            )
            blank: Blank = "normal" if folder.is_normal(photograph) else "doubt"
            found.pictures.append(Picture(photograph, tuple(marks), blank=blank))
        else:
            found.leave(photograph, "its mask cannot be used", loses=True)
    united = sum(len(masks) > 1 for masks in pairs.masks.values())
    if united:
        found.notes.append(f"{counted(united, 'photograph')} with several masks each, which are united")


def _surveys(pairs: Pairs, found: Findings, pool: Executor) -> dict[Path, Survey]:
    """What each mask holds; one that cannot be read is left out."""
    masks = [mask for some in pairs.masks.values() for mask in some]
    surveys = {}
    for mask, held in zip(masks, attempts(pool, levels.survey, masks), strict=True):
        if isinstance(held, BrokenError):
            found.leave(mask, held, loses=True)
        else:
            surveys[mask] = held
    return surveys
