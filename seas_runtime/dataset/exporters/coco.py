"""COCO: pictures by split, and one JSON of instances for each; an instance is a connected piece of a mask.

Ids stay when pairs come or go: pair i is picture i + 1, piece n of picture p is annotation p * 1,000,000 + n.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seas_runtime.dataset.exporters.job import Job
from seas_runtime.dataset.pictures import Item
from seas_runtime.dataset.read import Record
from seas_runtime.dataset.shapes.outlines import outline
from seas_runtime.dataset.shapes.pieces import Piece, pieces
from seas_runtime.dataset.shapes.rle import encode
from seas_runtime.errors import DataError

PIECES = 1_000_000  # below which the number of a picture's pieces stays, so that ids are exact in double precision, too
README = """COCO, instance segmentation: train/ and val/ hold the pictures, annotations/ what is on them. An instance is a connected
piece of a mask; a picture without one is normal. {form}

    from pycocotools.coco import COCO
    coco = COCO("annotations/instances_train.json")
    masks = [coco.annToMask(each) for each in coco.loadAnns(coco.getAnnIds())]

    # Detectron2{detectron}
    from detectron2.data.datasets import register_coco_instances
    register_coco_instances("{product}_train", {{}}, "annotations/instances_train.json", "train")
"""
RLE = "Masks are run lengths, so holes are exact."
POLYGONS = "Masks are polygons; holes are joined to them by cuts as wide as nothing, and pycocotools makes the very masks of them."


def write(job: Job) -> None:
    """Write the pictures, annotations and README."""
    for split, records in job.splits.items():
        job.write_json(f"annotations/instances_{split}.json", _instances(job, split, records))
    readme = README.format(
        form=POLYGONS if job.options.polygons else RLE,
        detectron="" if job.options.polygons else ': set cfg.INPUT.MASK_FORMAT = "bitmask"',
        product=job.data.facts.settings.product,
    )
    job.write("README.txt", job.heading() + readme)


def _instances(job: Job, split: str, records: Sequence[Record]) -> dict[str, Any]:
    facts = job.data.facts
    product, licence = facts.settings.product, facts.licence
    numbers = {name: i for i, name in enumerate(job.data.classes, start=1)}
    images, annotations = [], []
    for record, item in job.items(records):
        job.write_image(f"{split}/{record.key}.png", item)
        images.append(_image(record, item, licence))
        annotations += _annotations(record, item, numbers, job.options.polygons)
    return {
        "info": {
            "description": f"{product}, {split}: generated image-mask pairs",
            "version": facts.versions.get("seas", ""),
            "url": "",
            "contributor": f"seas-gen, bundle {facts.settings.digest or 'unknown'}",
        },
        "licenses": [{"id": 1, "name": licence, "url": ""}] if licence else [],
        "categories": [{"id": number, "name": name, "supercategory": product} for name, number in numbers.items()],
        "images": images,
        "annotations": annotations,
    }


def _image(record: Record, item: Item, licence: str) -> dict[str, Any]:
    image = {"id": record.id, "file_name": f"{record.key}.png", "width": item.width, "height": item.height}
    return image | ({"license": 1} if licence else {})


def _annotations(record: Record, item: Item, numbers: dict[str, int], polygons: bool) -> list[dict[str, Any]]:
    found = pieces(item.mask)
    if len(found) >= PIECES:
        raise DataError(f"{record.mask}: {len(found)} pieces found, fewer than {PIECES} expected; leave the pair out")
    return [
        {
            "id": record.id * PIECES + number,
            "image_id": record.id,
            "category_id": numbers[record.defect or ""],
            "segmentation": [_polygon(piece)] if polygons else encode(piece),
            "area": piece.area,
            "bbox": list(piece.box),
            "iscrowd": 0,
        }
        for number, piece in enumerate(found, start=1)
    ]


def _polygon(piece: Piece) -> list[float]:
    corners: list[float] = outline(piece).ravel().tolist()
    return corners
