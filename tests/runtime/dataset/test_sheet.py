"""Contact sheets: positions and pixels worked out by hand."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seas_runtime.dataset.sheet import from_dataset, overlay, sheet
from seas_runtime.errors import OutputError

GREY = (100, 100, 100)


def square(colour: tuple[int, int, int], side: int = 8) -> Image.Image:
    return Image.new("RGB", (side, side), colour)


def test_overlay_tints_the_mask_lines_its_border_and_leaves_the_rest() -> None:
    mask = np.zeros((9, 9), np.uint8)
    mask[4, 4] = 255
    seen = np.asarray(overlay(square(GREY, 9), Image.fromarray(mask))).astype(int)
    expected = np.full((9, 9, 3), 100)
    expected[3:6, 3:6] = (255, 32, 32)
    expected[4, 4] = (146, 80, 80)  # 0.7 * 100 + 0.3 * (255, 32, 32) = 146.5, 79.6, 79.6
    assert np.abs(seen - expected).max() <= 1


def test_overlay_refuses_a_mask_of_another_size() -> None:
    with pytest.raises(OutputError, match="expected one size"):
        overlay(square(GREY), Image.new("L", (4, 4)))


def test_cells_stand_where_the_docstring_says() -> None:
    seen = sheet([[square((255, 0, 0)), square((0, 255, 0))], [square((0, 0, 255))]], side=8)
    assert seen.size == (4 + 2 * 12, 4 + 2 * 12)
    assert seen.getpixel((4, 4)) == (255, 0, 0)
    assert seen.getpixel((16, 11)) == (0, 255, 0)
    assert seen.getpixel((4, 16)) == (0, 0, 255)
    assert seen.getpixel((16, 16)) == (255, 255, 255)


def test_each_line_of_text_moves_the_cells_down_by_its_height() -> None:
    seen = sheet([[square((1, 2, 3))], [square((4, 5, 6))]], side=8, headings=["one"], labels=["", "two"])
    assert seen.size == (16, 28 + 2 * 14)
    assert seen.getpixel((4, 4 + 14)) == (1, 2, 3)
    assert seen.getpixel((4, 4 + 12 + 2 * 14)) == (4, 5, 6)


def test_a_sheet_of_nothing_is_an_error() -> None:
    with pytest.raises(OutputError, match="no picture"):
        sheet([[]])


def written(root: Path, count: int) -> None:
    for folder in ("bottle/test/crack", "bottle/ground_truth/crack"):
        (root / folder).mkdir(parents=True)
    for i in range(count):
        square((10 * i, 0, 0)).save(root / f"bottle/test/crack/{i:06}.png")
        Image.new("L", (8, 8), 0).save(root / f"bottle/ground_truth/crack/{i:06}_mask.png")


def test_a_data_set_gives_images_over_overlays(tmp_path: Path) -> None:
    written(tmp_path, 3)
    seen = from_dataset(tmp_path, columns=2, side=8)
    assert seen.size == (4 + 2 * 12, 4 + 2 * 12 + 14)
    for top in (18, 30):
        assert [seen.getpixel((x, top)) for x in (4, 16)] == [(0, 0, 0), (10, 0, 0)]


def test_the_surest_come_first_and_the_unknown_last(tmp_path: Path) -> None:
    written(tmp_path, 4)
    known = {f"bottle/test/crack/{i:06}.png": value for i, value in ((0, 0.0), (2, 0.9), (3, 0.4))}
    seen = from_dataset(tmp_path, columns=4, side=8, agreement=known)
    assert [seen.getpixel((4 + 12 * column, 18))[0] for column in range(4)] == [20, 30, 0, 10]


def test_a_data_set_without_images_or_masks_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="found no image"):
        from_dataset(tmp_path)
    written(tmp_path, 1)
    (tmp_path / "bottle/ground_truth/crack/000000_mask.png").unlink()
    with pytest.raises(OutputError, match=r"000000_mask\.png"):
        from_dataset(tmp_path)
