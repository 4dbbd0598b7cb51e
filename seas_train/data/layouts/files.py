"""Folders of images, and images paired with their masks by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from seas_runtime.errors import DataError
from seas_train.data.kinds import EXTENSIONS, MaskKind
from seas_train.data.layouts.records import Record

EXTENSION_NAMES = " ".join(extension.removeprefix(".") for extension in EXTENSIONS)


def subfolders(folder: Path) -> set[str]:
    """Names of the folders in `folder`; hidden ones are passed over, a missing `folder` has none."""
    return {entry.name for entry in _entries(folder) if entry.is_dir()}


def images(folder: Path) -> list[Path]:
    """The image files in `folder`, sorted; hidden ones are passed over, a missing `folder` has none.

    Raises:
        DataError: The folder cannot be listed.
    """
    return [entry for entry in _entries(folder) if entry.suffix.lower() in EXTENSIONS and not entry.is_dir()]


def require_folders(root: Path, parts: Iterable[str], tree: str) -> None:
    """Refuse a product without one of these folders.

    Raises:
        DataError: The first of `parts` that is no folder in `root`.
    """
    for part in parts:
        if not (root / part).is_dir():
            raise DataError(f"{root / part}: no such folder, expected {tree} in {root}; add it")


def normals(folder: Path) -> tuple[tuple[Record, ...], list[str]]:
    """The normal images in a folder, and the problem where there is none."""
    found = tuple(map(Record, images(folder)))
    missing = f"{folder}: holds no image, expected normal images ({EXTENSION_NAMES}); put photographs of faultless products there"
    return found, [] if found else [missing]


@dataclass(frozen=True)
class Pairs:
    """Where one defect type's images and masks lie, and how a mask is called after its image NAME."""

    images: Path
    masks: Path
    defect: str
    suffixes: tuple[str, ...] = ("_mask",)
    """A mask is NAME followed by one of these."""
    kind: MaskKind = "binary"

    def scan(self) -> tuple[list[Record], list[str]]:
        """The whole pairs in file order, and a line for each file that is in none."""
        problems: list[str] = []
        photographs, masks = (_by_stem(images(folder), problems) for folder in (self.images, self.masks))
        if not photographs:
            problems.append(
                f"{self.images}: holds no image, expected images of this defect type ({EXTENSION_NAMES}); "
                "add them, or remove the folder and that of its masks"
            )
        records = []
        for stem, image in photographs.items():
            found = [masks.pop(stem + suffix) for suffix in self.suffixes if stem + suffix in masks]
            if len(found) == 1:
                records.append(Record(image, found[0], self.defect, self.kind))
            elif found:
                problems.append(f"{image}: has the masks {found[0].name} and {found[1].name}, expected one; remove one")
            else:
                expected = self.masks / f"{stem}{self.suffixes[0]}.png"
                problems.append(f"{image}: has no mask, expected {expected}; add it or remove the image")
        problems += [
            f"{mask}: has no image, expected {self.images}/NAME.png for a mask NAME{self.suffixes[0]}.png; "
            "add the image or remove the mask"
            for mask in masks.values()
        ]
        return records, problems


def scan_types(types: Iterable[Pairs]) -> tuple[tuple[Record, ...], list[str]]:
    """The whole pairs of all defect types, and all that is wrong with them."""
    scans = [pairs.scan() for pairs in types]
    return tuple(r for records, _ in scans for r in records), [line for _, problems in scans for line in problems]


def _by_stem(files: list[Path], problems: list[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in files:
        if file.stem in found:
            other = found[file.stem].name
            problems.append(f"{file}: has the name of {other}, expected one file of a name; remove one")
        found.setdefault(file.stem, file)
    return found


def _entries(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror}); check its permissions") from None
