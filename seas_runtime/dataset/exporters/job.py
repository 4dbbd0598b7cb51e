"""One export: what is to be written where, and the few ways in which a format writes it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from seas_runtime.dataset.pictures import Item, encode
from seas_runtime.dataset.read import GeneratedSet, Record
from seas_runtime.errors import OutputError


class Options(BaseModel):
    """How to export. Not every format takes all: see `FORMATS`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    val: Annotated[float, Field(ge=0, lt=1)] = 0.2
    seed: Annotated[int, Field(ge=0)] = 0
    link: bool = False
    polygons: bool = False
    shard_size: Annotated[int, Field(ge=1)] = 1000


@dataclass(frozen=True)
class Job:
    """An export into `folder`, which is empty.

    splits: the records of each split, see `Format.divides`; step: called with 1 after each record.
    """

    data: GeneratedSet
    folder: Path
    options: Options
    splits: Mapping[str, Sequence[Record]]
    step: Callable[[int], object]

    def items(self, records: Sequence[Record]) -> Iterator[tuple[Record, Item]]:
        """The records with their pictures, each checked.

        Raises:
            DataError: a picture or mask that is missing, damaged or does not fit.
        """
        for record in records:
            yield record, record.load()
            self.step(1)

    def write(self, path: str, data: bytes | str) -> None:
        """A file of these bytes, or of this text in UTF-8; `path` is relative to the folder."""
        self._place(path).write_bytes(data.encode() if isinstance(data, str) else data)

    def write_json(self, path: str, value: Any) -> None:
        """A file of this value as JSON."""
        self.write(path, json.dumps(value, allow_nan=False) + "\n")

    def write_image(self, path: str, item: Item) -> None:
        """The picture as PNG: a hard link to the original if that was asked for and it is one."""
        if self.options.link and item.image_file is not None:
            self._link(item.image_file, path)
        else:
            self.write(path, item.png)

    def write_mask(self, path: str, item: Item) -> None:
        """The mask as PNG of 0 and 255, linked as pictures are."""
        if self.options.link and item.mask_file is not None:
            self._link(item.mask_file, path)
        else:
            self.write(path, encode(item.mask))

    def heading(self) -> str:
        """What this is, for the beginning of a README."""
        facts = self.data.facts
        normals = len(self.data.records) - self.data.pairs
        lines = [
            f"{facts.settings.product}: {self.data.pairs} generated image-mask pairs of {', '.join(self.data.classes)}"
            + (f", and {normals} normal pictures." if normals else "."),
            f"Made by seas-gen {facts.versions.get('seas', '')} with the bundle {facts.settings.digest or '(unknown)'}.",
            f"Licence of what it learned from: {facts.licence or 'not stated'}.",
        ]
        return "\n".join(lines) + "\n\n"

    def _place(self, path: str) -> Path:
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def _link(self, file: Path, path: str) -> None:
        try:
            os.link(file.resolve(), self._place(path))
        except OSError as error:
            raise OutputError(
                f"{file}: cannot be linked from {self.folder.parent} ({error.strerror or error}); leave --link out"
            ) from error
