"""The documents' road from photographs with LabelMe JSON to reviewed COCO pairs, at a small size, and the rest of that page.

Tracing graphs takes most of an export and has tests of its own: here the bundle takes those of another run of the same sizes.
"""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from benchmarks import blocks, photographs
from seas_export import bundle
from seas_train import run_folder
from tests.integration import walking

SIZE = (180, 120)


@pytest.fixture(scope="module")
def walked(base, plan, tmp_path_factory):
    """The folder after all commands, and what each of them said."""
    work = tmp_path_factory.mktemp("walk")
    photographs.draw(work / "photos", SIZE, each=3, normals=3)
    (work / "photos/valve/notes.txt").write_text("of the customer")
    shutil.copytree(base, work / "bases/small")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        patch.setattr(bundle, "_fill", walking.filling(plan))
        steps = photographs.walk(work, walking.SHORT, walking.in_this_process)
    return work, {step.command: step.said for step in steps}


def said(walked, begin):
    return next(text for command, text in walked[1].items() if command.startswith(begin))


def test_every_command_of_the_section_was_run(walked):
    programs = [" ".join(command.split()[:2]) for command in walked[1]]
    assert programs == [
        *("seas-data import", "seas-data import", "seas-train check"),  # the base is there
        *("seas-train check", "seas-train tune", "seas-train masks"),
        *("seas-export runs/valve", "seas-gen --engine", "seas-data review", "seas-data place", "seas-data export"),
    ]


def test_nothing_is_dropped_silently(walked):
    work, _ = walked
    record = json.loads((work / "data/valve/import.json").read_text())
    used = {picture["source"] for picture in record["pictures"]}
    files = {file.name for file in (work / "photos").rglob("*.jpg")}
    assert {name.rpartition("/")[2] for name in used} == files
    assert [left["file"] for left in record["left_out"]] == ["notes.txt"]
    assert "notes.txt" in said(walked, "seas-data import")


def test_the_training_chose_tiles_and_said_what_they_cost(walked):
    facts = run_folder.load_facts(walked[0] / "runs/valve")
    assert facts.fit == "tile"
    assert facts.photograph == SIZE
    assert {place.file.rpartition("/")[2] for place in facts.places} <= {"n000.jpg", "n001.jpg", "n002.jpg"}
    assert all(place.size == SIZE for place in facts.places)
    assert "estimate: masks: " in said(walked, "seas-train check data/valve --base")


def test_pairs_are_whole_photographs_but_for_the_anomaly(walked):
    work, _ = walked
    lines = [json.loads(line) for line in (work / "out/valve-whole/metadata.jsonl").read_text().splitlines()]
    assert len(lines) == 20
    for line in lines:
        image = np.asarray(Image.open(work / "out/valve-whole" / line["file_name"]).convert("RGB")).astype(int)
        original = np.asarray(Image.open(work / line["photograph"]).convert("RGB")).astype(int)
        left, top, wide, high = line["box"]
        outside = np.ones(image.shape[:2], bool)
        outside[max(top, 0) : top + high, max(left, 0) : left + wide] = False
        assert image.shape == original.shape
        assert np.array_equal(image[outside], original[outside])


def test_the_coco_file_has_the_masks(walked):
    work, _ = walked
    held = {}
    for file in sorted((work / "out/valve-coco").rglob("instances_*.json")):
        coco = COCO(file)
        for image in coco.imgs.values():
            mask = np.zeros((image["height"], image["width"]), bool)
            for annotation in coco.imgToAnns[image["id"]]:
                mask |= coco.annToMask(annotation).astype(bool)
            held[image["id"] - 1] = mask
    lines = [json.loads(line) for line in (work / "out/valve-whole/metadata.jsonl").read_text().splitlines()]
    assert sorted(held) == [line["index"] for line in lines]
    for line in lines:
        truth = np.asarray(Image.open(work / "out/valve-whole" / line["mask_file_name"])) > 0
        assert np.array_equal(held[line["index"]], truth)


def test_the_rest_of_the_page_runs(walked, base, product, plan, monkeypatch):
    work, _ = walked
    for found, name in (("test", "bad"), ("ground_truth", "masks")):
        for title in product.defects:
            shutil.copytree(product.root / found / title, work / "photos" / name / title)
    monkeypatch.chdir(work)
    monkeypatch.setattr(bundle, "_fill", walking.filling(plan))
    section = {block.place for block in blocks.blocks(photographs.PAGE, photographs.SECTION)}
    rest = [block for block in blocks.blocks(photographs.PAGE) if block.place not in section]
    assert len(rest) >= 3
    for block in rest:
        walking.run(block, base, work)
