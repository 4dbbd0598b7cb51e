"""Anomalib export -> masks, by its data modules MVTecAD and Folder."""

import sys
from pathlib import Path

import numpy as np
from anomalib.data import Folder, MVTecAD

folder, result = map(Path, sys.argv[1:])
module = MVTecAD(root=folder, category="tile", num_workers=0, val_split_mode="none")
module.setup()
masks = {}
for dataset in (module.train_data, module.test_data):
    for item in dataset:
        size = item.image.shape[-2:]
        mask = np.zeros(size) if item.gt_mask is None else item.gt_mask.numpy()
        masks[Path(item.image_path).stem] = mask
own = Folder(
    name="tile",
    root=folder / "tile",
    normal_dir="train/good",
    abnormal_dir=["test/crack", "test/stain"],
    mask_dir=["ground_truth/crack", "ground_truth/stain"],
    num_workers=0,
    val_split_mode="none",
)
own.setup()
for item in own.test_data:
    key = Path(item.image_path).stem
    if item.gt_mask is not None and not np.array_equal(item.gt_mask.numpy(), masks[key]):
        raise SystemExit(f"{key}: Folder gives another mask than MVTecAD")
np.savez(result, **masks)
