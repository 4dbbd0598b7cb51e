"""MMSegmentation: pictures, and maps of class indices beside them: 0 is background, so normal pictures have black ones."""

from __future__ import annotations

import colorsys

import numpy as np

from seas_runtime.dataset.exporters.job import Job
from seas_runtime.dataset.pictures import encode
from seas_runtime.errors import SettingsError

CLASSES = 254  # besides background; 255 is what MMSegmentation ignores
CONFIG = """# For MMSegmentation 1.x: _base_ = ["PATH/seas_dataset.py"] in a config, and num_classes={count} in its heads.
data_root = "{{{{ fileDirname }}}}"
metainfo = dict(
    classes={classes},
    palette={palette},
)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
test_pipeline = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), dict(type="PackSegInputs")]
"""
LOADER = """{part}_dataloader = dict(
    batch_size={batch},
    num_workers=2,
    sampler=dict(type="{sampler}", shuffle={shuffle}),
    dataset=dict(
        type="BaseSegDataset",
        data_root=data_root,
        metainfo=metainfo,
        data_prefix=dict(img_path="img_dir/{split}", seg_map_path="ann_dir/{split}"),
        img_suffix=".png",
        seg_map_suffix=".png",
        reduce_zero_label=False,
        pipeline={pipeline},
    ),
)
"""
EVALUATORS = 'val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])\ntest_evaluator = val_evaluator\n'
README = """MMSegmentation, and every trainer that takes class indices: img_dir/SPLIT/KEY.png is the picture,
ann_dir/SPLIT/KEY.png its map of class indices, one channel of 8 bits:

{legend}

seas_dataset.py is a config for MMSegmentation 1.x: put _base_ = ["PATH/seas_dataset.py"] in yours.
"""


def write(job: Job) -> None:
    """Write the pictures, maps, config and README.

    Raises:
        SettingsError: more classes than 8 bits hold.
    """
    names = ("background", *job.data.classes)
    if len(names) - 1 > CLASSES:
        raise SettingsError(f"{len(names) - 1} defect types found, at most {CLASSES} expected by mmseg; export to coco")
    for split, records in job.splits.items():
        for record, item in job.items(records):
            job.write_image(f"img_dir/{split}/{record.key}.png", item)
            number = names.index(record.defect) if record.defect else 0
            indices = np.where(item.mask > 0, np.uint8(number), np.uint8(0))
            job.write(f"ann_dir/{split}/{record.key}.png", encode(indices))
    job.write("seas_dataset.py", _config(names, held_out="val" in job.splits))
    legend = "\n".join(f"    {number}  {name}" for number, name in enumerate(names))
    job.write("README.txt", job.heading() + README.format(legend=legend))


def _config(names: tuple[str, ...], held_out: bool) -> str:
    head = CONFIG.format(count=len(names), classes=repr(names), palette=repr(_palette(len(names))))
    train = LOADER.format(
        part="train",
        batch=4,
        sampler="InfiniteSampler",
        shuffle=True,
        split="train",
        pipeline="train_pipeline",
    )
    val = LOADER.format(
        part="val",
        batch=1,
        sampler="DefaultSampler",
        shuffle=False,
        split="val" if held_out else "train",
        pipeline="test_pipeline",
    )
    return head + train + val + "test_dataloader = val_dataloader\n" + EVALUATORS


def _palette(count: int) -> list[list[int]]:
    """Black, and colours far from each other."""
    hues = (colorsys.hsv_to_rgb(number * 0.618034 % 1, 0.8, 1.0) for number in range(count - 1))
    return [[0, 0, 0], *([round(255 * part) for part in hue] for hue in hues)]
