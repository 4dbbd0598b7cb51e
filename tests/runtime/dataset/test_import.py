"""`seas-data import` as a user meets it."""

import base64
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from seas_train.data import check, layouts

from .conftest import iou
from .written_sources import (
    HEIGHT,
    TRUTH,
    WIDTH,
    WRITERS,
    dump,
    folder_of,
    photograph,
    raster,
    save_mask,
    write_normals,
)

ONE = TRUTH[0]


@pytest.fixture
def source(tmp_path):
    """Three photographs with LabelMe files, and two normal ones in good."""
    WRITERS["labelme"](tmp_path / "source")
    return tmp_path / "source"


def edit(file, **fields):
    dump(file, json.loads(file.read_text()) | fields)


def shapes(file, *drawn):
    edit(
        file, shapes=[{"label": label, "points": points, "shape_type": kind} for label, kind, points in drawn]
    )


def test_training_takes_what_was_written(source, run, product):
    run()
    report = check.inspect(layouts.read(product.root))
    assert not report.problems
    assert len(report.warnings) == 1  # that of a single dent
    assert {group.title: group.count for group in report.groups} == {"normal": 2, "dent": 1, "scratch": 2}


def test_a_dry_run_says_all_and_writes_nothing(source, run, tmp_path):
    before = folder_of(tmp_path)
    said = run("--dry-run")
    assert folder_of(tmp_path) == before
    assert "LabelMe, 5 pictures to use" in said
    row = next(line for line in said.splitlines() if line.startswith("dent"))
    assert row.split() == ["dent", "test/dent", "1", "480", "x", "360", "22.6", "22.6", "22.6", "94", "94"]
    assert 100 * TRUTH[1].mask.mean() == pytest.approx(22.6, abs=0.05)


def test_the_source_is_left_as_it_was(source, run):
    before = folder_of(source)
    run()
    assert folder_of(source) == before


def test_the_same_source_gives_the_same_folder(source, run, tmp_path):
    run()
    run(into=tmp_path / "again/part")
    assert folder_of(tmp_path / "out/part") == folder_of(tmp_path / "again/part")


def test_a_product_may_lie_inside_of_its_source(source, run):
    run(into=source / "product")
    assert "5 pictures to use" in run(into=source / "product2", code=0)


@pytest.mark.parametrize("what", ["file", "files"])
def test_what_is_there_is_not_overwritten(what, source, run, tmp_path):
    into = tmp_path / "out/part"
    into.parent.mkdir()
    if what == "file":
        into.write_text("mine")
    else:
        into.mkdir()
        (into / "mine.txt").write_text("mine")
    said = run("--yes", code=5)
    assert "expected a new or empty folder" in said
    assert len(said.splitlines()) == 1


def test_an_empty_folder_is_filled(source, run, product):
    product.root.mkdir(parents=True)
    run()
    assert product.names("train/good") == ["n1.jpg", "n2.jpg"]


def test_a_disk_that_fails_leaves_nothing(source, run, tmp_path, monkeypatch):
    before = Path.write_bytes

    def full(path, content):
        if "ground_truth" in path.parts:
            raise OSError(28, "No space left on device")
        return before(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    assert "cannot be written (No space left on device)" in run(code=5)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("title", "folder"),
    [
        ("Kratzer tief", "Kratzer tief"),
        ("Größe", "Grosse"),
        ("rayure/griffe", "rayure_griffe"),
        ("../../evil", "evil"),
        ("good", "good_type"),
        ("CON", "CON_type"),
        (".hidden", "hidden"),
        ("a\u0000b\u001b[2J", "a_b_2J"),
    ],
)
def test_titles_become_safe_folders(title, folder, source, run, product):
    for one in TRUTH:
        shapes(source / f"{one.name}.json", (title, "polygon", one.outline.tolist()))
    run()
    assert product.names("test") == [folder]
    assert product.titles["types"][folder].replace("\\x00", "\x00").replace("\\x1b", "\x1b") == title


def test_titles_of_any_script_are_kept(source, run, product, tmp_path):
    for one, title in zip(TRUTH, ("划痕", "вмятина", "划痕"), strict=True):
        shapes(source / f"{one.name}.json", (title, "polygon", one.outline.tolist()))
    said = run("--name", "Ventil 阀")
    assert "划痕" in said
    titles = product.titles
    assert titles["product"] == "Ventil 阀"
    assert sorted(titles["types"].values()) == ["вмятина", "划痕"]
    for folder in titles["types"]:
        assert folder.isascii()
        assert folder.startswith("type_")
    run(into=tmp_path / "again/part")
    assert json.loads((tmp_path / "again/part/titles.json").read_text())["types"] == titles["types"]


def test_titles_that_differ_in_case_alone_get_two_folders(source, run, product):
    shapes(source / "a1.json", ("Scratch", "polygon", ONE.outline.tolist()))
    run()
    assert sorted(name.casefold() for name in product.names("test")) == ["dent", "scratch", "scratch_2"]


def test_types_may_be_renamed_united_and_left_out(source, run, product):
    said = run("--type", "Scratch=mark", "--type", "dent=", "--type", "nothing=x")
    assert product.names("test") == ["mark"]
    assert "a2.jpg: all its marks are left out by --type" in said
    assert "--type nothing=...: no mark is called so" in said


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
    assert "a1.heic: is HEIC, which needs one more package: pip install 'seas[heic]'" in run(code=3)


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


def test_every_file_that_is_left_out_is_named(source, run, product):
    (source / "notes.txt").write_text("hello")
    (source / ".DS_Store").write_bytes(b"x")
    (source / "other.json").write_text('{"key": 1}')
    (source / "torn.json").write_text('{"shapes": [')
    (source / "broken.jpg").write_bytes((source / "a1.jpg").read_bytes()[:900])
    shutil.copy(source / "a1.json", source / "broken.json")
    edit(source / "broken.json", imagePath="broken.jpg")
    photograph(9).save(source / "unseen.jpg")
    said = run(code=3)
    lines = [line.strip() for line in said.splitlines()]
    for expected in (
        *("2 files: neither a picture nor an annotation of this format", "notes.txt", "other.json"),
        ".DS_Store: hidden, or made by the system",
        "torn.json: is damaged: Expecting value at line 1, column 13",
        "unseen.jpg: has no annotation; --unmarked normal takes such pictures as normal ones",
    ):
        assert expected in lines
    assert any(line.startswith("broken.jpg: is damaged") for line in lines)
    run("--yes")
    named = {left["file"] for left in product.record["left_out"]}
    assert named == {"notes.txt", ".DS_Store", "other.json", "torn.json", "broken.jpg", "unseen.jpg"}


def test_the_picture_of_a_damaged_annotation_is_never_normal(source, run, product):
    (source / "good/n1.json").write_text('{"shapes": [')
    run("--unmarked", "normal", "--yes")
    assert product.names("train/good") == ["n2.jpg"]


def test_many_harmless_files_are_named_by_their_number(source, run, product):
    (source / "clouds").mkdir()
    for i in range(30):
        (source / f"clouds/{i}.xyz").write_bytes(b"")
    said = run()
    assert "clouds: 30 .xyz" in said
    assert len([left for left in product.record["left_out"] if left["file"].startswith("clouds/")]) == 30


def test_pictures_without_a_mark_are_doubted(source, run, product):
    edit(source / "a1.json", shapes=[])
    assert "1 picture whose annotations mark nothing, taken as normal ones" in run(code=3)
    run("--unmarked", "leave")
    assert product.names("test/scratch") == ["a3.jpg"]
    shutil.rmtree(product.root)
    run("--unmarked", "normal")
    assert product.names("train/good") == ["a1.jpg", "n1.jpg", "n2.jpg"]


def test_several_types_on_a_picture_are_combined(source, run, product):
    other = TRUTH[1].outline
    shapes(
        source / "a1.json", ("scratch", "polygon", ONE.outline.tolist()), ("dent", "polygon", other.tolist())
    )
    assert "1 picture with several types of anomalies, called combined" in run()
    assert iou(product.mask("combined/a1"), ONE.mask | TRUTH[1].mask) >= 0.995
    areas = next(record["areas"] for record in product.record["pictures"] if record.get("type") == "combined")
    assert areas["scratch"] == pytest.approx(ONE.mask.sum(), rel=0.005)
    assert areas["dent"] == pytest.approx(TRUTH[1].mask.sum(), rel=0.005)


def test_boxes_are_doubted(source, run, product):
    shapes(source / "a1.json", ("scratch", "rectangle", [[300, 200], [100, 50]]))
    assert "1 picture marked by boxes, which cover more than the anomaly: a1.jpg" in run(code=3)
    run("--yes")
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[50:200, 100:300] = True
    assert np.array_equal(product.mask("scratch/a1"), expected)


def test_lines_need_a_width(source, run, product):
    shapes(source / "a1.json", ("scratch", "linestrip", [[100, 100], [300, 100]]))
    assert (
        "a1.json: a linestrip has no area, expected outlines; --line-width PIXELS draws lines and points"
        in run(code=3)
    )
    run("--line-width", 7)
    assert product.mask("scratch/a1")[:, 200].sum() == 7


def test_circles(source, run, product):
    shapes(source / "a1.json", ("scratch", "circle", [[200, 150], [240, 180]]))
    run()
    assert product.mask("scratch/a1").sum() == pytest.approx(np.pi * 50**2, rel=0.01)


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


def test_a_single_file_with_pictures_and_normal_ones_elsewhere(tmp_path, run, product):
    WRITERS["coco_polygons"](tmp_path / "drawn")
    file = tmp_path / "drawn/annotations/instances_default.json"
    shutil.move(file, tmp_path / "labels.json")
    shutil.rmtree(tmp_path / "drawn/images/default/good")
    write_normals(tmp_path / "faultless/day 1")
    said = run(
        "--images", tmp_path / "drawn", "--normals", tmp_path / "faultless", source=tmp_path / "labels.json"
    )
    assert "COCO, 5 pictures to use" in said
    assert product.names("train/good") == ["n1.jpg", "n2.jpg"]


@pytest.mark.parametrize(
    "written", ["C:\\Users\\me\\photos\\a1.jpg", "/data/a1.jpg", "../../../a1.jpg", "A1.JPG", "./x/../a1.jpg"]
)
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


def test_annotations_of_another_format_beside_are_named(source, run):
    WRITERS["coco_polygons"](source / "coco")
    said = run(code=3)
    assert "instances_default.json" in said
    assert "import it by --format" in said


def test_no_normal_picture_and_no_mark_are_said(source, run):
    shutil.rmtree(source / "good")
    assert "no normal picture, and training needs some: --normals FOLDER adds them" in run("--dry-run")


@pytest.mark.parametrize("what", ["nothing", "pictures alone", "no folder", "archive"])
def test_sources_that_cannot_be_imported(what, tmp_path, run):
    root = tmp_path / "source"
    if what == "archive":
        root.write_bytes(b"PK")
    elif what != "no folder":
        root.mkdir()
        if what == "pictures alone":
            photograph(0).save(root / "x.png")
    said = run(code=3)
    assert said.startswith("Error: ")
    assert len(said.splitlines()) == 1
    assert "expected" in said


@pytest.mark.parametrize(
    "words", [["--type", "x"], ["--fit", "none"], ["--format", "none"], ["--size", "5"], ["--overlap", "1"]]
)
def test_wrong_options(words, source, run):
    run(*words, code=2)


def test_links_lead_nowhere_and_to_files(source, run, product, tmp_path):
    (source / "round").symlink_to(source, target_is_directory=True)
    (source / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    (tmp_path / "elsewhere.jpg").write_bytes((source / "good/n1.jpg").read_bytes())
    (source / "good/n3.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    said = run(code=3)
    for name in ("round", "gone.jpg"):
        assert name in said
    run("--yes")
    assert product.names("train/good") == ["n1.jpg", "n2.jpg", "n3.jpg"]


def test_a_name_with_escapes_does_not_reach_the_terminal(source, run):
    (source / "\x1b[31mred\n.txt").write_text("x")
    said = run()
    assert "\x1b" not in said
    assert "\\x1b[31mred\\n.txt" in said


def test_a_name_that_is_no_text_is_no_problem(source, run, product):
    os.link(source / "good/n1.jpg", os.fsencode(source / "good") + b"/\xff\xfe.jpg")
    run()
    assert len(product.names("train/good")) == 3


def test_tiles_of_large_photographs(tmp_path, run, product):
    root = tmp_path / "source"
    for name in ("bad", "good", "masks"):
        (root / name).mkdir(parents=True)
    photograph(1, 700, 500).save(root / "bad/x.png")
    photograph(2, 700, 500).save(root / "good/y.png")
    mask = np.zeros((500, 700), bool)
    mask[100:140, 120:380] = True
    save_mask(root / "masks/x.png", mask)
    said = run("--fit", "tile", "--size", 256, "--overlap", 0.2)
    pictures = product.record["pictures"]
    assert "2 pictures to use, written as" in said
    marked = [one for one in pictures if "mask" in one]
    normal = [one for one in pictures if "mask" not in one]
    assert {one["source"] for one in normal} == {"good/y.png"}
    assert len(normal) == 12  # 4 columns of 256 in 700 and 3 rows in 500, a fifth in common
    again = np.zeros_like(mask)
    for one in marked:
        left, top, across, down = one["box"]
        assert one["size"] == [across, down] == [256, 256]
        tile = np.asarray(Image.open(product.root / one["file"]))
        with Image.open(root / one["source"]) as photo:
            assert np.array_equal(tile, np.asarray(photo)[top : top + down, left : left + across])
        again[top : top + down, left : left + across] |= (
            np.asarray(Image.open(product.root / one["mask"])) > 0
        )
    assert np.array_equal(again, mask)
    assert not check.inspect(layouts.read(product.root)).problems


def test_tiles_without_a_mark_are_normal_only_if_asked(tmp_path, run, product):
    WRITERS["masks"](tmp_path / "source")
    run("--fit", "tile", "--size", 128)
    without = len(product.names("train/good"))
    shutil.rmtree(product.root)
    run("--fit", "tile", "--size", 128, "--normal-tiles")
    assert len(product.names("train/good")) > without


def test_a_tile_with_a_mere_edge_of_a_mark_is_neither_anomaly_nor_normal(tmp_path, run, product):
    root = tmp_path / "source"
    write_normals(root / "good")
    (root / "bad").mkdir()
    photograph(1, 256, 128).save(root / "bad/x.png")
    mask = np.zeros((128, 256), bool)
    mask[40:80, 60:130] = True  # two columns of it on the second tile
    mask[40:80, 130:] = False
    save_mask(root / "masks/x.png", mask & (np.arange(256) < 129))
    said = run("--fit", "tile", "--size", 128, "--overlap", 0, "--normal-tiles")
    assert "1 tile not written" in said
    assert product.names("test/anomaly") == ["x_r0_c0.png"]
    assert {"file": "bad/x.png", "reason": "40 pixels of a mask at the edge of tile 0, 1"} in product.record[
        "left_out"
    ]


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
def test_squares(fit, source, run, product):
    run("--fit", fit, "--size", 128)
    for record in product.record["pictures"]:
        assert Image.open(product.root / record["file"]).size == (128, 128)
    left, top, across, down = next(
        one["box"] for one in product.record["pictures"] if one["source"] == "a1.jpg"
    )
    rows, columns = np.nonzero(product.mask("scratch/a1"))
    where = np.array((columns.mean() * across / 128 + left, rows.mean() * down / 128 + top))
    truth = np.argwhere(ONE.mask).mean(axis=0)[::-1]
    assert np.abs(where - truth).max() < 3


def test_anomalies_below_a_latent_cell_are_told_with_figures(source, run):
    shapes(source / "a1.json", ("scratch", "polygon", [[100, 100], [300, 100], [300, 105], [100, 105]]))
    said = run("--dry-run", "--size", 128)
    width = 5 * 128 / 480
    assert (
        f"scratch: 1 of 2 are narrower than a latent cell (8 pixels) at 128: one of 5 px becomes {width:.2g} px (a1.jpg)"
        in said
    )


def test_a_picture_marked_wholly_is_left_out(source, run):
    shapes(source / "a1.json", ("scratch", "polygon", [[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]]))
    assert "a1.jpg: its mask covers every pixel" in run(code=3)


def test_a_mark_beyond_the_picture_is_left_out(source, run):
    shapes(source / "a1.json", ("scratch", "polygon", [[900, 900], [950, 900], [950, 950]]))
    assert "a1.jpg: its marks cover no pixel" in run(code=3)


def test_label_studios_masks_alone_say_what_is_missing(tmp_path, run):
    WRITERS["label_studio_png"](tmp_path / "source")
    (tmp_path / "source/tasks.json").unlink()
    assert "says its task and not its picture; export JSON as well" in run(code=3)


def test_holes_of_supervisely(tmp_path, run, product):
    WRITERS["supervisely"](tmp_path / "source")
    file = tmp_path / "source/ds0/ann/a1.jpg.json"
    fields = json.loads(file.read_text())
    hole = [[180, 150], [220, 150], [220, 190], [180, 190]]
    fields["objects"][0]["points"]["interior"] = [hole]
    dump(file, fields)
    run()
    expected = ONE.mask.copy()
    expected[150:190, 180:220] = False
    assert iou(product.mask("scratch/a1"), expected) >= 0.995
