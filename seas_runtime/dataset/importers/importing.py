"""A source -> the plan of its import."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
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
from seas_runtime.dataset.importers.words import shown
from seas_runtime.errors import DataError

_DOCUMENTS = frozenset((".json", ".xml", ".csv"))


def make_plan(
    source: Path, into: Path, settings: ImportSettings, pool: Executor, progress: Progress | None = None
) -> Plan:
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
    folder = _source(source, into)
    more = tuple(scan(path, into) for path in settings.images)
    found = reading.read(folder, more, settings, pool)
    for path in settings.normals:
        normals = scan(path, into)
        known = {picture.file for picture in found.pictures}
        found.pictures += [Picture(file) for file in normals.pictures if file not in known]
        for file in sorted(set(normals.files) - set(normals.pictures)):
            found.leave(file, "no picture", loses=False)
    plan = planning.make(folder.root, found, settings, pool, progress)
    if not plan.entries:
        first = f"; {shown(plan.lost[0].file)}: {plan.lost[0].reason}" if plan.lost else ""
        raise DataError(f"{shown(source)}: {plan.format}, and nothing in it can be used{first}")
    return plan


def _source(source: Path, into: Path) -> Folder:
    if not source.is_file():
        return scan(source, into)
    if source.suffix.lower() not in _DOCUMENTS:
        raise DataError(
            f"{shown(source)}: is a file, expected a folder or JSON, XML or CSV; unpack it if it is an archive"
        )
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
