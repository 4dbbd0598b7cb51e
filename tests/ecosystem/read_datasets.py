"""Hugging Face export -> masks, by a plain load_dataset."""

import sys
from pathlib import Path

import numpy as np
from datasets import load_dataset

folder, result = map(Path, sys.argv[1:])
data = load_dataset("imagefolder", data_dir=str(folder))
if set(data) != {"train", "validation"}:
    raise SystemExit(f"splits {set(data)}")
if set(data["train"].features) != {"image", "mask", "defect", "class", "area", "bbox", "index", "normal"}:
    raise SystemExit(f"columns {data['train'].features}")
masks, normals = {}, 0
for split in data.values():
    for row in split:
        mask = np.asarray(row["mask"])
        if row["image"].size != row["mask"].size or (mask > 0).sum() != row["area"]:
            raise SystemExit(f"pair {row['index']} does not fit together")
        normals += row["index"] < 0
        masks[f"normal_{normals}" if row["index"] < 0 else f"{row['index']:06d}"] = mask
np.savez(result, **masks)
