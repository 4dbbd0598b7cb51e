"""YOLO-seg: a text file beside each picture with a polygon for each connected piece of its mask, and `data.yaml`.

Ultralytics resizes a polygon, cuts decimals off and draws with OpenCV, borders included. Outlines with the inset come out of
that as the very masks, and enlarged by a fraction better than any other (IoU 0.997 for a large ring, 0.992 with a tiny inset).
"""

from __future__ import annotations

import json

from seas_runtime.dataset.exporters.job import Job
from seas_runtime.dataset.pictures import Item
from seas_runtime.dataset.shapes.outlines import outline
from seas_runtime.dataset.shapes.pieces import pieces

INSET = 3 / 8
DATA = """{heading}# Ultralytics:  yolo segment train data=data.yaml model=yolo11n-seg.pt imgsz={side}
# A line of labels/SPLIT/KEY.txt is an object, a connected piece of a mask: its class and a polygon (x and y as shares of the
# width and height), holes joined to it. A file without lines belongs to a normal picture.
train: images/train
val: images/{val}{warning}
names:
{names}
"""
WARNING = "  # nothing was held out (--val), so figures measured here say nothing"


def write(job: Job) -> None:
    """Write the pictures, labels and `data.yaml`, which is the README, too."""
    numbers = {name: i for i, name in enumerate(job.data.classes)}
    side = 0
    for split, records in job.splits.items():
        for record, item in job.items(records):
            job.write_image(f"images/{split}/{record.key}.png", item)
            number = numbers[record.defect] if record.defect else 0
            job.write(
                f"labels/{split}/{record.key}.txt",
                "".join(f"{number} {polygon}\n" for polygon in _polygons(item)),
            )
            side = max(side, item.width, item.height)
    held_out = "val" in job.splits
    data = DATA.format(
        heading="".join(f"# {line}\n" for line in job.heading().splitlines() if line),
        side=-(-side // 32) * 32,  # a multiple of the largest stride
        val="val" if held_out else "train",
        warning="" if held_out else WARNING,
        names="\n".join(f"  {number}: {json.dumps(name)}" for name, number in numbers.items()),
    )
    job.write("data.yaml", data)


def _polygons(item: Item) -> list[str]:
    scale = (item.width, item.height)
    return [" ".join(f"{share:.7f}" for share in (outline(p, INSET) / scale).ravel()) for p in pieces(item.mask)]
