"""A source -> the plan of its import."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from seas_runtime.dataset.importers import planning, reading
from seas_runtime.dataset.importers.folder import Folder, scan
from seas_runtime.dataset.importers.pixels import EXTENSIONS
from seas_runtime.dataset.importers.plan import Plan
from seas_runtime.dataset.importers.planning import Progress
from seas_runtime.dataset.importers.records import Picture
from seas_runtime.dataset.importers.settings import ImportSettings
from seas_runtime.dataset.importers.words import counted, shown
from seas_runtime.errors import DataError

_DOCUMENTS = frozenset((".json", ".xml", ".csv"))


def make_plan(source: Path, into: Path, settings: ImportSettings, pool: Executor, progress: Progress | None = None) -> Plan:
    """Read a source fully and say what an import will do; nothing is written.

    Args:
        source: A folder, or a single annotation file, whose pictures lie beside it or in `settings.images`.
        into: The product's folder to be; what lies there is no source.
        settings: What the user asks.
        pool: Where pictures are opened.
        progress: Called with 1 after each picture.

    Raises:
        DataError: There is nothing that can be imported.
        SettingsError: No format is called as the settings say.
    """
    normals = [scan(path, into) for path in settings.normals]
    whole = _source(source, into, alone=bool(settings.images))
    folder = _without(whole, normals)
    _require_others(whole, folder, settings)
    more = tuple(scan(path, into) for path in settings.images)
    found = reading.read(folder, more, settings, pool)
    pictures = {file.absolute(): file for one in normals for file in one.pictures}
    found.pictures += [Picture(file) for file in pictures.values()]
    for one in normals:
        found.left_out += one.passed
        for file in set(one.files) - set(one.pictures):
            found.leave(file, "no picture", loses=False)
    plan = planning.make(folder.root, found, settings, pool, progress)
    if not plan.entries:
        first = f"; {shown(plan.lost[0].file)}: {plan.lost[0].reason}" if plan.lost else ""
        raise DataError(f"{shown(source)}: {plan.format}, and nothing in it can be used{first}")
    return plan


def _without(folder: Folder, normals: Sequence[Folder]) -> Folder:
    """The source without what the user says is normal."""
    known = {file.absolute() for one in normals for file in one.files}
    return Folder(folder.root, tuple(file for file in folder.files if file.absolute() not in known), folder.passed)


def _require_others(whole: Folder, rest: Folder, settings: ImportSettings) -> None:
    """Refuse a source of which nothing but the normal pictures is there to be read.

    Raises:
        DataError: it is one.
    """
    if settings.format == "auto" and whole.pictures and not rest.pictures and not rest.ending(_DOCUMENTS):
        raise DataError(
            f"{shown(whole.root)}: holds {counted(len(whole.pictures), 'picture')}, all of --normals, expected annotated ones; "
            "give the folder of those and their annotations"
        )


def _source(source: Path, into: Path, *, alone: bool) -> Folder:
    """The source's files: of a single one all pictures in its folder as well, unless it is to stand `alone`."""
    if not source.is_file():
        return scan(source, into)
    if source.suffix.lower() not in _DOCUMENTS:
        raise DataError(f"{shown(source)}: is a file, expected a folder or JSON, XML or CSV; unpack it if it is an archive")
    if alone:
        return Folder(source.parent, (source,))
    folder = scan(source.parent, into)
    kept = tuple(file for file in folder.files if file == source or file.suffix.lower() in EXTENSIONS)
    return Folder(folder.root, kept, folder.passed)


@contextmanager
def readers() -> Iterator[Executor]:
    """Threads that open pictures, at most four; those that hold many pixels are no cause for a warning."""
    with warnings.catch_warnings(action="ignore"), ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
