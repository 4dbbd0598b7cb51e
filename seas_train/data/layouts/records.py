"""What every layout gives: the records of one product, and what is wrong with its files' arrangement."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from seas_train.data.kinds import MaskKind

if TYPE_CHECKING:
    from seas_runtime.fit import View  # which loads numpy


@dataclass(frozen=True)
class Record:
    """An image file; an anomaly also has a mask file and the name of its defect type (both None: normal).

    view, the part of the photograph that the model sees and its size there; None is the whole, stretched to its square.
    """

    image: Path
    mask: Path | None = None
    defect: str | None = None
    mask_kind: MaskKind = "binary"
    view: View | None = None


@dataclass(frozen=True)
class Product:
    """One product's data set.

    Attributes:
        name: The product.
        root: The folder that all images lie below.
        layout: How its files are arranged.
        normals: Normal images for training, in file order.
        test_normals: Normal images for evaluation, in file order.
        anomalies: Anomaly images by defect type, each type's in file order.
        normal_masks: Mask files of normal images, which must mark nothing.
        problems: What does not fit, a line each; `read` allows none.
        warnings: What the user should know and may leave as it is, a line each.
    """

    name: str
    root: Path
    layout: str
    normals: tuple[Record, ...]
    test_normals: tuple[Record, ...]
    anomalies: tuple[Record, ...]
    normal_masks: tuple[Path, ...] = ()
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def defects(self) -> tuple[str, ...]:
        """Names of the defect types, sorted."""
        return tuple(sorted({record.defect for record in self.anomalies if record.defect is not None}))

    def of_type(self, defect: str) -> tuple[Record, ...]:
        """The anomaly images of one defect type, in file order."""
        return tuple(record for record in self.anomalies if record.defect == defect)


class Layout(Protocol):
    """How one family of data sets arranges a product's files."""

    name: str
    tree: str
    """The expected tree in a few words, for error messages."""

    def matches(self, root: Path) -> bool:
        """Whether the folder looks like a product in this layout, complete or not."""

    def scan(self, root: Path) -> Product:
        """List the product's files without opening images, with all that does not fit in `problems`.

        Raises:
            DataError: A folder or list is missing without which nothing can be said of the rest.
        """
