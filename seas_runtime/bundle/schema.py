"""What the models of a manifest are made of: their base, and the types of their fields."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from seas_runtime.bundle.names import defect_name, folder_name

MANIFEST = "manifest.json"
ENGINES = "engines"

# Letters, digits and "._+-" only: an engine must find nothing in a name but a name, as ONNX Runtime finds an address of its own
# memory in "*/_ORT_MEM_ADDR_/*".
_PART = r"[A-Za-z0-9_][A-Za-z0-9._+-]*"
_PLAIN = re.compile(rf"{_PART}(/{_PART}){{0,7}}")
_LONGEST_NAME = 200


def core_name(path: str) -> str:
    """The name itself, if it can be that of a core file.

    Raises:
        ValueError: it is not plain, or names something else.
    """
    if len(path) > _LONGEST_NAME or not _PLAIN.fullmatch(path):
        raise ValueError(f"{path!r} leaves the bundle or is not a plain relative path")
    if path == MANIFEST or path.split("/", maxsplit=1)[0] == ENGINES:
        raise ValueError(f"{path!r} cannot be a core file")
    return path


def _not_empty(interval: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= interval[0] < interval[1] <= 1:
        raise ValueError(f"an interval within 0 to 1 expected, {interval} found")
    return interval


Interval = Annotated[tuple[float, float], AfterValidator(_not_empty)]
WHOLE = (0.0, 1.0)
FolderName = Annotated[str, AfterValidator(folder_name)]
DefectName = Annotated[str, AfterValidator(defect_name)]
CorePath = Annotated[str, AfterValidator(core_name)]
Size = Annotated[int, Field(ge=1, le=1 << 16)]
Offset = Annotated[int, Field(ge=-(1 << 16), le=1 << 16)]
Dimension = Size | Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")]


class Model(BaseModel):
    """Frozen, and without fields that nobody knows."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Sparse(Model):
    """A model whose fields that say nothing are left out, so that what was sealed before they were thought of stays as it is."""

    @model_serializer(mode="wrap")
    def _without_nothing(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in dump(self).items() if value is not None or name not in self._later}

    _later: ClassVar[frozenset[str]] = frozenset()
