"""What every format shares: where it goes, what is replaced or refused, and that nothing half-done is left."""

import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seas_runtime.dataset import export as module
from seas_runtime.dataset.export import also, export
from seas_runtime.dataset.exporters import FORMATS, exporter
from seas_runtime.dataset.exporters.job import Options
from seas_runtime.dataset.read import Record, read
from seas_runtime.dataset.split import train_and_test, train_and_val
from seas_runtime.errors import DataError, OutputError, SettingsError
from seas_runtime.staging import replaced
from tests.limits import files_of_at_most

from .out_folder import masks, tree, write

ALL = pytest.mark.parametrize("name", FORMATS)


def stamps(folder):
    return {file: file.stat().st_mtime_ns for file in folder.rglob("*")}


@ALL
def test_equal_exports_have_equal_bytes_and_a_readme(out, tmp_path, name):
    first, second = (export(read(out), name, tmp_path / place / "made") for place in "ab")
    assert first.made
    assert tree(first.folder) == tree(second.folder)
    assert {"README.txt", "README.md", "data.yaml"} & set(tree(first.folder))
    assert not list(tmp_path.rglob("*.seas-tmp"))
    record = json.loads((first.folder / "export.json").read_text())
    assert (record["pairs"], record["normals"], record["format"]) == (12, 5, name)


@ALL
def test_the_same_again_does_nothing_and_a_longer_run_is_exported_again(fresh, tmp_path, name):
    into = tmp_path / "made"
    export(read(fresh), name, into)
    before = stamps(into)
    assert not export(read(fresh), name, into).made
    assert stamps(into) == before
    text = (fresh / "metadata.jsonl").read_text().splitlines(keepends=True)
    (fresh / "metadata.jsonl").write_text("".join(text[:7]))
    shorter = export(read(fresh), name, into)
    assert (shorter.made, shorter.record.pairs) == (True, 7)
    assert tree(into) == tree(export(read(fresh), name, tmp_path / "anew").folder)


@pytest.mark.parametrize(
    ("name", "options", "word"),
    [
        ("hf", {}, "format coco, not hf"),
        ("coco", {"val": 0.5}, "val 0.2, not 0.5"),
        ("coco", {"polygons": True}, "polygons False, not True"),
    ],
)
def test_another_export_is_refused(out, tmp_path, name, options, word):
    export(read(out), "coco", tmp_path / "made")
    before = tree(tmp_path / "made")
    with pytest.raises(OutputError, match=word):
        export(read(out), name, tmp_path / "made", Options(**options))
    assert tree(tmp_path / "made") == before


def test_an_export_of_another_run_is_refused(out, tmp_path):
    export(read(out), "coco", tmp_path / "made")
    other = write(tmp_path / "other", list(masks().values())[:2], {"seed": 5})
    with pytest.raises(OutputError, match="of run"):
        export(read(other), "coco", tmp_path / "made")


def change_edited(folder):
    (folder / "000000.json").write_text("{}")


def change_added(folder):
    (folder / "mine.txt").write_text("mine")


def change_removed(folder):
    (folder / "000003.png").unlink()


@pytest.mark.parametrize("change", [change_edited, change_added, change_removed])
def test_what_a_person_changed_is_not_replaced(out, tmp_path, change):
    export(read(out), "labelme", tmp_path / "made")
    change(tmp_path / "made")
    before = tree(tmp_path / "made")
    with pytest.raises(OutputError, match="was changed after it was exported"):
        export(read(out), "labelme", tmp_path / "made")
    assert tree(tmp_path / "made") == before


def test_what_a_trainer_cached_does_not_count(out, tmp_path):
    export(read(out), "yolo", tmp_path / "made")
    (tmp_path / "made/labels/train.cache").write_bytes(b"ultralytics")
    assert not export(read(out), "yolo", tmp_path / "made").made


@pytest.mark.parametrize("record", [None, "{", "{}"])
def test_a_folder_of_something_else_is_refused(out, tmp_path, record):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/photo.png").write_bytes(b"mine")
    if record is not None:
        (tmp_path / "mine/export.json").write_text(record)
    before = tree(tmp_path)
    with pytest.raises(OutputError, match="something else than an export"):
        export(read(out), "coco", tmp_path / "mine")
    with pytest.raises(OutputError, match="is a file"):
        export(read(out), "coco", tmp_path / "mine/photo.png")
    assert tree(tmp_path) == before


def test_out_and_the_export_lie_apart(fresh):
    before = tree(fresh)
    for into in (fresh, fresh / "exports/coco", fresh.parent):
        with pytest.raises(OutputError, match="lies in the other"):
            export(read(fresh), "coco", into)
    assert tree(fresh) == before


@ALL
def test_a_damaged_picture_leaves_nothing(fresh, tmp_path, name):
    (fresh / "tile/test/stain/000011.png").write_bytes(b"")
    with pytest.raises(DataError, match="000011"):
        export(read(fresh), name, tmp_path / "made")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@ALL
def test_a_full_disk_leaves_nothing_or_what_was_there(fresh, tmp_path, name):
    with files_of_at_most(100), pytest.raises(OutputError, match=r"File too large.*nothing was written"):
        export(read(fresh), name, tmp_path / "made")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    export(read(fresh), name, tmp_path / "made")
    before = tree(tmp_path / "made")
    (fresh / "review.jsonl").write_text('{"index": 0, "decision": "reject"}\n')
    with files_of_at_most(100), pytest.raises(OutputError):
        export(read(fresh), name, tmp_path / "made")
    assert tree(tmp_path / "made") == before
    assert {path.name for path in tmp_path.iterdir()} == {"out", "made"}


def test_an_interrupt_leaves_nothing(out, tmp_path):
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(read(out), "coco", tmp_path / "made", step=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one(tmp_path, monkeypatch):
    place = tmp_path / "made"
    place.mkdir()
    (place / "old.txt").write_text("old")
    rename = type(place).rename

    def failing(self, target):
        if self.name == "new":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(type(place), "rename", failing)
    with pytest.raises(OSError, match="No space"), replaced(place) as folder:
        (folder / "new.txt").write_text("new")
    assert tree(tmp_path) == {"made/old.txt": b"old"}


def test_what_a_killed_process_left_goes_and_what_it_moved_away_comes_back(tmp_path):
    yard = tmp_path / "made.seas-tmp"
    for name in ("new", "old"):
        (yard / name).mkdir(parents=True)
        (yard / name / f"{name}.txt").write_text(name)
    (yard / ".seas-lock").touch()
    with pytest.raises(RuntimeError), replaced(tmp_path / "made"):
        raise RuntimeError
    assert tree(tmp_path) == {"made/old.txt": b"old"}
    assert not yard.exists()


def test_two_at_once_do_not_mix(tmp_path):
    with replaced(tmp_path / "made") as folder:
        (folder / "first.txt").write_text("first")
        with pytest.raises(OutputError, match="another run is writing"), replaced(tmp_path / "made"):
            pass
    assert tree(tmp_path) == {"made/first.txt": b"first"}


def test_an_empty_folder_and_a_link_to_one_are_filled(out, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    export(read(out), "hf", tmp_path / "link")
    assert (tmp_path / "real/export.json").exists()
    assert (tmp_path / "link").is_symlink()


LINKING = [name for name, form in FORMATS.items() if "link" in form.takes]


@pytest.mark.parametrize("name", LINKING)
def test_links_share_the_file_and_give_the_same_folder(fresh, tmp_path, name):
    copied = export(read(fresh), name, tmp_path / "copied").folder
    linked = export(read(fresh), name, tmp_path / "linked", Options(link=True)).folder
    (tmp_path / "linked/export.json").write_bytes((copied / "export.json").read_bytes())
    theirs, ours = tree(copied), tree(linked)
    assert theirs.keys() == ours.keys()
    images = {path.stat().st_ino for path in (fresh / "tile/test").rglob("*.png")}
    assert images <= {path.stat().st_ino for path in linked.rglob("*.png")}
    assert not images & {path.stat().st_ino for path in copied.rglob("*.png")}
    shutil.rmtree(linked)
    assert len(list(read(fresh))) == 17


def test_a_link_that_cannot_be_is_told(out, tmp_path, monkeypatch):
    def refuse(_source, _target):
        raise OSError(18, os.strerror(18))

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(OutputError, match="leave --link out"):
        export(read(out), "coco", tmp_path / "made", Options(link=True))
    assert list(tmp_path.iterdir()) == []


def keys(records):
    return {record.key for record in records}


def test_splits_hold_each_type_and_stay_when_others_come(tmp_path):
    mask = np.eye(4, dtype=bool)
    few, many = (read(write(tmp_path / str(count), [mask] * count, normals=count)) for count in (20, 40))
    parts = train_and_val(few.records, 0.2, seed=0)
    for defect in ("crack", "stain", None):
        assert [sum(x.defect == defect for x in part) for part in parts.values()] == ([8, 2] if defect else [16, 4])
    assert keys(parts["train"]) | keys(parts["val"]) == keys(few.records)
    assert train_and_val(few.records, 0.2, seed=0) == parts
    assert keys(train_and_val(few.records, 0.2, seed=1)["val"]) != keys(parts["val"])
    later = keys(train_and_val(many.records, 0.2, seed=0)["val"])
    assert len(later) == 16
    assert keys(parts["val"]) <= later
    fewer = train_and_val([x for x in many.records if x.turn not in (3, 7)], 0.2, seed=0)
    assert len(keys(fewer["val"]) - later) <= 3
    assert train_and_val(few.records, 0, seed=0) == {"train": list(few.records)}
    most = train_and_val(few.records, 0.99, seed=0)
    assert {record.defect for record in most["train"]} == {"crack", "stain", None}
    assert len(most["train"]) == 3


def test_one_picture_of_a_type_is_learned_from_and_two_are_divided(tmp_path):
    data = read(write(tmp_path / "out", [np.eye(4, dtype=bool)] * 3))
    parts = train_and_val(data.records, 0.1, seed=0)
    assert [len(part) for part in parts.values()] == [2, 1]
    assert train_and_val(data.records[:2], 0.1, seed=0) == {"train": list(data.records[:2])}
    apart = [replace(record, turn=100 * record.turn) for record in data.records]
    assert [len(part) for part in train_and_val(apart, 0.5, seed=0).values()] == [2, 1]


def test_normal_pictures_alone_are_for_training_where_anomalies_are_for_testing(out):
    data = read(out)
    parts = train_and_test(data.records, 0.2, seed=0)
    assert [sum(record.defect is None for record in part) for part in parts.values()] == [4, 1]
    assert len(parts["test"]) == 13


def test_also_goes_beside_out_each_format_once(fresh, tmp_path, monkeypatch):
    before = tree(fresh)
    steps = []
    made = also(fresh, ["coco", "yolo", "coco"], steps.append)
    assert [one.folder for one in made] == [tmp_path / "out-coco", tmp_path / "out-yolo"]
    assert sum(steps) == 2 * 17
    assert tree(fresh) == before
    monkeypatch.chdir(fresh)
    assert [one.made for one in also(module.Path(), ["coco"])] == [False]


def test_also_refuses_an_unknown_format_before_it_begins(out):
    with pytest.raises(SettingsError, match="'voc' found, one of coco"):
        also(out, ["coco", "voc"])
    with pytest.raises(SettingsError):
        exporter("voc")
    assert not out.with_name("out-coco").exists()


def test_the_line_says_what_the_review_changed_and_anomalib_misses(fresh, tmp_path):
    (fresh / "review.jsonl").write_text('{"index": 0, "decision": "reject"}\n')
    said = export(read(fresh), "coco", tmp_path / "a")
    for word in ("coco, 11 pairs and 5 normal pictures", "train 11, val 5", "left out 1"):
        assert word in said.line()
    assert said.notes == ()
    (note,) = export(read(fresh, own_normals=False), "anomalib", tmp_path / "b").notes
    assert "--normals DIR" in note


@pytest.mark.parametrize(("photographs", "val"), [(2, 0.1), (5, 0.2), (9, 0.5), (1, 0.5)])
def test_no_photograph_is_in_both_parts(photographs, val):
    records = [
        Record(f"{i:06}", i + 1, i // 2, Path(f"{i}.png"), defect="ab"[i % 2], facts={"photograph": f"{i % photographs}.jpg"})
        for i in range(40)
    ]
    parts = train_and_val(records, val, seed=0)
    of = {name: {record.facts["photograph"] for record in part} for name, part in parts.items()}
    assert of["train"]
    assert not of["train"] & of.get("val", set())
    assert len(of.get("val", ())) == min(photographs - 1, math.ceil(val * photographs))
    assert sorted(record.key for part in parts.values() for record in part) == [record.key for record in records]
    if photographs > 1:
        assert {record.key for record in train_and_val(records[:-1], val, seed=0)["val"]} <= {record.key for record in parts["val"]}
