"""`seas-data import` as a user meets it."""

import os
import shutil
from pathlib import Path

import pytest

from seas_train.data import check, layouts
from tests.runtime.dataset.truth import TRUTH, edit, folder_of, photograph, write_normals
from tests.runtime.dataset.written_sources import WRITERS

ONE = TRUTH[0]


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
    assert said.endswith(f"\nnext: seas-data import {tmp_path / 'source'} --into {tmp_path / 'out/part'}\n")
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


def test_a_single_file_with_pictures_and_normal_ones_elsewhere(tmp_path, run, product):
    WRITERS["coco_polygons"](tmp_path / "drawn")
    file = tmp_path / "drawn/annotations/instances_default.json"
    shutil.move(file, tmp_path / "labels.json")
    shutil.rmtree(tmp_path / "drawn/images/default/good")
    write_normals(tmp_path / "faultless/day 1")
    said = run("--images", tmp_path / "drawn", "--normals", tmp_path / "faultless", source=tmp_path / "labels.json")
    assert "COCO, 5 pictures to use" in said
    assert product.names("train/good") == ["n1.jpg", "n2.jpg"]


def test_annotations_of_another_format_beside_are_named(source, run):
    WRITERS["coco_polygons"](source / "coco")
    said = run(code=3)
    assert "instances_default.json" in said
    assert "import it by --format" in said


def test_a_source_of_normal_pictures_alone_is_said(tmp_path, run):
    write_normals(tmp_path / "good")
    said = run("--normals", tmp_path / "good", source=tmp_path / "good", code=3)
    assert f"{tmp_path / 'good'}: holds 2 pictures, all of --normals, expected annotated ones; " in said
    assert len(said.splitlines()) == 1


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


@pytest.mark.parametrize("words", [["--type", "x"], ["--fit", "none"], ["--format", "none"], ["--size", "5"], ["--overlap", "1"]])
def test_wrong_options(words, source, run):
    run(*words, code=2)


def test_links_lead_nowhere_and_to_files(source, run, product, tmp_path):
    (source / "round").symlink_to(source, target_is_directory=True)
    (source / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    (source / "self.jpg").symlink_to(source / "self.jpg")
    (tmp_path / "elsewhere.jpg").write_bytes((source / "good/n1.jpg").read_bytes())
    (source / "good/n3.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    said = run(code=3)
    for name in ("round", "gone.jpg", "self.jpg"):
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


def test_label_studios_masks_alone_say_what_is_missing(tmp_path, run):
    WRITERS["label_studio_png"](tmp_path / "source")
    (tmp_path / "source/tasks.json").unlink()
    assert "says its task and not its picture; export JSON as well" in run(code=3)
