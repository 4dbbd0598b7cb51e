"""What a run wrote, read back."""

import json

import numpy as np
from PIL import Image


def tree(folder):
    """Every file but run.json, whose command names the folder."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != "run.json"
    }


def lines(folder):
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


def settings(folder):
    return json.loads((folder / "run.json").read_text())["settings"]


def check_pairs(folder):
    """Every line of a pair has its files, every file of a pair its line."""
    named = set()
    for line in lines(folder):
        image, mask = (Image.open(folder / line[key]) for key in ("file_name", "mask_file_name"))
        assert (image.mode, image.size, mask.mode, mask.size) == ("RGB", (8, 8), "L", (8, 8))
        rows, columns = np.nonzero(np.asarray(mask))
        left, top = columns.min(), rows.min()
        assert line["area"] == len(rows) > 0
        assert line["bbox"] == [left, top, columns.max() - left + 1, rows.max() - top + 1]
        assert set(np.unique(mask)) <= {0, 255}
        named |= {line["file_name"], line["mask_file_name"]}
    assert {name for name in tree(folder) if name.endswith(".png") and "/train/" not in name} == named
