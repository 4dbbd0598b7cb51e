"""LabelMe: a JSON file beside each picture, with a polygon for each connected piece of its mask.

LabelMe cuts decimals off and draws with Pillow, borders included; outlines with the inset come out of that as the very masks.
"""

from __future__ import annotations

from typing import Any

from seas_runtime.dataset.exporters.job import Job
from seas_runtime.dataset.pictures import Item
from seas_runtime.dataset.read import Record
from seas_runtime.dataset.shapes.outlines import outline
from seas_runtime.dataset.shapes.pieces import pieces

INSET = 1 / 16
VERSION = "5.5.0"  # of LabelMe, whose files these are
README = """LabelMe (labelme, by Kentaro Wada): KEY.json beside KEY.png. A polygon is a connected piece of a mask, holes
joined to it by a cut; a picture without polygons is normal.

    labelme . --labels labels.txt
"""


def write(job: Job) -> None:
    """Write the pictures, their JSON files, `labels.txt` and the README."""
    for records in job.splits.values():
        for record, item in job.items(records):
            job.write_image(f"{record.key}.png", item)
            job.write_json(f"{record.key}.json", _annotation(record, item))
    job.write("labels.txt", "".join(f"{name}\n" for name in job.data.classes))
    job.write("README.txt", job.heading() + README)


def _annotation(record: Record, item: Item) -> dict[str, Any]:
    return {
        "version": VERSION,
        "flags": {},
        "shapes": [
            {
                "label": record.defect,
                "points": outline(piece, INSET).tolist(),
                "group_id": None,
                "description": "",
                "shape_type": "polygon",
                "flags": {},
                "mask": None,
            }
            for piece in pieces(item.mask)
        ],
        "imagePath": f"{record.key}.png",
        "imageData": None,
        "imageHeight": item.height,
        "imageWidth": item.width,
    }
