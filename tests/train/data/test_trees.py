"""Every layout on a tree with the exact names of its data set: what is listed, and what is said of damage."""

from pathlib import Path

import numpy as np
import pytest

from seas_runtime.errors import DataError
from seas_train.data.check import check, inspect
from seas_train.data.dataset import ImageSet
from seas_train.data.layouts import LAYOUTS, Product, faultless, read, scan, scan_folders
from tests.train.data import trees
from tests.train.data.trees import TREES, mask, photograph, save, write_csv


def listed(product: Product) -> list[tuple[str, str, str]]:
    return [
        (
            str(r.defect),
            r.image.relative_to(product.root).as_posix(),
            r.mask.relative_to(product.root).as_posix(),
        )
        for r in product.anomalies
        if r.mask is not None
    ]


def names(product: Product) -> tuple[list[str], list[str]]:
    parts = (product.normals, product.test_normals)
    return tuple([r.image.relative_to(product.root).as_posix() for r in part] for part in parts)


def refusal(root: Path, layout: str = "auto") -> str:
    with pytest.raises(DataError) as caught:
        check(read(root, layout))
    assert caught.value.exit_code == 3
    assert "\n" not in caught.value.message
    return caught.value.message


def test_there_is_a_tree_for_every_layout() -> None:
    assert set(TREES) == set(LAYOUTS)


@pytest.mark.parametrize("layout", TREES)
def test_layout_is_found_from_the_tree_and_is_faultless(tmp_path: Path, layout: str) -> None:
    root = TREES[layout](tmp_path)
    product = read(root)
    assert (product.layout, product.root, product.name) == (layout, root, root.name)
    assert product == read(root, layout)
    assert all("single image" in warning for warning in check(product))


@pytest.mark.parametrize("layout", TREES)
def test_masks_are_where_the_anomaly_is(tmp_path: Path, layout: str) -> None:
    product = read(TREES[layout](tmp_path))
    square = np.zeros((96, 96), bool)  # 24 x 32 pixels to 96 x 96: each is 4 cells high and 3 wide
    square[20:44, 21:39] = True
    single = [r for r in product.anomalies if "combined" not in str(r.mask)]
    held = ImageSet(single, 96)
    for i in range(len(held)):
        np.testing.assert_array_equal(held[i][1][0].numpy() > 0, square)
    assert len(held) >= 6


@pytest.mark.parametrize("layout", TREES)
def test_parent_of_a_product_names_it(tmp_path: Path, layout: str) -> None:
    root = TREES[layout](tmp_path)
    assert f"holds the products {root.name}, expected the folder of one product" in refusal(root.parent)


@pytest.mark.parametrize("layout", TREES)
def test_image_without_a_mask(tmp_path: Path, layout: str) -> None:
    product = read(TREES[layout](tmp_path))
    lone = product.anomalies[1]
    assert lone.mask is not None
    lone.mask.unlink()
    message = refusal(product.root)
    assert message.startswith(f"{lone.image}: has no mask, expected {lone.mask.parent}")


@pytest.mark.parametrize("layout", sorted(set(TREES) - {"visa"}))
def test_mask_without_an_image_and_type_without_images(tmp_path: Path, layout: str) -> None:
    product = read(TREES[layout](tmp_path))
    first = product.anomalies[0]
    for record in product.of_type(str(first.defect)):
        record.image.unlink()
    problems = scan(product.root).problems
    assert problems[0].startswith(f"{first.image.parent}: holds no image, expected images of this defect type")
    assert problems[1].startswith(f"{first.mask}: has no image, expected {first.image.parent}/NAME.png for a mask ")
    assert len(problems) == 1 + len(product.of_type(str(first.defect)))
    assert refusal(product.root) == problems[0]


@pytest.mark.parametrize("layout", TREES)
def test_no_normal_images(tmp_path: Path, layout: str) -> None:
    product = read(TREES[layout](tmp_path))
    for record in product.normals:
        record.image.unlink()
    message = refusal(product.root)
    assert "holds no image, expected normal images" in message or "no such file, expected it because" in message


@pytest.mark.parametrize(
    ("layout", "part"),
    [
        ("mvtec3d", "train/good/rgb"),
        ("mvtec3d", "test"),
        ("folders", "normals"),
        ("visa_types", "train/good"),
    ],
)
def test_a_missing_folder_is_named(tmp_path: Path, layout: str, part: str) -> None:
    root = TREES[layout](tmp_path)
    (root / part).rename(root / "elsewhere")
    assert refusal(root).startswith(f"{root / part}: no such folder, expected {LAYOUTS[layout].tree} in {root}")


def test_mvtec3d_takes_colour_images_of_train_and_test(tmp_path: Path) -> None:
    product = read(trees.mvtec3d(tmp_path))
    assert product.defects == ("combined", "contamination", "cut", "hole")
    assert names(product) == (
        [f"train/good/rgb/00{i}.png" for i in range(4)],
        [f"test/good/rgb/00{i}.png" for i in range(2)],
    )
    assert listed(product)[:2] == [
        ("combined", "test/combined/rgb/000.png", "test/combined/gt/000.png"),
        ("contamination", "test/contamination/rgb/000.png", "test/contamination/gt/000.png"),
    ]
    assert [mask.name for mask in product.normal_masks] == ["000.png", "001.png"]


def test_classes_of_a_mask_are_one_anomaly(tmp_path: Path) -> None:
    product = read(trees.mvtec3d(tmp_path))
    _, combined = ImageSet(product.of_type("combined"), 96)[0]
    expected = np.zeros((96, 96), bool)
    expected[8:24, 9:27] = expected[40:56, 9:27] = True  # of two classes
    np.testing.assert_array_equal(combined[0].numpy() > 0, expected)


@pytest.mark.parametrize("layout", ["mvtec", "mvtec3d", "visa_types", "folders"])
def test_a_mask_on_a_normal_image(tmp_path: Path, layout: str) -> None:
    root = TREES[layout](tmp_path)
    where = {"mvtec3d": "test/good/gt/001.png", "folders": "masks/good/IMG_1.png"}.get(
        layout, f"ground_truth/good/001{'_mask' if layout == 'mvtec' else ''}.png"
    )
    mask(root / where, level=0)
    check(read(root))
    mask(root / where)
    assert refusal(root).startswith(f"{root / where}: marks an anomaly on a normal image, expected only 0")


def test_visa_follows_its_lists(tmp_path: Path) -> None:
    product = read(trees.visa(tmp_path))
    normal = "Data/Images/Normal/000"
    assert names(product) == ([f"{normal}{i}.JPG" for i in (0, 1, 3)], [f"{normal}2.JPG"])
    pairs = {0: "chunk_of_wax_missing", 3: "chunk_of_wax_missing", 4: "combined", 5: "combined"}
    pairs |= {1: "different_colour_spot", 2: "weird_candle_wick"}
    assert listed(product) == [
        (defect, f"Data/Images/Anomaly/00{i}.JPG", f"Data/Masks/Anomaly/00{i}.png") for i, defect in pairs.items()
    ]


def test_visa_works_from_inside_the_product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trees.visa(tmp_path))
    product = read(Path())
    check(product)
    assert (product.name, len(product.anomalies)) == ("candle", 6)


def test_visa_says_what_its_lists_miss(tmp_path: Path) -> None:
    root = trees.visa(tmp_path)
    photograph(root / "Data/Images/Normal/0099.JPG")
    (warning,) = scan(root).warnings
    assert warning.startswith(f"{root / 'Data/Images/Normal'}: holds 1 files that")
    assert "0099.JPG" in warning
    labels = (root / "image_anno.csv").read_text().splitlines()
    (root / "image_anno.csv").write_text("\n".join(labels[:-1]) + "\n")
    assert refusal(root).startswith(f"{root / 'Data/Images/Anomaly/005.JPG'}: has no defect type, expected a row in")
    (root / "image_anno.csv").write_text("\n".join(labels).replace(",normal,", ",,"))
    assert "has no label for candle/Data/Images/Normal/" in refusal(root)


def test_visa_mask_on_a_normal_image(tmp_path: Path) -> None:
    root = trees.visa(tmp_path)
    path = root.parent / "split_csv/1cls.csv"
    listed_mask = "candle/Data/Masks/Normal/0001.png"
    path.write_text(path.read_text().replace("Normal/0001.JPG,", f"Normal/0001.JPG,{listed_mask}"))
    mask(root.parent / listed_mask)
    assert refusal(root).startswith(f"{root / 'Data/Masks/Normal/0001.png'}: marks an anomaly on a normal image")


@pytest.mark.parametrize("name", ["split_csv/1cls.csv", "candle/image_anno.csv"])
def test_visa_without_a_usable_list(tmp_path: Path, name: str) -> None:
    root = trees.visa(tmp_path)
    path = root.parent / name
    path.write_text("\ufeff" + path.read_text())  # a byte-order mark does no harm
    assert len(read(root).anomalies) == 6
    path.write_text(path.read_text().replace("label", "kind", 1))
    assert refusal(root).startswith(f"{path}: has no column label, expected ")
    path.write_bytes(b"\xff\xfe\x00")
    assert refusal(root).startswith(f"{path}: cannot be read (")
    path.unlink()
    assert refusal(root).startswith(f"{path}: no such file, expected it as VisA is distributed")


def test_visa_product_under_another_name(tmp_path: Path) -> None:
    root = trees.visa(tmp_path)
    root.rename(root.with_name("my_candle"))
    message = refusal(root.with_name("my_candle"))
    assert "lists nothing for my_candle, expected one of its products (candle, cashew)" in message


def test_visa_without_an_anomaly(tmp_path: Path) -> None:
    root = trees.visa(tmp_path)
    write_csv(
        root.parent / "split_csv/1cls.csv",
        ("object", "split", "label", "image", "mask"),
        [("candle", "train", "normal", "candle/Data/Images/Normal/0000.JPG", "")],
    )
    assert refusal(root).startswith(f"{root}: holds no anomaly image for training")


def test_masks_of_either_name_are_never_both(tmp_path: Path) -> None:
    root = trees.folders(tmp_path)
    mask(root / "masks/dent/IMG_1_mask.png")
    assert refusal(root) == (
        f"{root / 'anomalies/dent/IMG_1.jpg'}: has the masks IMG_1.png and IMG_1_mask.png, expected one; remove one"
    )


def test_visa_types_with_other_mask_names_on_request(tmp_path: Path) -> None:
    root = trees.visa_types(tmp_path)
    for path in sorted((root / "ground_truth").rglob("*.png")):
        path.rename(path.with_name(f"{path.stem}_mask.png"))
    assert "the mask holds the values 0, 4, expected only 0 and 255" in refusal(root)
    product = read(root, "visa_types")
    check(product)
    assert len(product.anomalies) == 9


def test_official_one_class_tree_of_visa(tmp_path: Path) -> None:
    root = trees.visa_types(tmp_path)
    for defect in ("leak", "combined"):
        for part in ("test", "ground_truth"):
            for path in (root / part / defect).iterdir():
                path.unlink()
            (root / part / defect).rmdir()
    for part in ("test", "ground_truth"):
        (root / part / "bubble").rename(root / part / "bad")
    product = read(root)
    assert (product.layout, product.defects) == ("visa_types", ("bad",))


@pytest.mark.parametrize("end", ["", "_mask"])
def test_flat_folders_are_one_type(tmp_path: Path, end: str) -> None:
    for i in range(3):
        photograph(tmp_path / "a" / "bad" / f"{i}.png")
        mask(tmp_path / "m" / f"{i}{end}.png")
        photograph(tmp_path / "good" / f"{i}.png")
    product = scan_folders(tmp_path / "a/bad", tmp_path / "m", tmp_path / "good")
    assert inspect(product).problems == ()
    assert (product.root, product.defects, product.layout) == (tmp_path, ("anomaly",), "folders")
    assert listed(product) == [("anomaly", f"a/bad/{i}.png", f"m/{i}{end}.png") for i in range(3)]
    assert names(product) == ([f"good/{i}.png" for i in range(3)], [])


def test_folders_from_elsewhere_are_the_product_of_the_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = trees.folders(tmp_path)
    monkeypatch.chdir(root)
    product = scan_folders(Path("anomalies"), Path("../valve/masks"), Path("normals"))
    assert (product.name, listed(product)[0][:2]) == ("valve", ("dent", "anomalies/dent/IMG_0.jpg"))
    assert [r.image for r in product.anomalies] == [r.image for r in read(root).anomalies]


def test_folders_half_sorted(tmp_path: Path) -> None:
    root = trees.folders(tmp_path)
    photograph(root / "anomalies/loose.jpg")
    assert refusal(root).startswith(f"{root / 'anomalies'}: holds images and folders (dent, scratch), expected images alone")
    with pytest.raises(DataError, match="none: no such folder, expected a folder of images"):
        scan_folders(root / "anomalies", root / "none", root / "normals")


def test_masks_of_classes_with_many_levels_are_none(tmp_path: Path) -> None:
    root = trees.mvtec3d(tmp_path)
    path = root / "test/cut/gt/001.png"
    save(path, np.arange(24 * 32).reshape(24, 32) % 17)
    assert refusal(root).startswith(f"{path}: the mask holds the 17 values 0, 1, 2, 3, 4, ..., expected 0 and at most 15")
    save(path, np.arange(24 * 32).reshape(24, 32) % 16)
    check(read(root))
    save(path, np.full((24, 32), 254))
    assert refusal(root).startswith(f"{path}: the mask is full, expected a pixel of 0")
    mask(path, level=0)
    assert refusal(root).startswith(f"{path}: the mask is empty")


def test_faultless_tells_the_first_problem(tmp_path: Path) -> None:
    root = trees.mvtec(tmp_path)
    assert faultless(scan(root)) == scan(root)
    for i in range(2):
        (root / f"ground_truth/contamination/00{i}_mask.png").unlink()
    assert len(scan(root).problems) == 2
    with pytest.raises(DataError, match=r"contamination/000\.png: has no mask"):
        faultless(scan(root))
