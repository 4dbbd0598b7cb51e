"""`seas-train check`: the table against counts by hand, every kind of problem, exit codes, and the data options."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from seas_runtime.errors import DataError
from seas_train.cli import main
from seas_train.data.check import check, inspect
from seas_train.data.layouts import read, scan
from tests.train.data import trees
from tests.train.data.trees import TREES, mask, photograph, save


def call(*words: object) -> Result:
    return CliRunner().invoke(main, ["check", *map(str, words)])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return trees.mvtec(tmp_path)


def test_table(root: Path) -> None:
    mask(root / "ground_truth/broken_small/001_mask.png", side=12)
    mask(root / "ground_truth/broken_small/002_mask.png", side=1)
    photograph(root / "test/contamination/001.png", 40, 16)
    mask(root / "ground_truth/contamination/001_mask.png", height=40, width=16)
    result = call(root)
    assert result.exit_code == 0
    assert result.stderr == ""
    first, _, header, *rows, _, last = result.stdout.splitlines()
    assert (first, last) == ("bottle (mvtec)", "problems: 0, warnings: 0")
    assert header.split() == ["type", "images", "size", "mask", "area", "%:", "min", "median", "max"]
    pixels = 32 * 24 / 100  # one per cent of an image
    area, large, small = (f"{side * side / pixels:.3g}" for side in (6, 12, 1))
    assert [" ".join(row.split()) for row in rows] == [
        "normal 4 32 x 24",
        "normal (test) 2 32 x 24",
        f"broken_large 3 32 x 24 {area} {area} {area}",
        f"broken_small 3 32 x 24 {small} {area} {large}",
        f"contamination 3 16 x 40 to 32 x 24 (2 sizes) {area} {area} {36 / 6.4:.3g}",
    ]


def test_every_problem_is_told_at_once(root: Path) -> None:
    truth, test = root / "ground_truth", root / "test"
    (truth / "broken_large/000_mask.png").unlink()
    mask(truth / "broken_large/777_mask.png")
    mask(truth / "broken_large/001_mask.png", height=32, width=24)
    mask(truth / "broken_small/000_mask.png", level=0)
    save(truth / "broken_small/001_mask.png", np.full((24, 32), 255))
    save(
        truth / "broken_small/002_mask.png",
        np.full((24, 32), 255) - 255 * (np.arange(32) % 3 == 0) - 5 * (np.arange(32) == 1),
    )
    (test / "contamination/000.png").write_bytes((test / "contamination/000.png").read_bytes()[:300])
    mask(truth / "good/001_mask.png")
    (test / "rust").mkdir()
    shutil.copy(test / "contamination/001.png", root / "train/good/000.png")
    result = call(root)
    assert result.exit_code == 3
    told = [line.removeprefix("Problem: ") for line in result.stdout.splitlines() if line.startswith("Problem: ")]
    expected = [
        (test / "broken_large/000.png", "has no mask"),
        (truth / "broken_large/777_mask.png", "has no image"),
        (test / "rust", "holds no image"),
        (truth / "broken_large/001_mask.png", "the mask is 24 x 32 pixels, expected 32 x 24"),
        (truth / "broken_small/000_mask.png", "the mask is empty"),
        (truth / "broken_small/001_mask.png", "the mask is full"),
        (truth / "broken_small/002_mask.png", "the mask holds the values 0, 250, 255"),
        (test / "contamination/000.png", "cannot be read"),
        (test / "contamination/001.png", "contamination, shows the same as"),
        (truth / "good/001_mask.png", "marks an anomaly on a normal image"),
    ]
    assert len(told) == len(expected)
    for line, (path, what) in zip(told, expected, strict=True):
        assert line.startswith(f"{path}: {what}")
    assert result.stderr == f"Error: {root}: problems found (10), expected none; fix them and check again\n"
    with pytest.raises(DataError) as caught:
        check(scan(root))
    assert caught.value.message == told[0]


def test_the_same_picture_under_two_labels_is_a_problem_under_one_a_warning(root: Path) -> None:
    with Image.open(root / "train/good/001.png") as image:
        image.save(root / "test/good/009.bmp")  # other bytes, the same pixels
    result = call(root)
    assert result.exit_code == 0
    assert f"Warning: {root / 'test/good/009.bmp'}: shows the same as {root / 'train/good/001.png'}" in result.stdout
    shutil.copy(root / "train/good/001.png", root / "test/broken_small/002.png")
    result = call(root)
    assert result.exit_code == 3
    assert (
        f"Problem: {root / 'test/broken_small/002.png'}: broken_small, shows the same as {root / 'train/good/001.png'}, normal"
        in result.stdout
    )


def test_equal_bytes_of_other_sizes_are_no_duplicates(root: Path) -> None:
    save(root / "train/good/000.png", np.zeros((24, 32, 3)))
    save(root / "train/good/001.png", np.zeros((32, 24, 3)))
    assert inspect(read(root)).warnings == ()


def test_a_type_of_one_image_is_a_warning(root: Path) -> None:
    for i in (1, 2):
        (root / f"test/contamination/00{i}.png").unlink()
        (root / f"ground_truth/contamination/00{i}_mask.png").unlink()
    result = call(root)
    assert result.exit_code == 0
    assert f"Warning: {root}: the defect type contamination has a single image" in result.stdout
    assert result.stdout.endswith("problems: 0, warnings: 1\n")


def test_names_that_no_bundle_takes_are_warnings(root: Path) -> None:
    (root / "test/broken_small").rename(root / "test/empty")
    (root / "ground_truth/broken_small").rename(root / "ground_truth/empty")
    root = root.rename(root.with_name("Gehäuse"))
    result = call(root)
    assert result.exit_code == 0
    assert "the product will not be exported: 'Gehäuse' cannot name a folder" in result.stdout
    assert "the defect type will not be exported: a defect type cannot be called 'empty'" in result.stdout


def test_nothing_that_is_a_product_is_an_error_without_a_table(tmp_path: Path) -> None:
    for words in ([tmp_path / "none"], [tmp_path], [tmp_path, "--layout", "mvtec3d"]):
        result = call(*words)
        assert (result.exit_code, result.stdout) == (3, "")
        assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("layout", TREES)
def test_command_on_every_layout(tmp_path: Path, layout: str) -> None:
    root = TREES[layout](tmp_path)
    result = call(root)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{root.name} ({layout})\n")
    assert call(root, "--layout", layout).stdout == result.stdout


def test_three_folders_in_place_of_a_product(tmp_path: Path) -> None:
    root = trees.folders(tmp_path)
    words = ["--anomalies", root / "anomalies", "--masks", root / "masks", "--normals", root / "normals"]
    result = call(*words)
    assert result.exit_code == 0
    assert result.stdout == call(root).stdout
    for usage, said in (
        ([], "no --anomalies and no --masks and no --normals given, expected the folder DATA or all of"),
        (words[:4], "no --normals given, expected the folder DATA or all of"),
        ([root, *words], f"DATA ({root}) and --anomalies given, expected one of them"),
        ([*words, "--layout", "visa"], "--layout visa and --anomalies given, expected DATA"),
    ):
        result = call(*usage)
        assert (result.exit_code, result.stdout) == (2, "")
        assert said in result.stderr
        assert result.stderr.count("\n") == 1


def test_progress_counts_images(root: Path) -> None:
    ticks: list[int] = []
    inspect(read(root), ticks.append)
    assert ticks == [1] * (4 + 2 + 9)
