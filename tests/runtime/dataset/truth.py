"""Photographs with anomalies that are known exactly; masks by pycocotools, which shares nothing with the importers."""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as pycocotools_mask

WIDTH, HEIGHT = 480, 360


COLOURS = {"scratch": (255, 0, 0), "dent": (0, 128, 255)}


@dataclass(frozen=True)
class Marked:
    """A picture, the type of its anomaly and the anomaly's outline."""

    name: str
    title: str
    outline: np.ndarray

    @property
    def mask(self):
        return raster([self.outline])


def raster(outlines, width=WIDTH, height=HEIGHT):
    """Outlines -> (H, W) bool, by pycocotools."""
    codes = pycocotools_mask.frPyObjects([outline.ravel().tolist() for outline in outlines], height, width)
    return pycocotools_mask.decode(pycocotools_mask.merge(codes)).astype(bool)


def blob(x, y, radius, waves, points=60):
    """A wavy outline, (n, 2)."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    reach = radius * (1 + 0.25 * np.sin(waves * angle))
    return np.round(np.stack((x + reach * np.cos(angle), y + reach * np.sin(angle)), axis=1), 2)


TRUTH = (
    Marked("a1", "scratch", blob(200.5, 170.25, 120, 3)),
    Marked("a2", "dent", blob(300.0, 200.0, 110, 5)),
    Marked("a3", "scratch", blob(150.75, 150.5, 100, 2)),
)


NORMALS = ("n1", "n2")


def photograph(seed, width=WIDTH, height=HEIGHT):
    """A smooth picture of its own, so that none equals another."""
    noise = np.random.default_rng(seed).integers(60, 200, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def write_photographs(folder, marked=TRUTH, suffix=".jpg"):
    folder.mkdir(parents=True, exist_ok=True)
    for i, one in enumerate(marked):
        photograph(i).save(folder / f"{one.name}{suffix}")


def write_normals(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(NORMALS):
        photograph(100 + i).save(folder / f"{name}.jpg")


def dump(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def save_mask(path, mask):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(path)


def png(mask):
    stream = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(stream, "PNG")
    return stream.getvalue()


def folder_of(path):
    """All files below a folder with their bytes."""
    return {file.relative_to(path): file.read_bytes() for file in Path(path).rglob("*") if file.is_file()}


def edit(file, **fields):
    """Change fields of a JSON file."""
    dump(file, json.loads(file.read_text()) | fields)


def shapes(file, *drawn):
    """Give a LabelMe file these shapes: (label, kind, points) each."""
    edit(file, shapes=[{"label": label, "points": points, "shape_type": kind} for label, kind, points in drawn])


def iou(one, other):
    """Intersection over union of two masks."""
    return (one & other).sum() / (one | other).sum()
