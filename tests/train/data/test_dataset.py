"""Files -> tensors: every image mode, masks against a brute-force loop, symmetries, random streams."""

import zlib
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from seas_runtime.errors import DataError
from seas_train.data.dataset import (
    ImageSet,
    augment,
    draw,
    load_image,
    load_mask,
    resize_mask,
    step_generator,
)
from seas_train.data.layouts import Record

SIDE = 16
masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40))


def flat(path: Path, mode: str, colour: object, **options: object) -> Path:
    Image.new(mode, (SIDE, SIDE), colour).save(path, **options)
    return path


def levels(path: Path) -> list[float]:
    """The colour of a one-coloured image in levels of 0 to 255, after loading at another size."""
    image = load_image(path, 5)
    assert image.shape == (3, 5, 5)
    assert image.dtype == torch.float32
    (colour,) = {tuple(pixel) for pixel in ((image + 1) * 127.5).flatten(1).T.tolist()}
    return pytest.approx(colour, abs=1e-3)


@pytest.mark.parametrize(
    ("suffix", "mode", "colour", "expected"),
    [
        ("png", "1", 1, [255, 255, 255]),
        ("png", "L", 200, [200, 200, 200]),
        ("png", "RGB", (10, 100, 250), [10, 100, 250]),
        ("bmp", "RGB", (10, 100, 250), [10, 100, 250]),
        ("png", "I;16", 257 * 77, [77, 77, 77]),
        ("tif", "I;16", 65535, [255, 255, 255]),
        ("tif", "I;16B", 257 * 40 + 128, [40, 40, 40]),  # 128 / 257 rounds down, 129 / 257 up
        ("tif", "I;16", 257 * 40 + 129, [41, 41, 41]),
        ("tif", "I", 257 * 9, [9, 9, 9]),
        ("png", "LA", (80, 255), [80, 80, 80]),
        ("png", "LA", (80, 0), [255, 255, 255]),
        ("png", "RGBA", (0, 100, 200, 51), [204, 224, 244]),  # a fifth of the colour, four fifths of white
        ("tif", "CMYK", (0, 255, 255, 0), [255, 0, 0]),
    ],
)
def test_modes(tmp_path: Path, suffix: str, mode: str, colour: object, expected: list[float]) -> None:
    assert expected == levels(flat(tmp_path / f"x.{suffix}", mode, colour))


def test_palette_with_and_without_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (SIDE, SIDE), 1)
    image.putpalette([0, 0, 0, 30, 60, 90])
    image.save(tmp_path / "plain.png")
    image.save(tmp_path / "clear.png", transparency=bytes([255, 0]))
    assert levels(tmp_path / "plain.png") == [30, 60, 90]
    assert levels(tmp_path / "clear.png") == [255, 255, 255]


@pytest.mark.parametrize(("mode", "colour"), [("F", 0.5), ("I", 70000), ("I", -1)])
def test_depths_without_a_meaning_are_refused(tmp_path: Path, mode: str, colour: float) -> None:
    path = flat(tmp_path / "x.tif", mode, colour)
    with pytest.raises(DataError, match=r"x\.tif: holds .*expected .*save it as"):
        load_image(path, 8)


def test_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = flat(tmp_path / "x.png", "L", 9)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"x\.png: is too large"):
        load_image(path, 8)


def test_range_channels_and_size_kept(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "x.png")
    expected = values.transpose(2, 0, 1) / 127.5 - 1
    np.testing.assert_allclose(load_image(tmp_path / "x.png", 7), expected, atol=1e-6)


def test_resizing_is_antialiased(tmp_path: Path) -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    Image.fromarray(stripes).save(tmp_path / "x.png")
    assert load_image(tmp_path / "x.png", 8).abs().max() < 0.1  # every second column would be all black or white


@pytest.mark.parametrize("tag", range(1, 9))
def test_exif_orientation_turns_image_and_mask_alike(tmp_path: Path, tag: int) -> None:
    # EXIF 2.3, tag 274: what undoes each stored orientation, in NumPy.
    undo = [
        lambda a: a,
        np.fliplr,
        lambda a: np.rot90(a, 2),
        np.flipud,
        lambda a: np.swapaxes(a, 0, 1),
        lambda a: np.rot90(a, -1),
        lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
        np.rot90,
    ][tag - 1]
    stored = np.zeros((6, 6), np.uint8)
    stored[0, 1:4] = stored[1, 1] = 255
    exif = Image.Exif()
    exif[274] = tag
    Image.fromarray(stored).save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(load_mask(tmp_path / "x.png", 6)[0], undo(stored) / 255)
    np.testing.assert_array_equal(load_image(tmp_path / "x.png", 6)[1], undo(stored) / 127.5 - 1)


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
@pytest.mark.filterwarnings("error")
def test_truncated_files_are_named(tmp_path: Path, suffix: str, keep: float) -> None:
    path = tmp_path / f"x.{suffix}"
    noise = np.random.default_rng(1).integers(0, 256, (40, 40), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    for load in (load_image, load_mask):
        with pytest.raises(DataError, match=rf"x\.{suffix}: ") as caught:
            load(path, 8)
        assert caught.value.exit_code == 3
        assert "\n" not in caught.value.format_message()


def test_a_colour_profile_cut_short_behind_the_pixels_is_named(tmp_path: Path) -> None:
    """Pillow meets it with an IndexError."""
    path = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(path)
    data, body = path.read_bytes(), b"iCCPx\0"
    chunk = (2).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    path.write_bytes(data[:-12] + chunk + data[-12:])  # IEND is the last 12 bytes
    with pytest.raises(DataError, match=r"a\.png: cannot be read"):
        load_image(path, 8)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
@pytest.mark.filterwarnings("error")
def test_damaged_bytes_are_read_or_refused_but_never_crash(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    rng = np.random.default_rng(2)
    Image.fromarray(rng.integers(0, 256, (20, 20), dtype=np.uint8)).save(path)
    whole = path.read_bytes()
    refused = 0
    for _ in range(150):
        data = bytearray(whole)
        for place in rng.integers(0, min(len(data), 200), 3):
            data[place] = rng.integers(256)
        path.write_bytes(data)
        try:
            load_image(path, 4)
        except DataError:  # anything else fails the test
            refused += 1
    assert refused > 10


@pytest.mark.parametrize(
    ("suffix", "mode", "ground", "anomaly"),
    [
        ("png", "1", 0, 1),
        ("png", "L", 0, 255),
        ("png", "L", 0, 1),
        ("png", "I;16", 0, 65535),
        ("png", "I;16", 0, 255),
        ("tif", "I", 0, 1),
        ("png", "RGB", (0, 0, 0), (255, 255, 255)),
        ("png", "RGBA", (0, 0, 0, 255), (255, 255, 255, 255)),
        ("png", "LA", (255, 0), (255, 255)),
        ("png", "P", 0, 255),
        ("tif", "CMYK", (0, 0, 0, 255), (0, 0, 0, 0)),
    ],
)
def test_mask_modes(tmp_path: Path, suffix: str, mode: str, ground: object, anomaly: object) -> None:
    image = Image.new(mode, (6, 4), ground)
    if mode == "P":
        image.putpalette([level for level in range(256) for _ in "rgb"])
    image.putpixel((5, 1), anomaly)
    image.putpixel((0, 3), anomaly)
    image.save(tmp_path / f"x.{suffix}")
    expected = torch.zeros(1, 12, 12)  # 4 rows and 6 columns to 12: pixels of 3 x 2
    expected[0, 3:6, 10:12] = 1
    expected[0, 9:12, 0:2] = 1
    loaded = load_mask(tmp_path / f"x.{suffix}", 12)
    assert loaded.dtype == torch.float32
    assert torch.equal(loaded, expected)


@pytest.mark.parametrize(
    ("mode", "colour", "message"),
    [
        ("L", 0, "the mask is empty"),
        ("L", 254, "holds the values 254, expected only 0 and 255"),
        ("I;16", 256, "holds the values 256, expected only 0 and 255"),
        ("RGB", (255, 0, 0), "the mask is coloured, expected only 0 and 255"),
        ("RGBA", (255, 255, 255, 0), "the mask is empty"),
    ],
)
def test_masks_that_are_none(tmp_path: Path, mode: str, colour: object, message: str) -> None:
    path = flat(tmp_path / "x.png", mode, colour)
    with pytest.raises(DataError, match=rf"x\.png: {message}|x\.png: the mask {message}"):
        load_mask(path, 8)


def coverage(mask: np.ndarray, size: int) -> np.ndarray:
    """Share of each cell that the anomaly covers, by a loop over pieces that divide pixels and cells."""
    fine = np.repeat(np.repeat(mask, size, axis=0), size, axis=1)  # every pixel in size x size pieces
    height, width = mask.shape
    share = np.empty((size, size))
    for i in range(size):
        for j in range(size):
            share[i, j] = fine[i * height : (i + 1) * height, j * width : (j + 1) * width].mean()
    return share


@given(masks, st.integers(1, 40))
def test_resized_mask_never_vanishes_nor_appears_from_nothing(mask: np.ndarray, size: int) -> None:
    resized = resize_mask(mask, size)
    assert resized.shape == (size, size)
    assert resized.any() == mask.any()
    assert not resized[coverage(mask, size) == 0].any()


@given(masks, st.integers(1, 40))
@settings(max_examples=200)
def test_shrunk_mask_is_the_cells_at_least_half_as_covered_as_their_neighbours(mask: np.ndarray, size: int) -> None:
    size = min(size, *mask.shape)
    share = coverage(mask, size)
    expected = np.zeros((size, size), bool)
    for i in range(size):
        for j in range(size):
            around = share[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].max()
            expected[i, j] = 0 < share[i, j] >= around / 2 - 1e-12
    np.testing.assert_array_equal(resize_mask(mask, size), expected)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(4, 40))
def test_edge_of_a_large_anomaly_is_where_half_of_a_cell_is_covered(row: int, column: int, cells: int) -> None:
    mask = np.zeros((100, 100), bool)
    mask[row:, column:] = True  # a corner to the border: each cell beside it is wholly covered
    share = coverage(mask, cells)
    edges = np.ones((cells, cells), bool)
    edges[: -(-row * cells // 100), : -(-column * cells // 100)] = False  # the corner cell is the product of two sides
    np.testing.assert_array_equal(resize_mask(mask, cells)[edges], (share >= 0.5)[edges])


@given(hnp.arrays(bool, st.integers(1, 8).map(lambda side: (side, side))), st.integers(1, 5))
def test_mask_by_integer_factors(mask: np.ndarray, factor: int) -> None:
    side = len(mask)
    np.testing.assert_array_equal(resize_mask(mask, side * factor), np.kron(mask, np.ones((factor, factor))))
    np.testing.assert_array_equal(resize_mask(np.kron(mask, np.ones((factor, factor))) > 0, side), mask)


@given(masks, st.integers(1, 40))
def test_grown_mask_takes_the_nearest_pixel(mask: np.ndarray, size: int) -> None:
    size = max(size, *mask.shape)
    height, width = mask.shape
    expected = np.empty((size, size), bool)
    for i in range(size):
        for j in range(size):
            expected[i, j] = mask[(2 * i + 1) * height // (2 * size), (2 * j + 1) * width // (2 * size)]
    np.testing.assert_array_equal(resize_mask(mask, size), expected)


@pytest.mark.parametrize(("side", "size"), [(1024, 128), (512, 64), (1000, 64)])
@pytest.mark.parametrize("shape", ["spot", "line", "diagonal", "specks"])
def test_tiny_anomalies_survive(side: int, size: int, shape: str) -> None:
    mask = np.zeros((side, side), bool)
    area = round(0.0002 * side * side)  # 0.02 %
    first, root = int(0.3 * side) + 3, round(area**0.5)
    along = np.arange(min(area, side // 2))
    if shape == "spot":
        mask[first : first + root, first : first + root] = True
    elif shape == "line":
        mask[first, first : first + len(along)] = True
    elif shape == "diagonal":
        mask[first + along, first + along] = True
    else:  # four pixels far apart, and an anomaly a hundred times as large as all of them
        mask[[9, 9, -9, -9], [9, -9, 9, -9]] = True
        mask[first : first + 10 * root, first : first + 10 * root] = True
    resized = resize_mask(mask, size)
    share = coverage_of(mask, size)
    assert not resized[share == 0].any()
    if shape == "specks":
        corners = resized[[0, 0, -1, -1], [0, -1, 0, -1]] | resized[[1, 1, -2, -2], [1, -2, 1, -2]]
        assert corners.all()
    elif shape == "diagonal":  # in one piece: from each marked cell to the next, rows and columns grow by one at most
        rows, columns = np.nonzero(resized)
        assert (np.diff(np.unique(rows)) == 1).all()
        assert (np.diff(np.unique(columns)) == 1).all()
        assert len(np.unique(rows)) >= len(along) * size // side - 1
    else:
        touched = share > 0
        assert resized.sum() >= max(1, mask.sum() * size * size // (side * side))
        assert resized.sum() <= touched.sum()


def coverage_of(mask: np.ndarray, size: int) -> np.ndarray:
    """Pixels of each cell, pixel by pixel; a pixel across a border counts for each of its cells."""
    side = len(mask)
    share = np.zeros((size, size))
    for row, column in np.argwhere(mask):
        for i in {row * size // side, ((row + 1) * size - 1) // side}:
            for j in {column * size // side, ((column + 1) * size - 1) // side}:
                share[i, j] += 1
    return share


@given(st.integers(0, 2**31), st.integers(1, 6))
def test_augment_moves_image_and_mask_alike(seed: int, side: int) -> None:
    image = torch.arange(3.0 * side * side).reshape(3, side, side)
    moved, moved_mask = augment(image, image[:1] * 7, torch.Generator().manual_seed(seed))
    symmetries = [np.rot90(base, k, (1, 2)) for base in (image.numpy(), image.numpy()[:, :, ::-1]) for k in range(4)]
    assert any(np.array_equal(moved, symmetry) for symmetry in symmetries)
    assert torch.equal(moved_mask, moved[:1] * 7)


def test_augment_reaches_all_eight_symmetries_alike() -> None:
    image = torch.arange(4.0).reshape(1, 2, 2)
    generator = torch.Generator().manual_seed(0)
    seen = [tuple(augment(image, image, generator)[0].flatten().tolist()) for _ in range(1600)]
    counts = [seen.count(symmetry) for symmetry in set(seen)]
    assert len(counts) == 8
    assert max(abs(count - 200) for count in counts) < 66  # five standard deviations, sqrt(1600 * 7) / 8


def test_image_set(tmp_path: Path) -> None:
    normal = flat(tmp_path / "n.png", "L", 100)
    image = flat(tmp_path / "a.png", "RGB", (1, 2, 3))
    mask = Image.new("L", (SIDE, SIDE), 0)
    mask.putpixel((3, 2), 255)
    mask.save(tmp_path / "a_mask.png")
    records = [Record(normal), Record(image, tmp_path / "a_mask.png", "dent")]
    held = ImageSet(records, SIDE)
    assert held.records == tuple(records)
    for file in (normal, image, tmp_path / "a_mask.png"):
        file.unlink()  # all is in memory
    assert len(held) == 2
    plain, nothing = held[0]
    torch.testing.assert_close(plain, torch.full((3, SIDE, SIDE), 100 / 127.5 - 1))
    assert torch.equal(nothing, torch.zeros(1, SIDE, SIDE))
    coloured, marked = held[1]
    assert coloured[:, 0, 0].tolist() == pytest.approx([1 / 127.5 - 1, 2 / 127.5 - 1, 3 / 127.5 - 1])
    assert marked.dtype == torch.float32
    assert marked.nonzero().tolist() == [[0, 2, 3]]


def test_image_set_names_a_broken_file(tmp_path: Path) -> None:
    broken = tmp_path / "b.png"
    broken.write_bytes(flat(tmp_path / "a.png", "L", 5).read_bytes()[:50])
    with pytest.raises(DataError, match=r"b\.png: "):
        ImageSet([Record(tmp_path / "a.png"), Record(broken)], 8)


def test_draw_is_uniform_with_replacement() -> None:
    generator = step_generator(3, 4)
    drawn = draw(5, 10_000, generator)
    assert max(abs(drawn.count(i) - 2000) for i in range(5)) < 200  # five standard deviations of 40
    assert draw(1, 3, generator) == [0, 0, 0]


def test_step_generators_repeat_and_differ() -> None:
    def first(seed: int, step: int) -> int:
        return int(torch.randint(2**62, (), generator=step_generator(seed, step)))

    places = [(seed, step) for seed in (0, 1, 2, 2**32, 2**40) for step in range(300)]
    values = [first(*place) for place in places]
    assert values == [first(*place) for place in places]
    assert len(set(values)) == len(values)


def test_neighbouring_steps_are_independent() -> None:
    noise = torch.stack([torch.randn(2000, generator=step_generator(0, step)) for step in range(30)])
    correlation = torch.corrcoef(noise) - torch.eye(30)
    assert correlation.abs().max() < 5.5 / 2000**0.5


def test_step_generator_is_numpys_seed_sequence() -> None:
    child = np.random.SeedSequence(7).spawn(6)[5]  # spawning numbers the children: the sixth is step 5
    expected = torch.Generator().manual_seed(int(child.generate_state(1, np.uint64)[0]))
    assert torch.equal(torch.rand(9, generator=step_generator(7, 5)), torch.rand(9, generator=expected))
