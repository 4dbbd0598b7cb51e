"""Draw one image-mask pair, or write a whole data set in the MVTec AD layout."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seas_runtime.errors import OutputError, SettingsError
from seas_runtime.files import TEMPORARY_SUFFIX
from seas_runtime.staging import replaced, settle
from seas_train.data.demo.bottle_defects import BOTTLE
from seas_train.data.demo.canvas import Canvas, lerp
from seas_train.data.demo.nut import NUT
from seas_train.data.demo.product import Palette, Product, blend
from seas_train.data.demo.tile import TILE

PRODUCTS: dict[str, Product] = {"bottle": BOTTLE, "tile": TILE, "nut": NUT}

_SENSOR_NOISE = 0.008
_canvas = lru_cache(maxsize=4)(Canvas)


def draw(
    product: str,
    defect: str | None,
    size: int,
    rng: np.random.Generator,
    palette: Palette | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw one piece, whole (`defect` None) or damaged.

    The piece and the sensor noise depend on the state of `rng` alone: the same state with another defect, or
    none, gives the same piece, and the images differ only inside the masks and their one-pixel soft edge.

    Args:
        product: a key of `PRODUCTS`.
        defect: a defect type of that product, or None.
        size: side in pixels, 64 to 1024.
        rng: source of everything random; four draws are taken from it.
        palette: the production line; the product's own when None.

    Returns:
        image (size, size, 3) uint8 RGB; mask (size, size) uint8, 255 where the defect covers half a pixel.

    Raises:
        SettingsError: unknown product or defect, or a size out of range.
    """
    line = _product(product)
    if defect is not None and defect not in line.defects:
        known = ", ".join(line.defects)
        raise SettingsError(f"unknown defect {defect!r} of product {product!r}: choose one of {known}")
    if not 64 <= size <= 1024:
        raise SettingsError(f"size is {size}: choose one from 64 to 1024")
    piece, damage, noise, _ = (np.random.default_rng(int(key)) for key in rng.integers(0, 2**63, 4))
    canvas, palette = _canvas(size), palette or line.house
    scene = line.paint(canvas, palette, piece)
    picture, mask = scene.picture, np.zeros((size, size), np.uint8)
    if defect is not None:
        found = line.defects[defect](canvas, palette, scene, damage)
        cover = np.zeros(picture.shape[:2], np.float32)
        cover[found.area] = found.cover
        mask[canvas.reduce(cover) >= 0.5] = 255
        cover *= canvas.spread(_grown(mask > 0))  # no sliver too thin for the mask may show
        picture[found.area] = lerp(picture[found.area], found.picture, cover[found.area])
    image = canvas.reduce(picture) + _grain(size, noise)
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8), mask


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask and the eight neighbours of each of its pixels."""
    padded = np.pad(mask, 1)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    return np.asarray(rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:])


def _grain(size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(size, size, 3) sensor noise: mostly brightness, a little colour."""
    brightness = rng.standard_normal((size, size, 1), np.float32) * np.float32(_SENSOR_NOISE)
    return brightness + rng.standard_normal((size, size, 3), np.float32) * np.float32(_SENSOR_NOISE / 2)


def vary(product: str, variety: float, rng: np.random.Generator) -> Palette:
    """A production line `variety` (0 the house's own, 1 anything) away from the product's own.

    Raises:
        SettingsError: unknown product, or a variety outside 0..1.
    """
    if not 0 <= variety <= 1:
        raise SettingsError(f"variety is {variety}: choose one from 0 to 1")
    line = _product(product)
    return blend(line.house, line.wild(rng), variety)


def write(
    out: Path,
    product: str = "bottle",
    size: int = 128,
    *,
    normals: int = 60,
    per_defect: int = 20,
    test_normals: int = 20,
    seed: int = 0,
    variety: float = 0.0,
) -> None:
    """Write a data set in the MVTec AD layout below `out`/`product`.

    The data set appears whole or not at all. Image i of a split depends on the settings and i, not on the
    counts: larger counts extend smaller ones.

    Args:
        out: a folder that is missing or empty.
        product: a key of `PRODUCTS`.
        size: side in pixels, 64 to 1024.
        normals: images in train/good.
        per_defect: image-mask pairs of each defect type.
        test_normals: images in test/good.
        seed: 0 or more.
        variety: 0 one production line, 1 every piece from another one.

    Raises:
        SettingsError: a setting that does not exist or is out of range; nothing is written.
        OutputError: `out` is a file, is not empty, or cannot be written.
    """
    line = _product(product)
    _check(size=size, normals=normals, per_defect=per_defect, test_normals=test_normals, seed=seed)
    vary(product, variety, np.random.default_rng(0))
    splits: list[tuple[str, str | None, int]] = [
        ("train/good", None, normals),
        ("test/good", None, test_normals),
    ]
    splits += [(f"test/{defect}", defect, per_defect) for defect in line.defects]
    stream = _Stream(product, size, seed, variety)
    try:
        settle(out / product)
        _require_empty(out)
        out.mkdir(parents=True, exist_ok=True)
        with replaced(out / product) as fresh:
            for split, defect, count in splits:
                _write_split(fresh, split, defect, count, stream)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}; choose another folder") from error


@dataclass(frozen=True)
class _Stream:
    """The numbered images of one product line."""

    product: str
    size: int
    seed: int
    variety: float

    def pair(self, split: str, defect: str | None, index: int) -> tuple[Image.Image, Image.Image]:
        """Image and mask number `index` of `split`."""
        key = zlib.crc32(f"{self.product}/{split}".encode())
        rng = np.random.default_rng([self.seed, key, index])
        palette = vary(self.product, self.variety, rng)
        image, mask = draw(self.product, defect, self.size, rng, palette)
        return Image.fromarray(image), Image.fromarray(mask)


def _write_split(root: Path, split: str, defect: str | None, count: int, stream: _Stream) -> None:
    images, masks = root / split, root / "ground_truth" / str(defect)
    images.mkdir(parents=True, exist_ok=True)
    if defect is not None:
        masks.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        image, mask = stream.pair(split, defect, index)
        image.save(images / f"{index:03d}.png")
        if defect is not None:
            mask.save(masks / f"{index:03d}_mask.png")


def _product(name: str) -> Product:
    if name not in PRODUCTS:
        raise SettingsError(f"unknown product {name!r}: choose one of {', '.join(PRODUCTS)}")
    return PRODUCTS[name]


def _check(size: int, **counts: int) -> None:
    if not 64 <= size <= 1024:
        raise SettingsError(f"size is {size}: choose one from 64 to 1024")
    for name, value in counts.items():
        if value < 0:
            raise SettingsError(f"{name} is {value}: choose 0 or more")


def _require_empty(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file: name a folder that is missing or empty")
    if out.is_dir() and any(not entry.name.endswith(TEMPORARY_SUFFIX) for entry in out.iterdir()):
        raise OutputError(f"{out} is not empty: name a folder that is missing or empty")
