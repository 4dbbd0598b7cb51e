"""MMSegmentation export -> masks, by the data sets of the config that comes with it."""

import importlib
import sys
from pathlib import Path
from unittest import mock

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

sys.modules["mmcv.ops"] = mock.MagicMock()  # compiled operators of models, which mmcv-lite has not; data need none
importlib.import_module("mmseg.datasets")
folder, result = map(Path, sys.argv[1:])
config = Path("mine.py")
config.write_text(f"_base_ = [{str(folder / 'seas_dataset.py')!r}]\n")
init_default_scope("mmseg")
masks = {}
for part in ("train", "val"):
    options = Config.fromfile(config)[f"{part}_dataloader"].dataset
    options.pipeline = [step for step in options.pipeline if step.type != "RandomFlip"]
    dataset = DATASETS.build(options)
    if dataset.metainfo["classes"] != ("background", "crack", "stain"):
        raise SystemExit(f"classes {dataset.metainfo['classes']}")
    for sample in dataset:
        key = Path(sample["data_samples"].img_path).stem
        masks[key] = sample["data_samples"].gt_sem_seg.data.numpy()[0]
        if set(np.unique(masks[key])) - ({0, 1 + int(key) % 2} if key.isdecimal() else {0}):
            raise SystemExit(f"{key}: classes {np.unique(masks[key])}")
np.savez(result, **masks)
