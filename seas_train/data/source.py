"""Where a command takes its images from: a product's folder in a known layout, or three plain folders."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from seas_runtime.errors import DataError, SettingsError
from seas_runtime.files import write_atomic
from seas_train.data import layouts
from seas_train.data.layouts import Product

FOLDERS = ("anomalies", "masks", "normals")
REMEMBERED = "source.json"


class _Kept(BaseModel):
    """`source.json` of a run folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Path | None
    layout: str
    folders: dict[str, Path]
    name: str | None


@dataclass(frozen=True)
class Source:
    """What the command line says of the data: `data` with `layout`, or the folders by option name; the product's own name."""

    data: Path | None
    layout: str
    folders: dict[str, Path]
    name: str | None = None

    def remember(self, run: Path) -> None:
        """Keep it in a run folder, with absolute paths; no bundle has them."""
        folders = {name: str(folder.absolute()) for name, folder in self.folders.items()}
        data = None if self.data is None else str(self.data.absolute())
        kept = {"data": data, "layout": self.layout, "folders": folders, "name": self.name}
        write_atomic(run / REMEMBERED, json.dumps(kept, indent=1) + "\n")

    def remembered_by(self, run: Path) -> None:
        """Keep it where an interrupt came just before; a run that may not be written stays as it is."""
        if not (run / REMEMBERED).is_file():
            with suppress(OSError):
                self.remember(run)

    def or_remembered(self, run: Path) -> Source:
        """Itself, or what a run was tuned on where the command line says nothing.

        Raises:
            DataError: What was kept cannot be read.
        """
        path = run / REMEMBERED
        if self.data is not None or self.folders or not path.is_file():
            return self
        try:
            kept = _Kept.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise DataError(f"{path}: cannot be read ({str(error).splitlines()[0]}); give DATA") from error
        return Source(kept.data, kept.layout, kept.folders, kept.name)

    def scan(self) -> Product:
        """List the product's files, with everything that does not fit.

        Raises:
            SettingsError: Neither a product's folder nor all three plain folders are given, or both.
            DataError: As `layouts.scan`.
        """
        product = self._scan()
        return product if self.name is None else replace(product, name=self.name)

    def _scan(self) -> Product:
        if self.data is not None:
            if self.folders:
                raise SettingsError(
                    f"DATA ({self.data}) and --{next(iter(self.folders))} given, expected one of them; leave one out"
                )
            return layouts.scan(self.data, self.layout)
        missing = [f"--{name}" for name in FOLDERS if name not in self.folders]
        if missing:
            raise SettingsError(
                f"no {' and no '.join(missing)} given, expected the folder DATA or all of --anomalies, --masks "
                "and --normals; give one or the other"
            )
        if self.layout not in ("auto", "folders"):
            raise SettingsError(f"--layout {self.layout} and --anomalies given, expected DATA for a layout; leave one out")
        return layouts.scan_folders(**self.folders)

    def places(self) -> tuple[Path, ...]:
        """Where all files lie that could be meant."""
        return tuple(self.folders.values()) if self.data is None else (self.data,)

    def read(self) -> Product:
        """List the product's files.

        Raises:
            SettingsError: As `scan`.
            DataError: As `scan`, and the first thing that does not fit.
        """
        return layouts.faultless(self.scan())
