"""YOLO export -> masks, by the data set that Ultralytics trains segmentation on."""

import sys
from pathlib import Path

import numpy as np
from ultralytics.cfg import get_cfg
from ultralytics.data import build_yolo_dataset
from ultralytics.data.utils import check_det_dataset

folder, result = map(Path, sys.argv[1:])
data = check_det_dataset(folder / "data.yaml")
if data["names"] != {0: "crack", 1: "stain"}:
    raise SystemExit(f"classes {data['names']}")
settings = get_cfg(overrides={"task": "segment", "imgsz": 64, "mask_ratio": 1, "overlap_mask": False})
masks = {}
for split in ("train", "val"):
    dataset = build_yolo_dataset(settings, data[split], batch=1, data=data, mode="val", rect=False)
    for i in range(len(dataset)):
        sample = dataset[i]
        key = Path(sample["im_file"]).stem
        masks[key] = sample["masks"].numpy().astype(int).sum(axis=0)
        if set(sample["cls"].flatten().tolist()) - ({int(key) % 2} if key.isdecimal() else set()):
            raise SystemExit(f"{key}: classes {sample['cls']}")
np.savez(result, **masks)
