"""The whole pipeline of the report, and the tables, facts and pages that every command writes."""

import csv
import io
import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.quality import page, paper, plots, report, tables
from benchmarks.quality.pipeline import Effort, Pipeline
from benchmarks.quality.tables import Document, Seeds, Table
from benchmarks.stages import seconds
from seas_runtime.errors import DataError, OutputError
from seas_train import run_folder, tune
from seas_train.data import layouts

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "engines" / "bottle.plan"
TINY = Effort(vae=1, unet=1, tune=2, masks=2, count=12, solver=4, every=1)


@pytest.fixture
def words(base, data, tmp_path, monkeypatch):
    monkeypatch.setitem(report.EFFORTS, "smoke", TINY)
    monkeypatch.setattr(report.backbones, "load", report.backbones.own_proxy)  # the other looks at larger images
    words = ("report", "--data", data / "bottle", "--work", tmp_path, "--base", base)
    return (*words, "--budget", "smoke", "--network", "small", "--seeds", 1, "--side", 64)


def times(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(params=["exported before", pytest.param("everything", marks=pytest.mark.slow)])
def exported(request, tmp_path):
    """Whether the report finds a bundle from before an interruption: the shipped one, since exporting takes a minute."""
    if request.param == "exported before":
        shutil.copytree(SHIPPED, tmp_path / "bottle.plan")
    return request.param == "exported before"


def test_report_runs_the_whole_pipeline_and_resumes(quality, words, exported, data, tmp_path):
    result = quality(*words)
    assert result.exit_code == 0, result.stderr + repr(result.exception)
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    rows = [row["learns from"] for row in found["tables"][0]["rows"]]
    ours = ["SeaS"] if exported else ["SeaS", "SeaS, composites"]  # the shipped bundle has no composites
    few = [f"{name} + few real" for name in ("crop-paste", "placed", *ours)]
    assert sorted(rows) == sorted(["standard", "crop-paste", "placed", "perlin", "poisson", *ours, *few])
    seconds = {row["stage"]: row["seconds"] for row in found["tables"][-9]["rows"]}
    stages = {"seas-train tune", "seas-train masks", "seas-gen", "segmenters", "all"}
    assert seconds.keys() == stages | (set() if exported else {"seas-export"})
    assert seconds.pop("all") == pytest.approx(sum(seconds.values()), abs=0.2)
    assert (tmp_path / "report" / "index.html").is_file()

    facts = run_folder.load_facts(tmp_path / "run")  # the generator saw what may be learned from, and nothing else
    split = layouts.split(layouts.read(data / "bottle"))
    assert sorted(facts.train) == sorted(f"test/{r.defect}/{r.image.name}" for r in split.train)
    assert facts.held_out == ()

    before = times(tmp_path)
    again = quality(*words)
    assert again.exit_code == 0, again.stderr + repr(again.exception)
    changed = {str(path.parts[0]) for path, when in times(tmp_path).items() if before.get(path) != when}
    assert changed <= {"report", "times.json", "pairs", "composites"}
    kept = [path for path in before if "trainings" in path.parts or path.parts[0] in ("run", "bottle.plan")]
    assert kept
    assert all(times(tmp_path)[path] == before[path] for path in kept)


@pytest.mark.parametrize(("asked", "expected"), [((), ("small", "efficientnet")), (("bisenet",), ("bisenet",))])
def test_networks_of_a_report(quality, data, tmp_path, monkeypatch, asked, expected):
    planned = []

    def plan(trials, *_rest):
        planned.extend(trials)
        raise DataError("enough")

    monkeypatch.setattr(report, "make", lambda *_: {})
    monkeypatch.setattr(report.trials, "run", plan)
    given = [word for name in asked for word in ("--network", name)]
    result = quality("report", "--data", data / "nut", "--work", tmp_path, "--budget", "smoke", "--side", 64, "--seeds", 2, *given)
    assert "enough" in result.stderr
    assert tuple(dict.fromkeys(trial.network for trial in planned)) == expected
    most = max(trial.count for trial in planned)
    assert {trial.count for trial in planned if trial.network != expected[0]} <= {most}  # the curve is of the first alone
    assert [trial.seed for trial in planned] == sorted(trial.seed for trial in planned)
    assert len(planned) == 2 * len(expected) * len({trial.method for trial in planned})


def test_report_refuses_a_folder_of_another_division(quality, words, tmp_path):
    (tmp_path / "learnable" / "bottle" / "train" / "good").mkdir(parents=True)
    result = quality(*words)
    assert result.exit_code == OutputError.exit_code
    assert "holds other images than this division has" in result.stderr


def test_an_interrupt_in_a_stage_ends_the_report(quality, words, monkeypatch, tmp_path):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tune, "train", interrupted)
    result = quality(*words)
    assert result.exit_code == 130
    assert "the same command continues" in result.stderr
    assert (tmp_path / "learnable" / "bottle" / "train").is_dir()
    assert not (tmp_path / "report").exists()


def test_the_end_of_a_job_is_an_interrupt(data, tmp_path):
    words = [sys.executable, "-m", "benchmarks.quality", "report", "--data", data / "bottle", "--work", tmp_path / "work"]
    with subprocess.Popen([*words, "--budget", "small"], stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("base: seas-train base")
        while process.poll() is None and not (tmp_path / "work" / "base").is_dir():
            time.sleep(0.1)
        process.terminate()
        assert "the same command continues" in process.stderr.read()
    assert process.returncode == 130
    assert seconds(tmp_path / "work").keys() == {"seas-train base"}


@pytest.mark.slow
def test_the_base_is_trained_on_what_may_be_learned_from(data, tmp_path):
    pipeline = Pipeline(tmp_path, lambda _line: None)
    out = pipeline.base(data / "bottle", TINY, "CC0")
    assert json.loads((out / "base.json").read_text())["provenance"]["licence"] == "CC0"


def test_seeds_are_shown_as_mean_and_spread():
    values = (0.5, 0.7, 0.75)
    cell = Seeds(values)
    assert cell.mean == pytest.approx(sum(values) / 3)
    assert cell.std == pytest.approx(statistics.stdev(values))
    assert Seeds((1.0,)).std is None
    shown = Table("T", ("a", "b"), (("x", cell), ("y", None))).markdown()
    assert "| x | 0.65 ± 0.13 |" in shown
    assert "| y | - |" in shown


def document(folder):
    rows = (("x <y>", Seeds((1.0, 3.0)), 7), ("z", None, 0.25))
    Image.new("RGB", (2, 2), "red").save(folder / "red.png")
    facts = {"command": "python -m benchmarks.quality test", "seeds": 2}
    table = Table("First", ("", "AP", "n"), rows)
    return Document("found", "Title & more", ("Opening.",), (table,), facts, {"red.png": "A red one."})


def test_a_document_says_the_same_in_every_format(tmp_path):
    found = document(tmp_path)
    tables.save(found, tmp_path)
    page.write(found, tmp_path)
    (table,) = json.loads((tmp_path / "found.json").read_text())["tables"]
    assert table["rows"][0] == {"": "x <y>", "AP": 2.0, "AP std": pytest.approx(2**0.5), "AP seeds": "1 3", "n": 7}
    rows = list(csv.DictReader(io.StringIO((tmp_path / "found.csv").read_text())))
    assert [row["n"] for row in rows] == ["7", "0.25"]
    assert rows[1]["AP"] == ""
    assert "| x <y> | 2.00 ± 1.41 | 7 |" in (tmp_path / "found.md").read_text()
    html = (tmp_path / "index.html").read_text()
    assert "<td>x &lt;y&gt;</td><td>2.00 ± 1.41</td><td>7</td>" in html
    assert "Title &amp; more" in html
    assert "data:image/png;base64," in html


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        tables.save(document(tmp_path), tmp_path / "file")


def test_the_command_names_no_private_place():
    facts = tables.origin(["generation", "/home/someone/out/tile", "--data", "data/tile", "--pairs", "a=/x/y/z"], seeds=3)
    assert facts["command"] == "python -m benchmarks.quality generation tile --data tile --pairs a=z"
    assert facts["seeds"] == 3


AVERAGES = {  # as the paper gives them
    ("2", "SeaS"): (97.72, 73.59, 69.86, 57.66),
    ("2", "AnomalyDiffusion"): (96.48, 68.06, 65.40, 46.49),
    ("2", "DFMGAN"): (93.94, 61.50, 60.85, 45.99),
    ("2", "DRAEM"): (80.33, 40.89, 44.17, 39.01),
    ("3", "SeaS"): (96.72, 98.41, 95.97),
    ("9", "SeaS"): (91.32, 34.93, 39.87, 35.37),
    ("10", "SeaS"): (78.44, 90.52, 87.27),
    ("31", "SeaS"): (95.32, 47.38, 49.29, 29.40, 49.91),
    ("31", "AnomalyDiffusion"): (90.76, 34.98, 39.95, 17.69, 37.18),
    ("32", "SeaS"): (86.34, 86.75, 80.69),
}


@pytest.mark.parametrize(("number", "method"), AVERAGES)
def test_the_papers_rows_have_the_papers_averages(number, method):
    rows = [values for name, values in paper.table(number).rows.items() if name.endswith(f", {method}")]
    assert len(rows) == 3
    assert np.mean(rows, axis=0) == pytest.approx(AVERAGES[number, method], abs=0.011)


def test_precision_recall_and_counts_are_pictures(tmp_path):
    rng = np.random.default_rng(0)
    masks = rng.random((3, 32, 32)) > 0.8
    plots.precision_recall({"a": [(rng.random((3, 32, 32)), masks)]}, tmp_path / "curve.png")
    plots.counts({"a": {5: Seeds((1.0, 2.0)), 50: Seeds((3.0,))}}, "AP", tmp_path / "counts.png")
    for name in ("curve.png", "counts.png"):
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 200
