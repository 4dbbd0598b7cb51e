"""Folders as `seas-gen` writes them, made by hand: small pictures, a known mask in each."""

import json

import numpy as np
from PIL import Image

TYPES = ("crack", "hole", "stain")
SETTINGS = {"product": "tile", "defects": TYPES, "count": 12, "batch": 4, "shard": (0, 1)}


def square(index, side):
    """The mask of pair `index`: (side, side) bool, a square of 3 to 6 pixels that wanders with the index."""
    mask = np.zeros((side, side), dtype=bool)
    wide = 3 + index % 4
    top, left = index % (side - 6), (3 * index) % (side - 6)
    mask[top : top + wide, left : left + wide] = True
    return mask


def picture(index, side, seed=0):
    """The picture of pair `index`: (side, side, 3) uint8, grey noise, bright and coloured where its mask is."""
    noise = np.random.default_rng((seed, index)).integers(60, 120, (side, side, 1), dtype=np.uint8)
    pixels = np.repeat(noise, 3, axis=2)
    pixels[square(index, side)] = (250, 200, index % 256)
    return pixels


def names(index):
    defect = TYPES[index % 3]
    return f"tile/test/{defect}/{index:06d}.png", f"tile/ground_truth/{defect}/{index:06d}_mask.png"


def line(index, side=16, /, **more):
    image, mask = names(index)
    return {
        "index": index,
        "defect": TYPES[index % 3],
        "file_name": image,
        "mask_file_name": mask,
        "seed": 0,
        "attempt": 0,
        "normal": 1,
        "area": int(square(index, side).sum()),
        "bbox": [0, 0, 1, 1],
        "verdict": "ok",
    } | more


def write_pair(out, index, side=16):
    for name, pixels in zip(names(index), (picture(index, side), square(index, side)), strict=True):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels if pixels.ndim == 3 else pixels.astype(np.uint8) * 255).save(out / name)


def append(out, *lines):
    with (out / "metadata.jsonl").open("a") as stream:
        stream.writelines(json.dumps(one) + "\n" for one in lines)


def write_run(out, count=12, side=16, **settings):
    """A finished run of `count` pairs."""
    out.mkdir(parents=True)
    record = {
        "command": ["seas-gen"],
        "settings": SETTINGS | {"count": count} | settings,
        "backend": {},
        "versions": {},
    }
    (out / "run.json").write_text(json.dumps(record))
    for index in range(count):
        write_pair(out, index, side)
    append(out, *(line(index, side) for index in range(count)))
    return out


def write_training(folder, count=6, side=16):
    """Real anomalies in MVTec AD layout: those of pairs 100 and on, so none is a generated one."""
    for index in range(100, 100 + count):
        image, mask = (folder / "/".join(name.split("/")[1:]) for name in names(index))
        for path, pixels in ((image, picture(index, side, seed=1)), (mask, square(index, side))):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels if pixels.ndim == 3 else pixels.astype(np.uint8) * 255).save(path)
    (folder / "test" / "good").mkdir(exist_ok=True)
    Image.fromarray(picture(0, side)).save(folder / "test" / "good" / "000.png")
    return folder


def decided(out):
    """The lines of review.jsonl."""
    return [json.loads(text) for text in (out / "review.jsonl").read_text().splitlines()]
