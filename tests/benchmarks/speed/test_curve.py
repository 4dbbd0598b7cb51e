"""The curve of quality against steps, at the smallest size: its points, its figures, and what it saves."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import curve as command
from benchmarks.demo.oracle import Oracle, Pieces
from benchmarks.speed import curve
from benchmarks.speed.curve import Point
from seas_runtime.bundle.reader import read_bundle, write_manifest
from seas_train.cli import main as train_cli

BOTTLE = Path(__file__).parents[3] / "engines" / "bottle.plan"


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """The shipped bundle, said to be a student; its pairs are no good."""
    folder = shutil.copytree(BOTTLE, tmp_path_factory.mktemp("student") / "bottle.plan", ignore=shutil.ignore_patterns("engines"))
    fields = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").unlink()
    fields["schedule"]["solver"] = "consistency"
    fields["student"] = {"method": "consistency", "steps": 4, "guidance": fields["defaults"]["guidance"], "grid": 12}
    fields["defaults"] |= {"steps": 4}
    write_manifest(folder, {name: value for name, value in fields.items() if name not in ("files", "digest")})
    return folder


def test_points_are_what_each_bundle_can_do(student):
    teacher = list(curve.points("teacher", read_bundle(BOTTLE).manifest, (1, 4), (0.2, 0.8)))
    some = (0.2, 0.8)
    assert teacher == [
        Point("teacher", 1),  # its one step is at 1, outside the interval, and gives the only mask
        Point("teacher", 4), Point("teacher", 4, None, 1), Point("teacher", 4, some), Point("teacher", 4, some, 1),
    ]  # fmt: skip
    found = list(curve.points("student", read_bundle(student).manifest, (1, 4, 25), some))
    assert found == [Point("student", 1), Point("student", 4), Point("student", 4, None, 1)]
    assert teacher[-1].series == "teacher, guided in 0.2:0.8, 1 mask step"


def test_the_figures_of_pairs_that_the_judge_agrees_with():
    class Judge(Oracle):
        def labels(self, images, batch=32):
            return images[..., 0] // 100

    def piece(kind):
        image = np.zeros((32, 32, 3), np.uint8)
        image[4:12, 4:12] = 100 * kind
        return image

    images = np.stack([piece(kind) for kind in (1, 1, 2, 2)])
    masks = images[..., 0] > 0
    masks[3] = False  # no mask, and so no overlap
    masks[2, :, 8:] = False  # half of it
    judge = Judge(("one", "two"))
    judge.network.eval()
    found = curve.judged(judge, Pieces(images, masks, np.array([1, 2, 2, 2], np.uint8)))
    assert found["iou"] == pytest.approx((1 + 1 + 0.5 + 0) / 4)
    assert (found["type"], found["empty"]) == (0.75, 0.25)
    assert found["diversity"] > 0


def test_a_small_run_saves_table_and_plot(student, tmp_path):
    words = ["--teacher", BOTTLE, "--student", student, "--work", tmp_path / "work", "--results", tmp_path / "results"]
    words += ["--steps", 1, "--count", 6, "--timed", 1, "--rounds", 1, "--judge", "smoke", "--backend", "cpu"]
    words += ["--guidance-interval", "0.4:1"]
    result = CliRunner().invoke(command.main, [str(word) for word in words])
    assert result.exit_code == 0, (result.output, result.exception)
    facts = json.loads((tmp_path / "results/curve_bottle.json").read_text())
    points = [(row["series"], row["steps"]) for row in facts["points"]]
    assert points == [("teacher", 1), ("teacher, guided in 0.4:1", 1), ("student", 1)]
    assert all(row["rate"] > 0 and 0 <= row["iou"] <= 1 and 0 <= row["type"] <= 1 for row in facts["points"])
    said = (tmp_path / "results/curve_bottle.md").read_text()
    assert "| student | 1 |" in said
    assert (tmp_path / "results/curve_bottle.png").stat().st_size > 10_000


def test_another_product_is_one_line(tmp_path, student):
    folder = shutil.copytree(student, tmp_path / "other.plan")
    fields = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").unlink()
    write_manifest(
        folder, {name: value for name, value in fields.items() if name not in ("files", "digest")} | {"product": "valve"}
    )
    result = CliRunner().invoke(command.main, ["--teacher", str(BOTTLE), "--student", str(folder), "--backend", "cpu"])
    assert result.exit_code == 1
    assert "bundles of bottle, valve found, one product expected" in result.output


def test_composites_have_nothing_to_spare_on_masks():
    manifest = read_bundle(BOTTLE).manifest
    found = list(curve.points("teacher", manifest, (1, 4, 8), (0.2, 0.8), "composite"))
    assert found == [
        Point("teacher", 1, None, None, "composite"),
        Point("teacher", 4, None, None, "composite"), Point("teacher", 4, (0.2, 0.8), None, "composite"),
        Point("teacher", 8, None, None, "composite"), Point("teacher", 8, (0.2, 0.8), None, "composite"),
    ]  # fmt: skip
    assert found[2].series == "teacher, guided in 0.2:0.8, composites"
    assert found[0].options(3, 1).init == "composite"
    assert list(curve.points("teacher", manifest, (4,), (0.0, 1.0), "composite")) == [found[1]]


def test_real_images_judge_what_a_segmenter_learns_from_pairs(tmp_path, monkeypatch):
    """Without an oracle, and kept for an interrupted run: the second one trains no segmenter."""

    def trains(*_, **__):
        raise AssertionError

    words = ["demo-data", tmp_path / "few", "--product", "bottle", "--normals", 4, "--per-defect", 3, "--test-normals", 3]
    assert CliRunner().invoke(train_cli, [str(word) for word in words]).exit_code == 0
    words = ["--teacher", BOTTLE, "--work", tmp_path / "work", "--results", tmp_path, "--steps", 1, "--count", 6, "--timed", 1]
    words += ["--rounds", 1, "--judge", "none", "--data", tmp_path / "few" / "bottle", "--shots", 1, "--seeds", 2]
    words += ["--segmenter-steps", 2, "--backend", "cpu", "--guidance-interval", "0:1"]
    for _ in range(2):
        result = CliRunner().invoke(command.main, [str(word) for word in words])
        assert result.exit_code == 0, (result.output, result.exception)
        monkeypatch.setattr(curve, "helpful", trains)
    facts = json.loads((tmp_path / "curve_bottle.json").read_text())
    assert [len(row["ap"]) for row in facts["points"]] == [2]
    assert len(facts["alone"]["downstream"]) == 2
    said = (tmp_path / "curve_bottle.md").read_text()
    assert "IoU with the judge" not in said
    assert "segmenter's AP" in said


def test_without_judge_and_data_speed_is_all_that_is_said(student, tmp_path):
    words = ["--teacher", BOTTLE, "--student", student, "--judge", "none", "--results", tmp_path, "--steps", 1, "--timed", 1]
    words += ["--rounds", 1, "--guidance-interval", "0:1", "--backend", "cpu"]
    result = CliRunner().invoke(command.main, [str(word) for word in words])
    assert result.exit_code == 0, (result.output, result.exception)
    said = (tmp_path / "curve_bottle_rates.md").read_text()
    assert "| | steps | pairs/s |" in said
    assert "![" not in said
    assert not (tmp_path / "curve_bottle_rates.png").exists()
