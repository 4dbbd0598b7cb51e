"""A folder as `seas-gen` writes it, with masks of one's choice, and masks that are hard to write down."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

SETTINGS = {
    "product": "tile",
    "digest": "ab" * 32,
    "backend": "cpu",
    "defects": ["crack", "stain"],
    "count": 8,
    "seed": 0,
    "batch": 4,
    "shard": [0, 1],
    "steps": 5,
    "guidance": 2.0,
    "threshold": 0.5,
    "mask_steps": 2,
    "min_area": 1,
    "max_area": 0.8,
    "retries": 3,
}


def masks() -> dict[str, np.ndarray]:
    """Masks (30, 40) bool by what is hard about them."""
    y, x = np.mgrid[:30, :40]
    radius = np.hypot(x - 20, y - 15)
    chance = np.random.default_rng(0).random((30, 40))
    staircase = np.zeros((30, 40), bool)
    staircase[range(25), range(5, 30)] = True
    return {
        "disc": radius < 11,
        "ring": (radius < 12) & (radius > 7),
        "island in a ring": ((radius < 13) & (radius > 8)) | (radius < 3),
        "two pieces": ((x < 6) & (y < 5)) | ((x > 30) & (y > 22)),
        "pixels meeting at corners": staircase,
        "checkerboard": (x + y) % 2 == 0,
        "one pixel": (x == 17) & (y == 3),
        "a column to the lower border, and on": (x == 3) | ((x == 4) & (y < 4)),
        "everything": np.ones((30, 40), bool),
        "sieve": (x % 3 > 0) | (y % 4 > 0),
        "noise": chance < 0.5,
        "porous": chance > 0.1,
    }


def write(
    out: Path,
    marks: list[np.ndarray],
    settings: dict | None = None,
    normals: int = 0,
    normal_shape: tuple[int, int] = (20, 24),
) -> Path:
    """Pairs of these masks (H, W) bool, types in turn, and normal pictures."""
    settings = SETTINGS | (settings or {})
    noise = np.random.default_rng(1)
    lines = []
    for index, mask in enumerate(marks):
        defect = settings["defects"][index % len(settings["defects"])]
        line = {
            "index": index,
            "defect": defect,
            "file_name": f"{settings['product']}/test/{defect}/{index:06d}.png",
            "mask_file_name": f"{settings['product']}/ground_truth/{defect}/{index:06d}_mask.png",
            "seed": 2**63 + 1,
            "attempt": 0,
            "normal": index % 3,
            "area": int(mask.sum()),
            "bbox": [0, 0, 1, 1],
            "verdict": "ok",
        }
        save(out / line["file_name"], noise.integers(0, 256, (*mask.shape, 3), np.uint8))
        save(out / line["mask_file_name"], np.where(mask, 255, 0).astype(np.uint8))
        lines.append(json.dumps(line) + "\n")
    for number in range(normals):
        save(
            out / f"{settings['product']}/train/good/{number:06d}.png",
            noise.integers(0, 256, (*normal_shape, 3), np.uint8),
        )
    (out / "metadata.jsonl").write_text("".join(lines))
    record = {
        "command": ["seas-gen"],
        "settings": settings,
        "backend": {"name": "cpu"},
        "versions": {"seas": "0.1.0"},
        "licence": "CC0-1.0",
    }
    (out / "run.json").write_text(json.dumps(record))
    return out


def save(path: Path, pixels: np.ndarray) -> None:
    """A picture file of these pixels, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def original(out: Path, key: str) -> np.ndarray:
    """The mask (H, W) bool of the pair with this key, as it lies in `out`."""
    (path,) = out.glob(f"*/ground_truth/*/{key}_mask.png")
    return np.asarray(Image.open(path)) > 0


def tree(folder):
    """Bytes of every file by its path."""
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
