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
    facts = json.loads((tmp_path / "results/curve.json").read_text())
    points = [(row["series"], row["steps"]) for row in facts["points"]]
    assert points == [("teacher", 1), ("teacher, guided in 0.4:1", 1), ("student", 1)]
    assert all(row["rate"] > 0 and 0 <= row["iou"] <= 1 and 0 <= row["type"] <= 1 for row in facts["points"])
    said = (tmp_path / "results/curve.md").read_text()
    assert "| student | 1 |" in said
    assert (tmp_path / "results/curve.png").stat().st_size > 10_000


def test_another_product_is_one_line(tmp_path, student):
    folder = shutil.copytree(student, tmp_path / "other.plan")
    fields = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").unlink()
    write_manifest(
        folder, {name: value for name, value in fields.items() if name not in ("files", "digest")} | {"product": "valve"}
    )
    result = CliRunner().invoke(command.main, ["--teacher", str(BOTTLE), "--student", str(folder), "--backend", "cpu"])
    assert result.exit_code == 1
    assert "bundles of bottle, valve found, one drawn product expected" in result.output
