"""LabelMe export -> masks, by LabelMe's own file class and rasteriser."""

import json
import sys
from pathlib import Path

import numpy as np
from labelme import utils

folder, result = map(Path, sys.argv[1:])
numbers = {name: i for i, name in enumerate((folder / "labels.txt").read_text().split("\n"), start=1)}
masks = {}
for path in sorted(folder.glob("*.json")):
    if path.name == "export.json":
        continue
    data = json.loads(path.read_text())
    shape = (data["imageHeight"], data["imageWidth"])
    masks[path.stem], _ = utils.shapes_to_label(shape, data["shapes"], numbers)
np.savez(result, **masks)
