"""The photographs that pictures are parts of, found by the names that training or the import before it gave them."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from seas_runtime.bundle.manifest import Place
from seas_runtime.dataset.importers import pixels
from seas_runtime.dataset.importers.records import BrokenError
from seas_runtime.dataset.inside import is_plain
from seas_runtime.errors import DataError
from seas_runtime.files import lies_in


class Photographs:
    """A folder of photographs, looked through once.

    Raises:
        DataError: There is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            what = "is a file" if folder.exists() else "no such folder"
            raise DataError(f"{folder}: {what}, expected the folder of the photographs; check the path")
        self.folder = folder
        self._called: dict[str, list[Path]] = {}
        for root, _, names in os.walk(folder):
            for name in names:
                self._called.setdefault(name, []).append(Path(root, name))

    def find(self, place: Place) -> Path:
        """The file of a place, whose size is that of the photograph then.

        Raises:
            DataError: There is none, or several are called so, or it has another size.
        """
        file = self._named(place.file)
        try:
            size = pixels.header(file).size
        except BrokenError as error:
            raise DataError(f"{file}: {error}, expected the photograph that pictures were cut out of; copy it again") from None
        if size != place.size:
            raise DataError(
                f"{file}: has {size[0]} x {size[1]} pixels, expected {place.size[0]} x {place.size[1]} as when pictures were cut "
                "out of it; give the photographs as they were then"
            )
        return file

    def _named(self, name: str) -> Path:
        if is_plain(name) and (direct := self.folder / PurePosixPath(name)).is_file() and lies_in(direct, self.folder):
            return direct
        known = [file for file in self._called.get(PurePosixPath(name).name, ()) if lies_in(file, self.folder)]
        ending = [file for file in known if file.absolute().as_posix().endswith("/" + name.lstrip("/"))]
        found = ending or known
        if len(found) == 1:
            return found[0]
        if not found:
            raise DataError(f"{self.folder}: holds no {name}, of which a picture is a part; give the folder where it lies as --on")
        raise DataError(
            f"{self.folder}: {found[0]} and {len(found) - 1} more are called so, expected one {name}; give a folder that holds one"
        )
