"""Folders of every known generator, and what is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.quality.pairs import (
    by_type,
    load_pairs,
    read_generated_mask,
    read_pairs,
    require_same_products,
)
from seas_runtime.errors import DataError, SettingsError
from seas_train.data.layouts import Record

SIDE = 16
SQUARE = np.zeros((SIDE, SIDE), dtype=np.uint8)
SQUARE[4:9, 6:12] = 255


def save(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **({"quality": 75} if path.suffix == ".jpg" else {}))
    return path


def photograph(path: Path) -> Path:
    values = np.random.default_rng(len(str(path))).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    return save(path, values)


def mvtec(out: Path) -> None:
    for defect in ("dent", "scratch"):
        for i in range(2):
            photograph(out / "test" / defect / f"{i:06}.png")
            save(out / "ground_truth" / defect / f"{i:06}_mask.png", SQUARE)
    photograph(out / "test" / "good" / "000.png")


def image_mask(out: Path) -> None:
    for defect in ("dent", "scratch"):
        for i in range(2):
            for part in ("image", "ori", "recon", "image-mask"):
                photograph(out / defect / part / f"{i}.jpg")
            save(out / defect / "mask" / f"{i}.jpg", SQUARE)


def dfmgan(out: Path) -> None:
    for defect in ("dent", "scratch"):
        for i in range(2):
            photograph(out / defect / f"{i}_img.png")
            save(out / defect / f"{i}_mask.png", np.stack([SQUARE] * 3, axis=-1))


def flat(out: Path) -> None:
    for defect in ("dent", "scratch"):
        for i in range(2):
            photograph(out / defect / f"{i}.png")


TREES = {"mvtec": mvtec, "image-mask": image_mask, "dfmgan": dfmgan, "images": flat}


@pytest.mark.parametrize("layout", TREES)
def test_each_tree_is_read_as_a_product_and_below_its_products(tmp_path, layout):
    for product in ("bottle", "valve"):
        TREES[layout](tmp_path / product)
    (tmp_path / "run.json").write_text("{}")
    photograph(tmp_path / "sheet.png") if layout != "images" else None
    products = read_pairs(tmp_path)
    assert list(products) == ["bottle", "valve"]
    assert read_pairs(tmp_path / "bottle") == {"bottle": products["bottle"]}
    assert read_pairs(tmp_path, layout) == products
    types = by_type(products["bottle"])
    assert {defect: len(records) for defect, records in types.items()} == {"dent": 2, "scratch": 2}
    for record in products["bottle"]:
        assert record.defect in record.image.parts
        assert (record.mask is None) == (layout == "images")
    loaded = load_pairs(products["bottle"], SIDE)
    assert loaded.images.shape == (4, SIDE, SIDE, 3)
    expected = np.zeros_like(SQUARE, bool) if layout == "images" else SQUARE > 0
    assert (loaded.masks == expected).all()


def test_image_and_mask_folders_may_be_plural(tmp_path):
    image_mask(tmp_path / "bottle")
    singular = read_pairs(tmp_path)["bottle"]
    for defect in ("dent", "scratch"):
        for part in ("image", "mask"):
            (tmp_path / "bottle" / defect / part).rename(tmp_path / "bottle" / defect / f"{part}s")
    plural = read_pairs(tmp_path)["bottle"]
    assert [record.image.name for record in plural] == [record.image.name for record in singular]
    assert {record.mask.parent.name for record in plural} == {"masks"}


@pytest.mark.parametrize("kind", ["image-mask", "dfmgan", "images"])
def test_a_folder_of_a_single_type(tmp_path, kind):
    TREES[kind](tmp_path / "bottle")
    products = read_pairs(tmp_path / "bottle" / "dent")
    assert {name: len(records) for name, records in products.items()} == {"dent": 2}
    assert {record.defect for record in products["dent"]} == {"anomaly"}


def test_images_keep_their_pixels_at_their_own_size(tmp_path):
    path = photograph(tmp_path / "a.png")
    loaded = load_pairs([Record(path)], SIDE)
    assert (loaded.images[0] == np.asarray(Image.open(path))).all()
    assert not loaded.masks.any()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (SQUARE, SQUARE > 0),
        (SQUARE // 255, SQUARE > 0),
        (np.zeros_like(SQUARE), np.zeros_like(SQUARE, bool)),
        (np.full_like(SQUARE, 255), np.ones_like(SQUARE, bool)),
    ],
)
def test_masks_of_two_levels_empty_and_full_ones_too(tmp_path, values, expected):
    assert (read_generated_mask(save(tmp_path / "mask.png", values)) == expected).all()


def transparent(mode, marked):
    """White where `marked`, transparent white elsewhere."""
    if mode == "P":
        image = Image.fromarray(marked.astype(np.uint8), "P")
        image.putpalette([255] * 6)
        image.info["transparency"] = 0
        return image
    image = Image.new(mode, (SIDE, SIDE), "white")
    image.putalpha(Image.fromarray(marked.astype(np.uint8) * 255))
    return image


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
@pytest.mark.parametrize("marked", [SQUARE > 0, np.zeros_like(SQUARE, bool), np.ones_like(SQUARE, bool)])
def test_transparency_marks_nothing(tmp_path, mode, marked):
    path = tmp_path / "mask.png"
    transparent(mode, marked).save(path)
    assert Image.open(path).has_transparency_data
    assert (read_generated_mask(path) == marked).all()


@pytest.mark.parametrize("level", [1, 65535])
def test_a_full_mask_of_16_bits(tmp_path, level):
    assert read_generated_mask(save(tmp_path / "mask.png", np.full((SIDE, SIDE), level, np.uint16))).all()


def test_a_jpeg_mask_is_cut_at_half(tmp_path):
    path = save(tmp_path / "mask.jpg", SQUARE)
    assert len(np.unique(np.asarray(Image.open(path)))) > 2  # the codec blurred it
    assert (read_generated_mask(path) == (SQUARE > 0)).all()


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (SQUARE // 2, "holds the values 0, 127"),
        (np.where(SQUARE > 0, 200, 0).astype(np.uint8), "holds the values 0, 200"),
        (np.linspace(0, 255, SIDE * SIDE).astype(np.uint8).reshape(SIDE, SIDE), "holds the values 0, 1"),
        (np.full_like(SQUARE, 7), "holds the values 7"),
        (np.dstack([SQUARE, SQUARE, SQUARE // 2]), "coloured"),
    ],
)
def test_masks_of_other_values_are_refused(tmp_path, values, found):
    with pytest.raises(DataError, match=found) as caught:
        read_generated_mask(save(tmp_path / "mask.png", values))
    assert caught.value.exit_code == 3
    assert "\n" not in caught.value.message


def test_class_numbers_are_all_anomaly(tmp_path):
    classes = np.zeros_like(SQUARE)
    classes[:3], classes[10:] = 2, 5
    path = save(tmp_path / "mask.png", classes)
    assert (read_generated_mask(path, "classes") == (classes > 0)).all()
    with pytest.raises(DataError, match="holds the values 0, 2, 5"):
        read_generated_mask(path)


def test_a_mask_of_another_size(tmp_path):
    image, mask = photograph(tmp_path / "a.png"), save(tmp_path / "a_mask.png", SQUARE[:, :10])
    with pytest.raises(DataError, match="10 x 16 pixels, expected 16 x 16"):
        load_pairs([Record(image, mask, "dent")], SIDE)


@pytest.mark.parametrize(
    ("layout", "removed", "told"),
    [
        ("mvtec", "ground_truth/dent/000001_mask.png", "000001.png: has no mask"),
        ("mvtec", "test/dent/000001.png", "000001_mask.png: has no image"),
        ("mvtec", "ground_truth", "000000.png: has no mask"),
        ("image-mask", "dent/mask/1.jpg", "1.jpg: has no mask"),
        ("image-mask", "dent/image/1.jpg", "1.jpg: has no image"),
        ("image-mask", "dent/mask", "0.jpg: has no mask"),
        ("dfmgan", "dent/1_mask.png", "1_img.png: has no mask"),
        ("dfmgan", "dent/1_img.png", "1_mask.png: has no image"),
    ],
)
def test_what_is_unpaired_is_named(tmp_path, layout, removed, told):
    product = tmp_path / "bottle"
    TREES[layout](product)
    target = product / removed
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    for folder in (tmp_path, product):
        with pytest.raises(DataError, match=told) as caught:
            read_pairs(folder)
        assert caught.value.exit_code == 3


def test_folders_that_hold_no_pairs(tmp_path):
    for folder, told in ((tmp_path / "missing", "no such folder"), (tmp_path, "no pairs recognised")):
        with pytest.raises(DataError, match=told):
            read_pairs(folder)
    file = photograph(tmp_path / "a.png")
    with pytest.raises(DataError, match="is a file"):
        read_pairs(file)
    (tmp_path / "bottle" / "test").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no pairs"):
        read_pairs(tmp_path / "bottle")
    with pytest.raises(SettingsError, match="unknown layout 'x', expected one of: auto, mvtec"):
        read_pairs(tmp_path, "x")


def test_a_layout_that_does_not_fit(tmp_path):
    mvtec(tmp_path / "bottle")
    with pytest.raises(DataError, match=r"no pairs recognised \(dfmgan\)"):
        read_pairs(tmp_path / "bottle", "dfmgan")


@pytest.mark.parametrize(
    ("generated", "real", "told"),
    [
        ({"bottle": 0}, {"bottle": 0, "nut": 0}, "nut: has no generated pairs"),
        ({"bottle": 0, "nut": 0}, {"bottle": 0}, "nut: has no real images"),
    ],
)
def test_a_product_missing_on_one_side(generated, real, told):
    with pytest.raises(DataError, match=told):
        require_same_products(generated, real)
    require_same_products(generated, generated)
