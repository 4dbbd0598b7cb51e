from __future__ import annotations

import filecmp
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from seas_runtime.errors import OutputError, SettingsError
from seas_train.data.demo import PRODUCTS, draw, vary, write
from seas_train.data.demo.canvas import Canvas
from seas_train.data.demo.outlines import depth_in, jagged, rounded, stroke

DEFECTS = [(product, defect) for product, line in PRODUCTS.items() for defect in line.defects]


def both(product: str, defect: str, size: int, seed: int, variety: float = 0.0) -> tuple[np.ndarray, ...]:
    """(damaged, whole, mask) of one and the same piece, the images as int."""
    palette = vary(product, variety, np.random.default_rng([seed, 1]))
    image, mask = draw(product, defect, size, np.random.default_rng(seed), palette)
    whole, nothing = draw(product, None, size, np.random.default_rng(seed), palette)
    assert not nothing.any()
    return image.astype(int), whole.astype(int), mask


def box(mask: np.ndarray) -> tuple[int, int]:
    """(longer, shorter) side of the bounding box in pixels."""
    sides = [int(np.ptp(indices)) + 1 for indices in np.nonzero(mask)]
    return max(sides), min(sides)


def grown(mask: np.ndarray) -> np.ndarray:
    """The mask and its eight neighbours, pixel by pixel."""
    padded = np.pad(mask > 0, 1)
    return np.any([np.roll(padded, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)], axis=0)[1:-1, 1:-1]


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_products_and_defects_are_those_of_the_documents() -> None:
    assert {name: set(line.defects) for name, line in PRODUCTS.items()} == {
        "bottle": {"broken_large", "broken_small", "contamination"},
        "tile": {"crack", "oil"},
        "nut": {"scratch", "bent"},
    }


@pytest.mark.parametrize(("product", "defect"), DEFECTS)
@pytest.mark.parametrize("variety", [0.0, 1.0])
def test_only_the_mask_and_its_edge_differ_from_the_whole_piece(product: str, defect: str, variety: float) -> None:
    for seed in range(8):
        image, whole, mask = both(product, defect, 128, seed, variety)
        assert image.shape == (128, 128, 3)
        assert mask.shape == (128, 128)
        assert set(np.unique(mask)) == {0, 255}
        outside = ~grown(mask)
        np.testing.assert_array_equal(image[outside], whole[outside])
        assert np.abs(image - whole)[mask > 0].mean() > 10


@pytest.mark.parametrize("size", [64, 200, 512])
def test_other_sizes_keep_the_promise(size: int) -> None:
    image, whole, mask = both("bottle", "broken_small", size, 3)
    assert image.shape == (size, size, 3)
    np.testing.assert_array_equal(image[~grown(mask)], whole[~grown(mask)])


@pytest.mark.parametrize(
    ("defect", "longer", "shorter"),
    [
        ("broken_large", (26, 64), (14, 64)),
        ("broken_small", (10, 22), (9, 22)),
        ("contamination", (10, 36), (7, 36)),
    ],
)
def test_bottle_defects_have_the_promised_extent(defect: str, longer: tuple[int, int], shorter: tuple[int, int]) -> None:
    sides = [box(draw("bottle", defect, 128, np.random.default_rng(seed))[1]) for seed in range(60)]
    assert all(longer[0] <= side <= longer[1] for side, _ in sides), sides
    assert all(shorter[0] <= side <= shorter[1] for _, side in sides), sides
    assert len(set(sides)) > 10


@pytest.mark.parametrize(("product", "defect"), DEFECTS)
def test_mask_is_the_half_covered_pixels_of_a_finer_drawing(product: str, defect: str) -> None:
    for seed in range(3):
        coarse = draw(product, defect, 64, np.random.default_rng(seed))[1] > 0
        fine = draw(product, defect, 256, np.random.default_rng(seed))[1] > 0
        covered = fine.reshape(64, 4, 64, 4).mean(axis=(1, 3))
        assert coarse[covered > 0.8].all()
        assert not coarse[covered < 0.2].any()


def test_same_state_same_pair_other_state_another() -> None:
    first, second, other = (draw("bottle", "contamination", 96, np.random.default_rng(s)) for s in (5, 5, 6))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert (first[1] != other[1]).any()


@pytest.mark.parametrize("product", PRODUCTS)
def test_variety_spreads_colours_and_one_line_stays_together(product: str) -> None:
    def spread(variety: float) -> float:
        means = []
        for seed in range(12):
            rng = np.random.default_rng(seed)
            palette = vary(product, variety, rng)
            means.append(draw(product, None, 64, rng, palette)[0].mean(axis=(0, 1)))
        return float(np.std(means, axis=0).max())

    assert 0 < spread(0.0) < 10
    assert spread(1.0) > 3 * spread(0.0)


def test_variety_zero_is_the_house_palette() -> None:
    assert vary("bottle", 0.0, np.random.default_rng(1)) == PRODUCTS["bottle"].house
    assert vary("bottle", 1.0, np.random.default_rng(1)) == PRODUCTS["bottle"].wild(np.random.default_rng(1))


def test_write_makes_the_mvtec_layout(tmp_path: Path) -> None:
    write(tmp_path / "out", product="nut", size=64, normals=2, per_defect=1, test_normals=1)
    assert files(tmp_path / "out") == {
        "nut/train/good/000.png",
        "nut/train/good/001.png",
        "nut/test/good/000.png",
        "nut/test/scratch/000.png",
        "nut/test/bent/000.png",
        "nut/ground_truth/scratch/000_mask.png",
        "nut/ground_truth/bent/000_mask.png",
    }
    image = Image.open(tmp_path / "out/nut/test/bent/000.png")
    mask = Image.open(tmp_path / "out/nut/ground_truth/bent/000_mask.png")
    assert (image.mode, image.size, mask.mode, mask.size) == ("RGB", (64, 64), "L", (64, 64))
    assert {value for _, value in mask.getcolors()} == {0, 255}


def test_a_larger_count_extends_a_smaller_one(tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    for name, counts in (("small", (1, 1, 1)), ("large", (3, 2, 2))):
        normals, per_defect, test_normals = counts
        write(
            tmp_path / name,
            size=64,
            normals=normals,
            per_defect=per_defect,
            test_normals=test_normals,
            seed=7,
            variety=0.5,
        )
    common = files(tmp_path / "small")
    assert common < files(tmp_path / "large")
    assert not filecmp.cmpfiles(tmp_path / "small", tmp_path / "large", common, shallow=False)[1]
    pixels = {(tmp_path / "large" / name).read_bytes() for name in files(tmp_path / "large")}
    assert len(pixels) == len(files(tmp_path / "large"))


def test_another_seed_is_another_data_set(tmp_path: Path) -> None:
    for seed in (0, 1):
        write(tmp_path / str(seed), size=64, normals=1, per_defect=0, test_normals=0, seed=seed)
    name = "bottle/train/good/000.png"
    assert (tmp_path / "0" / name).read_bytes() != (tmp_path / "1" / name).read_bytes()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"product": "cup"}, "unknown product 'cup': choose one of bottle, tile, nut"),
        ({"size": 63}, "size is 63: choose one from 64 to 1024"),
        ({"size": 1025}, "size is 1025"),
        ({"normals": -1}, "normals is -1: choose 0 or more"),
        ({"per_defect": -2}, "per_defect is -2"),
        ({"test_normals": -1}, "test_normals is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"variety": 1.5}, "variety is 1.5: choose one from 0 to 1"),
        ({"variety": float("nan")}, "variety is nan"),
    ],
)
def test_bad_settings_are_refused_and_nothing_is_written(bad: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        write(tmp_path / "out", **bad)
    assert caught.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_unknown_defect_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="'dent' of product 'nut': choose one of scratch, bent"):
        draw("nut", "dent", 64, np.random.default_rng(0))


def test_out_that_is_a_file_or_not_empty_is_left_alone(tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("mine")
    for out in (note, tmp_path, note / "below"):
        with pytest.raises(OutputError, match=r"missing or empty|another folder") as caught:
            write(out, size=64, normals=1, per_defect=1, test_normals=1)
        assert caught.value.exit_code == 5
    assert files(tmp_path) == {"note.txt"}
    assert note.read_text() == "mine"


def test_a_failure_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = Image.Image.save

    def disk_full(image: Image.Image, path: Path) -> None:
        if path.name == "001.png":
            raise OSError(28, "No space left on device")
        saved(image, path)

    monkeypatch.setattr(Image.Image, "save", disk_full)
    with pytest.raises(OutputError, match="No space left on device"):
        write(tmp_path / "out", size=64, normals=3, per_defect=1, test_normals=1)
    assert files(tmp_path) == set()


@given(
    cx=st.floats(-3, 3),
    cy=st.floats(-3, 3),
    reach=st.floats(0, 4),
    size=st.integers(64, 150),
    cells=st.integers(1, 40),
)
@settings(max_examples=60, deadline=None)
def test_a_part_is_a_window_of_the_whole(cx: float, cy: float, reach: float, size: int, cells: int) -> None:
    canvas = Canvas(size)
    part = canvas.near(cx, cy, reach)
    field = part.field(np.random.default_rng(2), cells)
    np.testing.assert_array_equal(field, canvas.field(np.random.default_rng(2), cells)[part.area])
    assert field.size > 0
    assert all(edge % 2 == 0 and 0 <= edge <= 2 * size for span in part.area for edge in (span.start, span.stop))
    u, v = canvas.local(cx, cy)
    inside = np.zeros(u.shape, bool)
    inside[part.area] = True
    assert inside[np.maximum(np.abs(u), np.abs(v)) <= reach].all()


def test_reduce_is_the_mean_of_each_pixel() -> None:
    samples = np.random.default_rng(0).random((6, 6, 3), np.float32)
    expected = [[samples[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean(axis=(0, 1)) for j in range(3)] for i in range(3)]
    np.testing.assert_allclose(Canvas(3).reduce(samples), expected, rtol=1e-6)


def test_depth_of_a_round_outline_is_the_distance_to_the_circle() -> None:
    u, v = Canvas(64).local(0.1, -0.2, 0.7)
    x, y = np.meshgrid((np.arange(128) + 0.5) / 64 - 1, (np.arange(128) + 0.5) / 64 - 1)
    np.testing.assert_allclose(depth_in(u, v, np.full(9, 0.6)), 0.6 - np.hypot(x - 0.1, y + 0.2), atol=1e-5)


def test_stroke_is_the_distance_to_the_nearest_point_of_the_line() -> None:
    points = np.array([[-0.5, -0.3], [0.2, 0.1], [0.4, 0.7]])
    dense = np.concatenate([np.linspace(a, b, 400) for a, b in pairwise(points)])
    depth = stroke(Canvas(64), points, np.full(3, 0.05))
    for row, column in ((10, 20), (60, 64), (100, 90), (127, 0)):
        at = (np.array([column, row]) + 0.5) / 64 - 1
        assert depth[row, column] == pytest.approx(0.05 - np.hypot(*(dense - at).T).min(), abs=1e-3)


@given(seed=st.integers(0, 2**32), corners=st.integers(3, 30), rough=st.floats(0.05, 0.6))
@settings(deadline=None)
def test_outlines_reach_one_and_never_fold(seed: int, corners: int, rough: float) -> None:
    teeth, blob = jagged(np.random.default_rng(seed), corners, rough), rounded(np.random.default_rng(seed), rough)
    assert (teeth.max(), blob.max()) == pytest.approx((1, 1))
    assert teeth.min() > 0
    assert blob.min() == pytest.approx(1 - rough)
