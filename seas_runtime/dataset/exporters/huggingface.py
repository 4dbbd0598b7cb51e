"""Hugging Face: an image folder with a `metadata.jsonl` in each split, so that pictures come with masks and facts.

Splits are found by folder names alone, so no other name may be in the way: pictures are called by numbers, and what
`seas-gen` writes below `test/` is moved.
"""

from __future__ import annotations

import json

from seas_runtime.dataset.exporters.job import Job
from seas_runtime.dataset.exporters.lines import line

FOLDERS = {"train": "train", "val": "validation"}
README = """---
task_categories:
- image-segmentation
pretty_name: {name}
---

{heading}    from datasets import load_dataset
    data = load_dataset("imagefolder", data_dir="PATH OF THIS FOLDER")
    data["train"][0]    # image, mask (0 and 255; black for a normal picture), defect, class, area, bbox, ...

`class` is 0 for normal pictures (`defect` "good"), then {classes}.
"""


def write(job: Job) -> None:
    """Write the pictures, masks, metadata and the dataset card."""
    for split, records in job.splits.items():
        folder = FOLDERS[split]
        lines = []
        for record, item in job.items(records):
            names = {"file_name": f"images/{record.key}.png", "mask_file_name": f"masks/{record.key}.png"}
            job.write_image(f"{folder}/{names['file_name']}", item)
            job.write_mask(f"{folder}/{names['mask_file_name']}", item)
            lines.append(json.dumps(names | line(record, item, job.data.classes), allow_nan=False) + "\n")
        job.write(f"{folder}/metadata.jsonl", "".join(lines))
    readme = README.format(
        name=json.dumps(job.data.facts.settings.product),
        heading=job.heading(),
        classes=", ".join(f"{number} {name}" for number, name in enumerate(job.data.classes, start=1)),
    )
    job.write("README.md", readme)
