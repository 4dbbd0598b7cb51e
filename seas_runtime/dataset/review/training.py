"""Real anomalies to hold generated ones against."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from seas_runtime.dataset.pictures import EXTENSIONS
from seas_runtime.errors import DataError

_NORMAL = "good"
_TREE = "test/TYPE/NAME.png and ground_truth/TYPE/NAME_mask.png"
MOST = 20_000


@dataclass(frozen=True)
class Real:
    """A real anomaly; its files relative to the folder they were found in, `mask` None where there is none."""

    defect: str
    image: str
    mask: str | None


def read_training(folder: Path, product: str) -> tuple[Path, list[Real]]:
    """List the real anomalies of a product's folder in MVTec AD layout; no picture is opened.

    Args:
        folder: the product's, or one that holds it.
        product: its name, for the second case.

    Returns:
        The product's folder, and its anomalies in file order by type.

    Raises:
        DataError: there is no such folder, or no anomaly in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder, a product's with {_TREE} expected; check --training")
    root = next((at for at in (folder, folder / product) if (at / "test").is_dir()), None)
    if root is None:
        raise DataError(f"{folder}: holds no folder test, {_TREE} expected; check --training, or import the data first")
    found = [real for kind in _folders(root / "test") for real in _reals(root, kind)]
    if not 0 < len(found) <= MOST:
        raise DataError(f"{root / 'test'}: {len(found)} anomalies found, 1 to {MOST} expected ({_TREE}); check --training")
    return root, found


def _reals(root: Path, kind: str) -> list[Real]:
    masks = {path.stem: path for path in _pictures(root / "ground_truth" / kind)}
    found = []
    for image in _pictures(root / "test" / kind):
        mask = masks.get(f"{image.stem}_mask") or masks.get(image.stem)
        found.append(Real(kind, image.relative_to(root).as_posix(), mask.relative_to(root).as_posix() if mask else None))
    return found


def _folders(root: Path) -> list[str]:
    names = (path.name for path in root.iterdir() if path.is_dir())
    return sorted(name for name in names if name != _NORMAL and not name.startswith("."))


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS and path.name[0] != ".")
