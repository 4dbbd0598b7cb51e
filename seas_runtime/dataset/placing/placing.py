"""A folder of `seas-gen` -> one in which each picture is the whole photograph with the anomaly on it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from seas_runtime.bundle.manifest import Place
from seas_runtime.dataset.importers.pixels import read as read_picture
from seas_runtime.dataset.importers.pixels import rgb
from seas_runtime.dataset.importers.records import BrokenError
from seas_runtime.dataset.importers.writing import png
from seas_runtime.dataset.lines import PlacedFacts, first_fault
from seas_runtime.dataset.pictures import pixels_of
from seas_runtime.dataset.placing.photographs import Photographs
from seas_runtime.dataset.read import GeneratedSet, Record
from seas_runtime.dataset.records import RUN
from seas_runtime.dataset.series import PAIRS
from seas_runtime.errors import DataError, OutputError
from seas_runtime.files import beside, explained
from seas_runtime.fit import Box, shrunk
from seas_runtime.sampling.background import edge, paste, soft
from seas_runtime.sampling.masks import Mask, area, bounding_box
from seas_runtime.staging import replaced

THREADS = 2  # a photograph of 12 megapixels takes 200 MB on its way
Pixels = NDArray[np.uint8]

UNWRITTEN = "fix that and try again, nothing was written"


@dataclass(frozen=True)
class Placed:
    """What was written: pairs, on how many different photographs.

    generated: backgrounds are none of a photograph; reviewed: all pairs were accepted by a review.
    """

    into: Path
    pairs: int
    photographs: int
    generated: bool
    reviewed: bool = False

    def lines(self) -> Iterator[str]:
        """It in words."""
        into, to = (shlex.quote(str(folder)) for folder in (self.into, beside(self.into, "-coco")))
        then = f"export {into} --to coco --into {to}" if self.reviewed else f"review {into}"
        yield f"{self.into}: {self.pairs} pairs on {self.photographs} photographs; next: seas-data {then}"
        if self.generated:
            yield "their backgrounds were generated, so that edges may be seen; pairs of seas-gen --background real fit in"


def pasted(photograph: Pixels, picture: Pixels, mask: Mask, box: Box) -> tuple[Pixels, Mask]:
    """The photograph (H, W, 3) with the anomaly of a picture on it, and its mask (H, W) of 0 and 255.

    Around the mask the picture goes over into the photograph; further away the photograph stays as it is, to the bit.

    Args:
        photograph: Upright.
        picture: (h, w, 3), of any size.
        mask: (h, w) of 0 and 255.
        box: left, top, width and height of the picture on the photograph; may reach beyond it.
    """
    left, top, *size = box
    across, down = size
    amount = Image.fromarray(soft(mask, edge(max(mask.shape))))
    image, marked = Image.fromarray(picture), mask > 0
    if picture.shape[:2] != (down, across):
        image, amount = image.resize((across, down), Image.Resampling.LANCZOS), amount.resize((across, down))
        marked = shrunk(marked, (across, down))
    first, last = (max(left, 0), max(top, 0)), (min(left + across, photograph.shape[1]), min(top + down, photograph.shape[0]))
    whole, truth = photograph.copy(), np.zeros(photograph.shape[:2], np.uint8)
    if first[0] >= last[0] or first[1] >= last[1]:
        return whole, truth
    there = np.s_[first[1] : last[1], first[0] : last[0]]
    here = np.s_[first[1] - top : last[1] - top, first[0] - left : last[0] - left]
    whole[there] = paste(np.asarray(image)[here], photograph[there], np.clip(np.asarray(amount), 0, 1)[here])
    truth[there] = marked[here] * np.uint8(255)
    return whole, truth


def place(data: GeneratedSet, folder: Path, into: Path, step: Callable[[int], object] = lambda _: None) -> Placed:
    """Write pairs as whole photographs, in the layout of `seas-gen`, so that review and export take them.

    Args:
        data: The pairs; normal pictures among them are passed over.
        folder: Of the photographs.
        into: A new or empty folder, which appears whole or not at all.
        step: Called with 1 after each pair.

    Raises:
        DataError: The run does not say where its pictures lie, a photograph is not there or has another size, a file is damaged.
        OutputError: `into` holds something, or cannot be written.
    """
    _require_new(into)
    facts, text = _facts(data.out)
    jobs = list(_jobs(data, facts, Photographs(folder)))
    with explained(into, UNWRITTEN), replaced(into) as root:
        with ThreadPoolExecutor(THREADS) as pool:
            lines = []
            try:
                for line in pool.map(lambda job: job.write(root), jobs):
                    lines.append(line)
                    step(1)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        (root / PAIRS.metadata).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        record = {**json.loads(text), "placed": {"photographs": len({job.photograph for job in jobs})}}
        (root / RUN).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return Placed(into, len(jobs), len({job.photograph for job in jobs}), facts.settings.background != "real")


@dataclass(frozen=True)
class _Job:
    record: Record
    defect: str
    product: str
    photograph: Path
    place: Place

    def write(self, root: Path) -> dict[str, Any]:
        """Write the pair below `root`; its line."""
        item = self.record.load()
        try:
            photograph = np.asarray(rgb(read_picture(self.photograph)[0]))
        except BrokenError as error:
            raise DataError(f"{self.photograph}: {error}; copy it again") from None
        image, mask = pasted(photograph, pixels_of(item), item.mask, self.place.box)
        if not mask.any():
            raise DataError(
                f"{self.record.image}: its anomaly lies beyond {self.photograph}, expected on it; leave the pair out by a review"
            )
        names = (
            f"{self.product}/test/{self.defect}/{self.record.key}.png",
            f"{self.product}/ground_truth/{self.defect}/{self.record.key}_mask.png",
        )
        for name, values in zip(names, (image, mask), strict=True):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(png(Image.fromarray(values)))
        return {
            **self.record.facts,
            "defect": self.defect,
            "file_name": names[0],
            "mask_file_name": names[1],
            "area": area(mask),
            "bbox": bounding_box(mask),
            "photograph": self.place.file,
            "box": self.place.box,
        }


def _jobs(data: GeneratedSet, facts: PlacedFacts, photographs: Photographs) -> Iterator[_Job]:
    found: dict[int, Path] = {}
    for record in data:
        if record.defect is None:
            continue
        number = record.facts.get("normal")
        if not isinstance(number, int) or not 0 <= number < len(facts.places):
            raise DataError(
                f"{record.image}: its line has the normal image {number!r}, expected one of {len(facts.places)}; generate it again"
            )
        place = facts.places[number]
        if max(place.box[2:]) > max(place.size):
            raise DataError(f"{data.out / RUN}: the box {place.box} is larger than its photograph; generate it again")
        if number not in found:
            found[number] = photographs.find(place)
        yield _Job(record, record.defect, facts.settings.product, found[number], place)


def _facts(out: Path) -> tuple[PlacedFacts, bytes]:
    """What the run says of places, and the text of its record."""
    try:
        text = (out / RUN).read_bytes()
        facts = PlacedFacts.model_validate_json(text)
    except OSError as error:
        raise DataError(f"{out / RUN}: {error.strerror or error}; fix that") from error
    except ValidationError as error:
        raise DataError(f"{out / RUN}: {first_fault(error)}; expected the record of a run, as seas-gen writes it") from error
    if not facts.places:
        raise DataError(
            f"{out}: does not say where on photographs its pictures lie, expected a run of a bundle that knows it; "
            "tune, export and generate again"
        )
    return facts, text


def _require_new(into: Path) -> None:
    with explained(into, UNWRITTEN):
        if into.exists() and (not into.is_dir() or any(into.iterdir())):
            what = "holds files" if into.is_dir() else "is a file"
            raise OutputError(f"{into}: {what}, expected a new or empty folder; give another --into")
