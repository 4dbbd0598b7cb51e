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
from seas_train.data.layouts import read, scan, split
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
    table, _, told = result.stdout.partition("\n\nTraining: ")
    (first, _, header, *rows), last = table.splitlines(), told.splitlines()[-1]
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


def lines_of(result: Result, kind: str) -> list[str]:
    return [line.removeprefix(f"{kind}: ") for line in result.stdout.splitlines() if line.startswith(f"{kind}: ")]


def test_what_is_for_training_is_told_by_name_and_number(root: Path) -> None:
    told = lines_of(call(root, "--split", "first", "--normal-count", 3), "Training")
    assert told == [
        *(
            f"1 of 3 {defect} are for training (000.png), 2 are held out (001.png, 002.png); "
            "--train-share 1 takes all, --shots 2 one more"
            for defect in ("broken_large", "broken_small", "contamination")
        ),
        "3 of 4 normal images are for training; --normal-count 4 takes all",
        "by a model of 512 x 512 pixels; a small base that is trained here has 128: see --size 128",
    ]
    told = lines_of(call(root, "--train-share", 1), "Training")
    assert told[0] == "3 of 3 broken_large are for training, none is held out to judge with"
    assert told[-2] == "4 of 4 normal images are for training"
    known = split(read(root), 2 / 3, seed=5)
    names = ", ".join(record.image.name for record in known.train if record.defect == "contamination")
    assert f"2 of 3 contamination are for training ({names})" in call(root, "--train-share", 2 / 3, "--seed", 5).stdout


def test_more_shots_than_images_is_a_problem(root: Path) -> None:
    result = call(root, "--shots", 9)
    assert result.exit_code == 3
    assert ["has 3 images, expected at least 9" in line for line in lines_of(result, "Problem")] == [True]


def test_files_that_are_not_read_are_named_with_the_reason(root: Path) -> None:
    photograph(root / "odd/x.png")
    photograph(root / "test/broken_small/photo.webp")
    (root / ".hidden").write_text("x")
    (root / "ground_truth/contamination/000_mask.png").unlink()  # its image is a problem, and told there
    other, strange = lines_of(call(root), "Left out")
    assert other.startswith("3 files, no image of a kind that is read (png jpg ")
    assert other.endswith(": license.txt, readme.txt, test/broken_small/photo.webp")
    assert strange == "1 file, in no folder of the layout: odd/x.png"


def test_what_an_import_writes_beside_the_pictures_is_not_left_out(root: Path) -> None:
    for name in ("import.json", "titles.json", "odd/titles.json"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("{}")
    (told,) = lines_of(call(root), "Left out")
    assert told.endswith(": license.txt, odd/titles.json, readme.txt")


def test_masks_that_are_mostly_white_look_inverted(root: Path) -> None:
    def invert(number: int) -> None:
        path = root / f"ground_truth/broken_large/{number:03}_mask.png"
        with Image.open(path) as image:
            values = 255 - np.asarray(image)
        save(path, values)

    invert(0)
    assert lines_of(call(root), "Warning") == []
    invert(1)
    (told,) = lines_of(call(root), "Warning")
    assert told.startswith(f"{root}: most masks of broken_large mark more than half of their image (median {100 - 4.6875:.3g} %)")


def test_a_defect_smaller_than_a_latent_cell_is_told_with_figures(root: Path) -> None:
    """Of a square of 6 px the median shortest run is a diagonal of 3: 4.24 of 32 px, 7.95 at 60 and 8.09 at 61."""
    mask(root / "ground_truth/contamination/001_mask.png", side=1)
    assert lines_of(call(root, "--fit", "stretch"), "Warning") == []  # 1 px becomes 16 at 512
    assert [line.split(":")[0] for line in lines_of(call(root, "--fit", "stretch", "--size", 60), "Warning")] == [
        "broken_large", "broken_small", "contamination",
    ]  # fmt: skip
    (told,) = lines_of(call(root, "--fit", "stretch", "--size", 61), "Warning")
    assert told.startswith(
        "contamination: 1 of 3 are narrower than a latent cell (8 pixels) at 61: one of 1 px becomes 1.9 px (001_mask.png); "
    )


def test_names_that_no_bundle_takes_are_problems_before_training(root: Path, tmp_path: Path) -> None:
    (root / "test/broken_small").rename(root / "test/empty")
    (root / "ground_truth/broken_small").rename(root / "ground_truth/empty")
    root = root.rename(root.with_name("Gehäuse"))
    result = call(root)
    assert result.exit_code == 3
    product = "the product could not be exported: 'Gehäuse' cannot name a folder"
    defect = "the defect type could not be exported: a defect type cannot be called 'empty'"
    assert (product in result.stdout, defect in result.stdout) == (True, True)
    words = ["tune", str(root), "--base", "none", "--out", str(tmp_path / "out")]
    named = ["--name", "housing"]
    of_one_type = "found 1 anomaly images for training"  # so its name is passed
    for more, told in (([], product), (named, defect), ([*named, "--defects", "contamination"], of_one_type)):
        result = CliRunner().invoke(main, [*words, *more])
        assert (result.exit_code, told in result.stderr) == (3, True), result.output
    assert not (tmp_path / "out").exists()


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
