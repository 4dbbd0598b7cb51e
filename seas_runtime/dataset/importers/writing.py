"""A plan -> a product's folder in MVTec AD layout, whole or not at all."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from seas_runtime.bundle.names import folder_name
from seas_runtime.dataset.importers.folder import PRODUCT_FILES
from seas_runtime.dataset.importers.formats.labelme import embedded_picture
from seas_runtime.dataset.importers.painting import open_picture, paint
from seas_runtime.dataset.importers.pixels import rgb
from seas_runtime.dataset.importers.plan import Entry, Piece, Plan
from seas_runtime.dataset.importers.records import BrokenError
from seas_runtime.dataset.importers.words import folders_of, safe, shown, unused
from seas_runtime.errors import DataError, OutputError
from seas_runtime.fit import Bits, cut, cut_mask
from seas_runtime.staging import replaced, settle
from seas_runtime.versions import own_version

RECORD, TITLES = PRODUCT_FILES
"""The record says where each picture comes from and lies in its photograph, what was left out and why. Titles are the user's
own words, in any script: {"product": title, "types": {folder: title}}."""


def require_new(into: Path) -> None:
    """Refuse a folder that cannot be made, or holds something, before anything is read.

    Raises:
        OutputError: It holds something, or its name cannot name a product.
    """
    try:
        settle(into.absolute())  # what a killed import left beside it
        folder_name(into.absolute().name)
        if into.exists() and (not into.is_dir() or any(into.iterdir())):
            if (into / RECORD).is_file():
                raise OutputError(f"{shown(into)}: is an import already; remove it to import again, or give another --into")
            what = "holds files" if into.is_dir() else "is a file"
            raise OutputError(f"{shown(into)}: {what}, expected a new or empty folder; give another --into")
    except ValueError as error:
        raise OutputError(f"{shown(into)}: {error}; give another --into, and its title by --name") from None
    except OSError as error:
        raise OutputError(f"{shown(into)}: cannot be used ({error.strerror}); give another --into") from None


def write(plan: Plan, into: Path, pool: Executor, progress: Callable[[int], object] | None = None) -> None:
    """Write what a plan says into `into`, which appears when all of it is there; `pool` does not survive a failure.

    Raises:
        OutputError: The folder cannot be written; nothing is left behind.
        DataError: A picture has changed since the plan was made; likewise.
    """
    require_new(into)
    target = into.absolute()
    try:
        with replaced(target) as fresh:
            try:
                _fill(plan, fresh, target.name, pool, progress)
                _flush()
            except BaseException:
                pool.shutdown(cancel_futures=True)  # what other threads still write would outlive the folder
                raise
            if target.exists():
                target.rmdir()  # which refuses one that somebody has put something into
    except OSError as error:
        raise OutputError(f"{shown(into)}: cannot be written ({error.strerror or error}); nothing was left there") from None


def _flush() -> None:
    """Bring all that was written to the disk at once, which takes far less time than file by file."""
    if hasattr(os, "sync"):
        os.sync()


def _fill(plan: Plan, root: Path, name: str, pool: Executor, progress: Callable[[int], object] | None) -> None:
    folders = folders_of(plan.titles)
    below = [f"{part}/{name}" for part in ("test", "ground_truth") for name in folders.values()]
    for folder in ("train/good", "test", "ground_truth", *below):
        (root / folder).mkdir(parents=True, exist_ok=True)
    if any(entry.picture.held_out for entry in plan.entries):
        (root / "test/good").mkdir()
    jobs = [_Job(entry, root, targets) for entry, targets in _targets(plan, folders)]
    records: list[dict[str, Any]] = []
    for job, written in zip(jobs, pool.map(_Job.run, jobs), strict=True):
        records += [{"source": _source(plan, job.entry.picture.file), **record} for record in written]
        if progress is not None:
            progress(1)
    titles = {
        "product": plan.settings.name or name,
        "types": {folder: title for title, folder in folders.items()},
    }
    (root / TITLES).write_bytes(_json(titles))
    (root / RECORD).write_bytes(_json(_record(plan, records)))


def _targets(plan: Plan, folders: dict[str, str]) -> Iterator[tuple[Entry, tuple[tuple[str, str], ...]]]:
    """For each piece of each photograph its folder and its name without ending; no two in a folder are alike."""
    taken: dict[str, set[str]] = {}
    for entry in plan.entries:
        normal = "test/good" if entry.picture.held_out else "train/good"
        places = [normal if piece.title is None else f"test/{folders[piece.title]}" for piece in entry.pieces]
        plain = safe(entry.picture.file.stem, "picture")
        known = {name for place in set(places) for name in taken.setdefault(place, set())}
        if plain.casefold() in known:
            plain = unused(safe(_source(plan, entry.picture.file.with_suffix("")).replace("/", "_"), "picture"), known)
        for place in places:
            taken[place].add(plain.casefold())
        names = (plain if (at := piece.view.place) is None else f"{plain}_r{at[0]}_c{at[1]}" for piece in entry.pieces)
        yield entry, tuple(zip(places, names, strict=True))


@dataclass(frozen=True)
class _Job:
    """One photograph to write."""

    entry: Entry
    root: Path
    targets: tuple[tuple[str, str], ...]

    def run(self) -> list[dict[str, Any]]:
        """Write its pieces; a record of each."""
        picture = self.entry.picture
        try:
            if self._copied():
                data = embedded_picture(picture.file) if picture.embedded else picture.file.read_bytes()
                files = [data]
            else:
                image = rgb(open_picture(picture)[0])
                files = [png(cut(image, piece.view)) for piece in self.entry.pieces]
            marked = any(piece.title is not None for piece in self.entry.pieces)
            masks = paint(picture, self.entry.header) if marked else {}
        except (BrokenError, OSError) as error:
            raise DataError(f"{shown(picture.file)}: has changed since it was looked at ({error}); try again") from None
        union: Bits | None = np.logical_or.reduce(list(masks.values())) if masks else None
        return [
            self._write(piece, target, data, union)
            for piece, target, data in zip(self.entry.pieces, self.targets, files, strict=True)
        ]

    def _copied(self) -> bool:
        header = self.entry.header
        return bool(header.copied) and all(piece.view.is_whole(header.size) for piece in self.entry.pieces)

    def _write(self, piece: Piece, target: tuple[str, str], data: bytes, union: Bits | None) -> dict[str, Any]:
        place, name = target
        file = f"{place}/{name}{self.entry.header.copied if self._copied() else '.png'}"
        (self.root / file).write_bytes(data)
        record: dict[str, Any] = {
            "file": file,
            "photograph": self.entry.header.size,
            "orientation": self.entry.header.orientation,
            "box": piece.view.box,
            "size": piece.view.size,
        }
        if piece.view.place is not None:
            record["tile"] = piece.view.place
        if piece.title is not None and union is not None:
            mask = f"{place.replace('test/', 'ground_truth/', 1)}/{name}_mask.png"
            bits = cut_mask(union, piece.view)
            (self.root / mask).write_bytes(png(Image.fromarray(bits.astype(np.uint8) * 255)))
            record |= {"mask": mask, "type": piece.title, "areas": dict(piece.titles)}
        return record


def _record(plan: Plan, pictures: list[dict[str, Any]]) -> dict[str, Any]:
    left = [{"file": _source(plan, one.file), "reason": one.reason} for one in plan.left_out]
    for entry in plan.entries:
        left += [{"file": _source(plan, entry.picture.file), "reason": reason} for reason in entry.passed]
    return {
        "format": 1,
        "source": shown(plan.source),
        "annotations": plan.format,
        "settings": plan.settings.model_dump(mode="json"),
        "version": own_version(),
        "pictures": pictures,
        "left_out": left,
        "notes": plan.notes,
        "doubts": plan.doubts,
    }


def _source(plan: Plan, file: Path) -> str:
    inside = file.relative_to(plan.source) if file.is_relative_to(plan.source) else file
    return shown(inside.as_posix())


def png(image: Image.Image) -> bytes:
    """An image as PNG, fast rather than small."""
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=3)
    return stream.getvalue()


def _json(value: dict[str, Any]) -> bytes:
    """An object as JSON in UTF-8, each of its fields and each item of a list on a line of its own."""
    fields = []
    for name, held in value.items():
        items = [f"\n  {_text(item)}" for item in held] if isinstance(held, list | tuple) else None
        fields.append(f" {_text(name)}: " + (_text(held) if not items else f"[{','.join(items)}\n ]"))
    return ("{\n" + ",\n".join(fields) + "\n}\n").encode("utf-8", "backslashreplace")


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
