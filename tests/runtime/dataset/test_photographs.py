"""Photographs: turned by EXIF, in other formats, of other sizes, inside of their annotations, named by foreign paths."""

import base64
import shutil

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.runtime.dataset.truth import HEIGHT, TRUTH, WIDTH, edit, iou, photograph, raster, shapes
from tests.runtime.dataset.written_sources import WRITERS

ONE = TRUTH[0]

TURNS = [(turn, "upright") for turn in range(2, 9)] + [(turn, "stored") for turn in range(5, 9)]


@pytest.mark.parametrize(("orientation", "drawn_on"), TURNS)
def test_a_picture_is_turned_with_its_mask(orientation, drawn_on, source, run, product):
    stored = photograph(7)
    exif = Image.Exif()
    exif[274] = orientation
    stored.save(source / "a1.jpg", exif=exif, quality=95)
    with Image.open(source / "a1.jpg") as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    outline = ONE.outline.copy()
    frame = stored.size
    if drawn_on == "upright":
        outline *= np.array(upright.size) / stored.size
        frame = upright.size
    edit(source / "a1.json", imageWidth=frame[0], imageHeight=frame[1])
    shapes(source / "a1.json", ("scratch", "polygon", outline.tolist()))
    said = run()
    assert "1 picture turned upright" in said
    (name,) = (record["file"] for record in product.record["pictures"] if record["source"] == "a1.jpg")
    written = Image.open(product.root / name)
    assert written.getexif().get(274, 1) == 1
    assert np.array_equal(np.asarray(written), np.asarray(upright))
    expected = raster([outline], *frame)
    if drawn_on == "stored":
        image = Image.fromarray(expected.astype(np.uint8))
        image.getexif()[274] = orientation
        expected = np.asarray(ImageOps.exif_transpose(image)).astype(bool)
    assert iou(product.mask("scratch/a1"), expected) >= 0.995


def test_masks_of_pictures_turned_without_changing_their_sides_are_doubted(tmp_path, run):
    WRITERS["masks"](tmp_path / "source")
    exif = Image.Exif()
    exif[274] = 3
    photograph(0).save(tmp_path / "source/bad/dent/a2.jpg", exif=exif)
    assert "turns without changing its sides, with masks as files" in run(code=3)


@pytest.mark.parametrize(("suffix", "format_"), [(".webp", "WEBP"), (".gif", "GIF"), (".heic", "HEIF")])
def test_other_formats_are_written_as_png(suffix, format_, source, run, product):
    if format_ == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    (source / "a1.jpg").unlink()
    photograph(3).save(source / f"a1{suffix}", format_)
    edit(source / "a1.json", imagePath=f"a1{suffix}")
    run()
    with (
        Image.open(source / f"a1{suffix}") as original,
        Image.open(product.root / "test/scratch/a1.png") as written,
    ):
        assert np.array_equal(np.asarray(original.convert("RGB")), np.asarray(written))


def test_heic_without_its_package_is_named_with_the_mend(source, run, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    (source / "a1.jpg").rename(source / "a1.heic")
    edit(source / "a1.json", imagePath="a1.heic")
    assert 'a1.heic: is HEIC, which needs one more package: pip install "seas-gen[heic]"' in run(code=3)


def test_a_file_is_what_is_in_it_and_not_what_its_name_says(source, run, product):
    (source / "a1.jpg").unlink()
    photograph(3).save(source / "a1.jpg", "PNG")
    run()
    assert product.names("test/scratch") == ["a1.png", "a3.jpg"]


def test_sub_folders_are_read_and_equal_names_kept_apart(source, run, product):
    for folder in ("x", "y/z"):
        (source / folder).mkdir(parents=True)
        for name in ("a1.jpg", "a1.json"):
            shutil.copy(source / name, source / folder / name)
    photograph(50).save(source / "x/a1.jpg")
    run()
    assert product.names("test/scratch") == ["a1.jpg", "a3.jpg", "x_a1.jpg", "y_z_a1.jpg"]
    assert (product.root / "test/scratch/x_a1.jpg").read_bytes() == (source / "x/a1.jpg").read_bytes()


def test_a_picture_inside_of_its_labelme_file_is_taken_out(source, run, product):
    data = (source / "a1.jpg").read_bytes()
    (source / "a1.jpg").unlink()
    edit(source / "a1.json", imageData=base64.b64encode(data).decode())
    assert "1 picture taken out of LabelMe files" in run()
    assert (product.root / "test/scratch/a1.jpg").read_bytes() == data


def test_annotations_drawn_at_another_size_are_scaled(source, run, product):
    edit(source / "a1.json", imageWidth=WIDTH * 2, imageHeight=HEIGHT * 2)
    shapes(source / "a1.json", ("scratch", "polygon", (ONE.outline * 2).tolist()))
    assert "1 picture marked at another size, scaled: a1.jpg" in run()
    assert iou(product.mask("scratch/a1"), ONE.mask) >= 0.995


@pytest.mark.parametrize("written", ["C:\\Users\\me\\photos\\a1.jpg", "/data/a1.jpg", "../../../a1.jpg", "A1.JPG", "./x/../a1.jpg"])
def test_paths_of_other_machines_are_found_by_their_names(written, source, run, product):
    edit(source / "a1.json", imagePath=written)
    run()
    assert "a1.jpg" in product.names("test/scratch")


def test_a_picture_that_two_annotations_mark_has_both_marks(source, run, product):
    shutil.copy(source / "a2.json", source / "again.json")
    edit(source / "again.json", imagePath="a1.jpg")
    assert "1 picture named more than once, such as a1.jpg: the marks are united" in run(code=3)
    run("--yes")
    assert iou(product.mask("combined/a1"), ONE.mask | TRUTH[1].mask) >= 0.995
