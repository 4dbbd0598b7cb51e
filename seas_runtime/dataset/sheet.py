"""Contact sheets: many small pictures in one, for a person to judge."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from seas_runtime.errors import OutputError
from seas_runtime.files import open_regular, write_atomic

GAP = 4
TEXT = 14
RED = (255, 32, 32)
_UNKNOWN: Mapping[str, float] = MappingProxyType({})
Pair = tuple[Image.Image, Image.Image]


def overlay(image: Image.Image, mask: Image.Image) -> Image.Image:
    """Tint what the mask marks and draw a red line around it.

    Args:
        image: any mode.
        mask: same size; at least 128 of 255 counts as marked.

    Returns:
        RGB, same size; pixels more than one away from the mask are unchanged.

    Raises:
        OutputError: the sizes differ.
    """
    if image.size != mask.size:
        raise OutputError(f"found an image of {image.size} and a mask of {mask.size} pixels; expected one size")
    marked = mask.convert("L").point([0] * 128 + [255] * 128)
    line = ImageChops.subtract(marked.filter(ImageFilter.MaxFilter(3)), marked)
    picture = image.convert("RGB")
    tinted = Image.blend(picture, Image.new("RGB", picture.size, RED), 0.3)
    picture.paste(tinted, mask=marked)
    picture.paste(RED, mask=line)
    return picture


def sheet(
    rows: Sequence[Sequence[Image.Image]],
    side: int = 128,
    headings: Sequence[str] = (),
    labels: Sequence[str] = (),
) -> Image.Image:
    """Arrange pictures on a white sheet.

    Args:
        rows: pictures of any size and mode; rows may differ in length.
        side: side of each square cell, pixels.
        headings: a text above each column, or none.
        labels: a text above each row ("" for none there), or none.

    Returns:
        RGB; cell (r, c) begins at x = 4 + c (side + 4), and r (side + 4) below the first, plus 14 for every
        line of text above it.

    Raises:
        OutputError: there is no picture.
    """
    columns = max((len(row) for row in rows), default=0)
    if columns == 0:
        raise OutputError("found no picture for the sheet; expected at least one")
    named = [bool(text) for text in labels] + [False] * (len(rows) - len(labels))
    lines = sum(named) + bool(headings)
    size = (GAP + columns * (side + GAP), GAP + len(rows) * (side + GAP) + lines * TEXT)
    canvas = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(canvas)
    y = GAP
    if headings:
        for column, text in enumerate(headings):
            pen.text((GAP + column * (side + GAP), y - 2), text, fill="black")
        y += TEXT
    for index, row in enumerate(rows):
        if named[index]:
            pen.text((GAP, y - 2), labels[index], fill="black")
            y += TEXT
        for column, picture in enumerate(row):
            canvas.paste(_fit(picture, side), (GAP + column * (side + GAP), y))
        y += side + GAP
    return canvas


def by_type(types: Mapping[str, Sequence[Pair]], side: int = 128) -> Image.Image:
    """Show (image, mask) pairs by defect type: a row of images over a row of the same with their masks.

    Raises:
        OutputError: there is no pair.
    """
    rows: list[list[Image.Image]] = []
    labels: list[str] = []
    for name, pairs in types.items():
        if pairs:
            rows += [[image for image, _ in pairs], [overlay(*pair) for pair in pairs]]
            labels += [name, ""]
    return sheet(rows, side, labels=labels)


def from_dataset(out: Path, columns: int = 8, side: int = 128, agreement: Mapping[str, float] = _UNKNOWN) -> Image.Image:
    """Show what `seas-gen` wrote: for each defect type a row of images over the same with their masks.

    Args:
        out: holds PRODUCT/test/DEFECT/NAME.png and PRODUCT/ground_truth/DEFECT/NAME_mask.png.
        columns: images of each type, the first ones.
        side: side of each picture, pixels.
        agreement: of an image file, its name relative to `out`: greater ones go before lesser ones, and before unknown ones.

    Raises:
        OutputError: there is no such image, or one has no mask or cannot be read.
    """

    def place(path: Path) -> tuple[float, str]:
        return -agreement.get(path.relative_to(out).as_posix(), -1.0), path.name

    types: dict[str, list[Pair]] = {}
    for folder in sorted(path for path in out.glob("*/test/*") if path.is_dir()):
        pairs = [_read_pair(path) for path in sorted(folder.glob("*.png"), key=place)[:columns]]
        types[f"{folder.parent.parent.name}: {folder.name}"] = pairs
    if not any(types.values()):
        raise OutputError(f"{out}: found no image; expected PRODUCT/test/DEFECT/NAME.png, as of seas-gen")
    return by_type(types, side)


def write(out: Path, agreement: Mapping[str, float] = _UNKNOWN) -> Path:
    """Write OUT/sheet.png, what `from_dataset` shows; returns its path.

    Raises:
        OutputError: there is no image, or it cannot be written.
    """
    stream = io.BytesIO()
    from_dataset(out, agreement=agreement).save(stream, "PNG", optimize=True)
    path = out / "sheet.png"
    try:
        write_atomic(path, stream.getvalue())
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}; fix that and run the same command again") from error
    return path


def _read_pair(path: Path) -> Pair:
    mask = path.parents[2] / "ground_truth" / path.parent.name / f"{path.stem}_mask.png"
    return _read(path), _read(mask)


def _read(path: Path) -> Image.Image:
    try:
        with open_regular(path) as stream, Image.open(stream) as image:
            image.load()
            return image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or "damaged or no image"
        raise OutputError(f"{path}: cannot be read ({reason}); generate it again") from None


def _fit(picture: Image.Image, side: int) -> Image.Image:
    larger = side > max(picture.size)
    how = Image.Resampling.NEAREST if larger else Image.Resampling.LANCZOS
    return picture.convert("RGB").resize((side, side), how)
