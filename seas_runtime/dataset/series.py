"""The two series that a run writes, pairs and normal images: their journals, their plans, their files, their lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from seas_runtime.dataset.records import Line
from seas_runtime.sampling.pairs import NORMAL, Pair
from seas_runtime.sampling.recipe import Plan
from seas_runtime.settings import Settings


class Series(Protocol):
    """What the writer must know of a series.

    Attributes:
        metadata: the journal of what is in place.
        refused: the journal of what the gate gave up.
        asked: the option that says how many there are to be.
        noun: what one of them is called.
    """

    metadata: str
    refused: str
    asked: str
    noun: str

    def plan(self, settings: Settings) -> Plan:
        """Which of them a run makes, in which batches."""

    def folders(self, settings: Settings) -> Iterator[str]:
        """Where their pictures lie, relative to the run's folder."""

    def files(self, settings: Settings, index: int) -> tuple[str, ...]:
        """The pictures of one of them, its image first, relative to the run's folder."""

    def line(self, settings: Settings, pair: Pair) -> Line:
        """What the journal says of one that is in place."""


class PairSeries:
    """Pairs: `test/TYPE/000123.png` and `ground_truth/TYPE/000123_mask.png`."""

    metadata, refused, asked, noun = "metadata.jsonl", "refused.jsonl", "count", "pair"

    def plan(self, settings: Settings) -> Plan:
        """See `Series`."""
        return settings.plan()

    def folders(self, settings: Settings) -> Iterator[str]:
        """See `Series`."""
        for defect in settings.defects:
            yield f"{settings.product}/test/{defect}"
            yield f"{settings.product}/ground_truth/{defect}"

    def files(self, settings: Settings, index: int) -> tuple[str, ...]:
        """See `Series`."""
        product, defect = settings.product, settings.defects[index % len(settings.defects)]
        return (f"{product}/test/{defect}/{index:06d}.png", f"{product}/ground_truth/{defect}/{index:06d}_mask.png")

    def line(self, settings: Settings, pair: Pair) -> Line:
        """See `Series`."""
        image, mask = self.files(settings, pair.index)
        return {
            "index": pair.index,
            "defect": pair.defect,
            "file_name": image,
            "mask_file_name": mask,
            "seed": pair.seed,
            "attempt": pair.attempt,
            "normal": pair.normal,
            "area": pair.area,
            "bbox": pair.bbox,
            "agreement": round(pair.agreement, 4),
            "verdict": pair.verdict,
        }


class NormalSeries:
    """Normal images: `train/good/000123.png`. No gate looks at them, so none is refused."""

    metadata, refused, asked, noun = "normals.jsonl", "normals_refused.jsonl", "normals", "normal image"

    def plan(self, settings: Settings) -> Plan:
        """See `Series`."""
        return settings.normal_plan()

    def folders(self, settings: Settings) -> Iterator[str]:
        """See `Series`."""
        yield f"{settings.product}/train/{NORMAL}"

    def files(self, settings: Settings, index: int) -> tuple[str, ...]:
        """See `Series`."""
        return (f"{settings.product}/train/{NORMAL}/{index:06d}.png",)

    def line(self, settings: Settings, pair: Pair) -> Line:
        """See `Series`."""
        return {
            "index": pair.index,
            "defect": NORMAL,
            "file_name": self.files(settings, pair.index)[0],
            "seed": pair.seed,
            "attempt": pair.attempt,
            "normal": pair.normal,
        }


PAIRS, NORMALS = PairSeries(), NormalSeries()
SERIES: tuple[Series, ...] = (PAIRS, NORMALS)
