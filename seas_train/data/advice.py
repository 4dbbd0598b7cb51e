"""What a person should know of a data set before a training: which images it takes, what it leaves out, what it cannot see."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from seas_runtime.errors import DataError
from seas_train.config import TuneSettings
from seas_train.data import fitting, layouts
from seas_train.data.check import Report
from seas_train.data.kinds import EXTENSIONS
from seas_train.data.layouts import Product, Record
from seas_train.data.places import IMPORT

NAMED = 10
_OF_IMPORT = (IMPORT, "titles.json")
_NO_IMAGE = f"no image of a kind that is read ({' '.join(extension[1:] for extension in EXTENSIONS)})"
_ELSEWHERE = "in no folder of the layout"


def advise(
    report: Report, settings: TuneSettings, size: int, folders: Sequence[Path], base: str | None = None
) -> dict[str, list[str]]:
    """All that there is to say of a data set, by kind: "Training", "Left out", "Warning", "Problem".

    Args:
        report: what opening its files gave.
        settings: of the training; what divides the images counts.
        size: side of the model's images, pixels.
        folders: where all files lie that could be meant.
        base: how the base has learned photographs, see `Origin.fit`.
    """
    problems = list(report.problems)
    learned: set[Path | None] = set()
    try:
        training = list(division(report.product, settings))
        split = layouts.split(report.product, settings.train_share, settings.split, settings.seed, settings.shots)
        learned = {record.mask for record in split.train}
    except DataError as error:
        training, problems = [], [*problems, error.message]
    types = {group.title: group.defects for group in report.groups if group.defects}
    used = {title: [defect for defect in some if defect.mask in learned] for title, some in types.items()}
    fit = fitting.choose(settings.fit, [defect for some in used.values() for defect in some], size)
    doubts = [fitting.strange(base, fit), *(fitting.narrow(title, some, fit, size) for title, some in types.items())]
    return {
        "Training": [*training, *fitting.told(settings.fit, fit, used, size)],
        "Left out": list(left_out(report.product, folders)),
        "Warning": [*report.warnings, *filter(None, doubts)],
        "Problem": problems,
    }


def division(product: Product, settings: TuneSettings) -> Iterator[str]:
    """A line for each defect type and for the normal images: how many of them are for training, and which.

    Raises:
        SettingsError, DataError: as `layouts.split`.
    """
    split = layouts.split(product, settings.train_share, settings.split, settings.seed, settings.shots)
    for defect in product.defects:
        train, held_out = (_of(records, defect) for records in (split.train, split.held_out))
        every = len(train) + len(held_out)
        if not held_out:
            yield f"{every} of {every} {defect} are for training, none is held out to judge with"
            continue
        more = f"--train-share 1 takes all, --shots {len(train) + 1} one more"
        yield (
            f"{len(train)} of {every} {defect} are for training ({_named(train)}), {len(held_out)} are held out "
            f"({_named(held_out)}); {more}"
        )
    if product.normals:
        used, every = len(layouts.pick_normals(product, settings.normals, settings.seed)), len(product.normals)
        more = f"; --normal-count {every} takes all" if used < every else ""
        yield f"{used} of {every} normal images are for training{more}"


def left_out(product: Product, folders: Sequence[Path]) -> Iterator[str]:
    """A line for each reason why files in the folders are not read, with their names.

    What a problem speaks of is left to it, as are hidden files and what an import writes beside the pictures.
    """
    records = (*product.normals, *product.test_normals, *product.anomalies)
    known = {path.absolute() for record in records for path in (record.image, record.mask) if path is not None}
    known |= {path.absolute() for path in product.normal_masks}
    known |= {Path(problem.split(": ")[0]).absolute() for problem in product.problems}
    known |= {folder.absolute() / name for folder in folders for name in _OF_IMPORT}
    others = [path for path in _files(folders) if path.absolute() not in known]
    for reason, belongs in ((_NO_IMAGE, _is_other), (_ELSEWHERE, _is_image)):
        if names := [_below(path, product.root) for path in others if belongs(path)]:
            yield f"{len(names)} {'file' if len(names) == 1 else 'files'}, {reason}: {_listed(names)}"


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS


def _is_other(path: Path) -> bool:
    return not _is_image(path)


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
                yield path


def _below(path: Path, root: Path) -> str:
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _of(records: Iterable[Record], defect: str) -> list[Record]:
    return [record for record in records if record.defect == defect]


def _named(records: Sequence[Record]) -> str:
    return _listed([record.image.name for record in records])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
