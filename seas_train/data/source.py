"""Where a command takes its images from: a product's folder in a known layout, or three plain folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from seas_runtime.errors import SettingsError
from seas_train.data import layouts
from seas_train.data.layouts import Product

FOLDERS = ("anomalies", "masks", "normals")


@dataclass(frozen=True)
class Source:
    """What the command line says of the data: `data` with `layout`, or the folders by option name."""

    data: Path | None
    layout: str
    folders: dict[str, Path]

    def scan(self) -> Product:
        """List the product's files, with everything that does not fit.

        Raises:
            SettingsError: Neither a product's folder nor all three plain folders are given, or both.
            DataError: As `layouts.scan`.
        """
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
