"""Small pictures, overlays and masks, against loops over pixels."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from seas_runtime.dataset.review import pictures
from seas_runtime.dataset.review.cache import Cache
from seas_runtime.errors import DataError


def test_an_overlay_fills_the_mask_and_lines_its_outside():
    mask = np.random.default_rng(0).random((9, 13)) > 0.7
    shown = np.asarray(Image.open(io.BytesIO(pictures.overlay_png(mask, 64))).convert("RGBA"))
    assert shown.shape == (9, 13, 4)
    for y in range(9):
        for x in range(13):
            near = mask[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].any()
            alpha = 90 if mask[y, x] else 255 if near else 0
            assert shown[y, x, 3] == alpha
            if alpha:
                assert tuple(shown[y, x, :3]) == (255, 32, 32)


@pytest.mark.parametrize("wide", [1, 2, 40])
def test_a_defect_stays_visible_however_small(wide):
    mask = np.zeros((1000, 2000), dtype=bool)
    mask[500 : 500 + wide, 700 : 700 + wide] = True
    shown = np.asarray(Image.open(io.BytesIO(pictures.overlay_png(mask, 100))).convert("RGBA"))
    assert shown.shape == (50, 100, 4)
    assert (shown[..., 3] == 90).any()
    assert shown[25, 35, 3] > 0


def test_an_empty_mask_lays_nothing_over():
    shown = Image.open(io.BytesIO(pictures.overlay_png(np.zeros((5, 5), dtype=bool), 64))).convert("RGBA")
    assert shown.getextrema()[3] == (0, 0)


def test_masks_come_back_from_their_file():
    mask = np.random.default_rng(1).random((7, 9)) > 0.5
    data = pictures.mask_png(mask)
    assert np.array_equal(pictures.mask_of(pictures.decode(data, "mask")), mask)
    assert set(np.unique(Image.open(io.BytesIO(data)))) == {0, 255}


def test_small_pictures_keep_their_shape():
    assert pictures.small(Image.new("RGB", (400, 200)), 100).size == (100, 50)
    assert pictures.small(Image.new("L", (40, 20)), 100).size == (40, 20)
    assert pictures.small(Image.new("RGBA", (40, 20)), 100).mode == "RGB"


def png_of_size(width, height):
    """A PNG that says it has this size, with next to no data."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        png_of_size(10, 10),
        png_of_size(11_000, 10_000),
        png_of_size(60_000, 60_000),
        b"\x89PNG\r\n\x1a\n",
        b"<svg/>",
    ],
)
def test_a_picture_that_is_none_or_too_large_is_refused(data):
    with pytest.raises(DataError, match=r"some\.png"):
        pictures.decode(data, "some.png")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("data", [b"", b"<svg/>", png_of_size(8_000, 8_000), png_of_size(60_000, 60_000)])
def test_a_browser_is_given_no_such_picture_to_decode(data):
    with pytest.raises(DataError, match=r"some\.png"):
        pictures.check_png(data, "some.png")
    pictures.check_png(png_of_size(700, 700), "some.png")


def test_a_cache_keeps_what_was_used_last():
    cache, made = Cache(10), []

    def get(key, size):
        return cache.get(key, lambda: made.append(key) or bytes(size))

    get("a", 4), get("b", 4), get("a", 4), get("c", 4)
    assert made == ["a", "b", "c"]
    assert cache.size == 8
    get("a", 4)
    assert made == ["a", "b", "c"]
    get("b", 4)
    assert made == ["a", "b", "c", "b"]
    get("huge", 100)
    assert cache.size == 100
