"""The formats that other tools read, one module each, in one table. Nothing heavy is imported until a format is used."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal, Protocol, cast

from seas_runtime.errors import SettingsError

if TYPE_CHECKING:
    from seas_runtime.dataset.exporters.job import Job


class Exporter(Protocol):
    """What the module of a format has."""

    def write(self, job: Job) -> None:
        """Write all of `job.splits` below `job.folder`, which is empty, with a README.

        Raises:
            SeasError: something that this format cannot hold, or a picture that cannot be read.
            OSError: what the file system says.
        """


@dataclass(frozen=True)
class Format:
    """A format: its module here, what it is in a few words, which options it takes, into what it divides pictures.

    Into "train" and "val"; not at all; or into normal pictures to learn from and all others to test on.
    """

    module: str
    title: str
    takes: frozenset[str]
    divides: Literal["validation", "nothing", "test"] = "validation"


_OPTIONS = frozenset({"val", "seed", "link"})
FORMATS = {
    "coco": Format("coco", "COCO instances (pycocotools, Detectron2, MMDetection)", _OPTIONS | {"polygons"}),
    "yolo": Format("yolo", "YOLO-seg polygons and data.yaml (Ultralytics)", _OPTIONS),
    "mmseg": Format("mmseg", "class-index PNGs (MMSegmentation)", _OPTIONS),
    "webdataset": Format("webdataset", "tar shards (WebDataset)", _OPTIONS - {"link"} | {"shard_size"}),
    "labelme": Format("labelme", "a JSON file beside each picture (LabelMe)", frozenset({"link"}), divides="nothing"),
    "hf": Format("huggingface", "an image folder with masks (Hugging Face datasets)", _OPTIONS),
    "anomalib": Format("anomalib", "MVTec AD's tree (Anomalib)", _OPTIONS, divides="test"),
}
"""Every format by the name that the command line has for it."""


def exporter(name: str) -> Exporter:
    """The module of a format.

    Raises:
        SettingsError: no format has this name.
    """
    if name not in FORMATS:
        raise SettingsError(f"format {name!r} found, one of {', '.join(FORMATS)} expected")
    return cast(Exporter, import_module(f"{__name__}.{FORMATS[name].module}"))
