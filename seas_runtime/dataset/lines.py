"""What others read of the text files of a run: a line of `metadata.jsonl`, and the facts in `run.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from seas_runtime.bundle.manifest import Place
from seas_runtime.bundle.names import defect_name, folder_name
from seas_runtime.dataset.inside import is_plain
from seas_runtime.errors import DataError

TOP_INDEX = 10**9
"""No pair has a greater index."""


def _inside(path: str) -> str:
    if not is_plain(path):
        raise ValueError(f"{path!r} leaves the folder or is not a plain relative path")
    return path


InsidePath = Annotated[str, AfterValidator(_inside)]
DefectName = Annotated[str, AfterValidator(defect_name)]
Count = Annotated[int, Field(ge=0, le=TOP_INDEX, strict=True)]


class PairLine(BaseModel):
    """A line of `metadata.jsonl`; keys that are not named here are kept as they are."""

    model_config = ConfigDict(extra="allow", frozen=True)

    index: Annotated[int, Field(ge=0, lt=TOP_INDEX, strict=True)]
    defect: DefectName
    file_name: InsidePath
    mask_file_name: InsidePath


class RunSettings(BaseModel):
    """What an export needs of the settings in `run.json`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    product: Annotated[str, AfterValidator(folder_name)]
    digest: str = ""
    defects: Annotated[tuple[DefectName, ...], Field(min_length=1)]
    per_tar: Count = 0


class RunFacts(BaseModel):
    """What an export needs of `run.json`, also of one written by an older version."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    settings: RunSettings
    versions: dict[str, str] = {}
    licence: str = ""


class PlacedSettings(RunSettings):
    """What is to be known of pictures that are put back into photographs."""

    background: str = "generated"


class PlacedFacts(RunFacts):
    """Where pictures lie on photographs, by the number of the normal image that they start from."""

    settings: PlacedSettings
    places: tuple[Place, ...] = ()


class AskedSettings(RunSettings):
    """What says how many pairs a run is to have, besides, and what they start from."""

    count: Count
    batch: Annotated[int, Field(ge=1, le=TOP_INDEX, strict=True)]
    shard: tuple[Count, Count]
    init: str = "normal"


class AskedFacts(RunFacts):
    """What a page that follows a run needs of `run.json`."""

    settings: AskedSettings


def require_pictures(out: Path, per_tar: int) -> None:
    """Refuse a run whose pairs are in tar files, where single pictures are read.

    Raises:
        DataError: it is one.
    """
    if per_tar:
        raise DataError(
            f"{out}: holds its pairs in tar files (--per-tar), single pictures expected; WebDataset reads them as they are"
        )


def first_fault(error: ValidationError) -> str:
    """What is wrong first, as "place: what"."""
    fault = error.errors(include_url=False)[0]
    place = ".".join(map(str, fault["loc"])) or "the line"
    return f"{place}: {fault['msg']}"
