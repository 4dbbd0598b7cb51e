"""Which pictures of masks belong to which photographs, by the names of files and folders."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from seas_runtime.dataset.importers.folder import NORMAL, Folder

_MASKS = frozenset(
    (
        *("mask", "masks", "defect_masks", "mask_images", "gt", "gts", "gt_masks"),
        *("ground_truth", "groundtruth", "ground-truth", "label", "labels", "label_images"),
        *("seg", "segs", "segmentation", "segmentations", "segmentationclass"),
        *("annotation", "annotations", "annot", "anno", "annos"),
    )
)
"""Names of folders that hold masks."""
_PLACES = frozenset(
    (
        *(
            "image",
            "images",
            "img",
            "imgs",
            "photo",
            "photos",
            "picture",
            "pictures",
            "raw",
            "rgb",
            "jpegimages",
        ),
        *("data", "dataset", "source", "src", "input", "inputs", "original", "originals"),
        *("train", "test", "val", "valid", "validation", "training", "testing"),
        *("bad", "ng", "nok", "ko", "defect", "defects", "defective", "faulty", "fail", "failed"),
        *("anomaly", "anomalies", "anomalous", "abnormal"),
    )
)
"""Names of folders that say nothing of a defect's type."""
ONLY_TYPE = "anomaly"
"""The type of anomalies that have no other name."""
_MASK_NAME = re.compile(r"(?i)[ ._-]+(mask|masks|gt|label|labels|seg|segmentation|ground_?truth|annotation|anno)$")
_MASK_PREFIX = re.compile(r"(?i)^(mask|gt|label|seg)[ ._-]+(?=.)")
_PHOTO_NAME = re.compile(r"(?i)[ ._-]+(image|img|rgb|photo)$")


@dataclass
class Pairs:
    """Photographs with their masks.

    Attributes:
        masks: Each photograph that has masks, and these; several are united.
        alone: Photographs without one.
        unpaired: Masks without a photograph, each with the reason.
    """

    masks: dict[Path, list[Path]] = field(default_factory=dict)
    alone: list[Path] = field(default_factory=list)
    unpaired: list[tuple[Path, str]] = field(default_factory=list)


def pair(folder: Folder) -> Pairs:
    """Sort a folder's pictures into photographs and masks and pair them."""
    masks = [file for file in folder.pictures if _is_mask(folder, file)] or _twins(folder)
    known = set(masks)
    photographs = [file for file in folder.pictures if file not in known]
    pairs = Pairs()
    by_name: defaultdict[str, list[Path]] = defaultdict(list)
    for photograph in photographs:
        by_name[_photo_key(photograph)].append(photograph)
    for mask in masks:
        found, reason = _photograph_of(folder, mask, by_name)
        if found is None:
            pairs.unpaired.append((mask, reason))
        else:
            pairs.masks.setdefault(found, []).append(mask)
    pairs.alone = [photograph for photograph in photographs if photograph not in pairs.masks]
    return pairs


def title_of(folder: Folder, photograph: Path) -> str:
    """The type that a photograph's folders name: the innermost that is no word for a place."""
    for part in reversed(folder.path(photograph).parts[:-1]):
        plain = part.casefold()
        if plain not in _PLACES | NORMAL | _MASKS and plain != photograph.stem.casefold():
            return part
    return ONLY_TYPE


def _is_mask(folder: Folder, file: Path) -> bool:
    if not _MASKS.isdisjoint(folder.parts(file)):
        return True
    stem = _plain(file)
    return bool(_MASK_NAME.search(stem) or _MASK_PREFIX.search(stem))


def _twins(folder: Folder) -> list[Path]:
    """PNG files that have the name of a JPEG file beside them."""
    jpegs = {file.with_suffix("") for file in folder.ending((".jpg", ".jpeg"))}
    return [file for file in folder.ending((".png",)) if file.with_suffix("") in jpegs]


def _photograph_of(folder: Folder, mask: Path, by_name: dict[str, list[Path]]) -> tuple[Path | None, str]:
    """By its own name and folders, else by the folder it lies in alone or with others, else by its own name only."""
    names = _mask_keys(mask)
    for name in names:
        same = [other for other in by_name.get(name, ()) if _words(folder, other) == _words(folder, mask)]
        if len(same) == 1:
            return same[0], ""
    parts = folder.path(mask).parts[:-1]
    inner = [_key(part) for part in reversed(parts) if part.casefold() not in _MASKS | _PLACES][:1]
    for name in (*inner, *names):
        found = by_name.get(name, [])
        if len(found) > 1:
            found = _closest(folder, mask, found)
        if len(found) == 1:
            return found[0], ""
        if found:
            return None, f"a mask of {len(found)} photographs of the same name"
    return None, "a mask without a photograph of its name"


def _closest(folder: Folder, mask: Path, photographs: Sequence[Path]) -> list[Path]:
    """Those whose folders have the most in common with the mask's."""

    def rank(photograph: Path) -> tuple[int, int, bool]:
        shared = set(folder.parts(mask)) & set(folder.parts(photograph))
        return (
            -len(_words(folder, mask) ^ _words(folder, photograph)),
            len(shared),
            photograph.parent == mask.parent,
        )

    ranks = [rank(photograph) for photograph in photographs]
    return [photograph for photograph, one in zip(photographs, ranks, strict=True) if one == max(ranks)]


def _words(folder: Folder, file: Path) -> frozenset[str]:
    """The folders above a file, without the words for places and masks."""
    return frozenset(folder.parts(file)) - _MASKS - _PLACES


def _mask_keys(mask: Path) -> tuple[str, ...]:
    """What its photograph may be called: the mask's name without the words for a mask, then the name as it is."""
    stem = _plain(mask)
    without = _MASK_PREFIX.sub("", _MASK_NAME.sub("", stem))
    return tuple(dict.fromkeys((_key(without), _key(_PHOTO_NAME.sub("", without)), _key(stem))))


def _photo_key(photograph: Path) -> str:
    return _key(_PHOTO_NAME.sub("", _plain(photograph)))


def _plain(file: Path) -> str:
    """A file's name without its ending, and without the second one of OME-TIFF."""
    return re.sub(r"(?i)\.ome$", "", file.stem)


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
