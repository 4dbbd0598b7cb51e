"""`decompose` and `demo_quality` from beginning to end, at smoke size: their tables, that they resume, and what they refuse."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from benchmarks import common, demo_quality
from benchmarks.demo import drawn
from benchmarks.demo.drawn import JudgeSettings
from benchmarks.demo.oracle import Oracle
from benchmarks.quality.decomposition import build, cases
from benchmarks.quality.downstream.segmentation import SegmenterSettings
from seas_runtime.errors import DataError
from seas_train.config import resolve

ROOT = Path(__file__).parents[4]
QUICK = ("--budget", "smoke", "--steps", 1, "--side", 64, "--count", 6)
SMOKE = resolve(JudgeSettings, "smoke", None, {})


def ok(result):
    assert result.exit_code == 0, result.stderr + repr(result.exception)
    return result


def rows_of(folder, number=0):
    return json.loads((folder / "decompose.json").read_text())["tables"][number]["rows"]


def kept(folder):
    return {path.name: path.stat().st_mtime_ns for path in (folder / "trainings").iterdir()}


@pytest.fixture(scope="module")
def judged(tmp_path_factory, data, generated):
    """A finished decomposition of the drawn bottle, and the words that made it."""
    from click.testing import CliRunner

    from benchmarks.quality.cli import main

    out = tmp_path_factory.mktemp("decompose")
    words = ["decompose", "--data", data / "bottle", "--pairs", generated / "bottle", "--judge", "bottle", "--work", out, *QUICK]
    words += ["--shots", "1,2", "--seeds", 2, "--normals-from", f"drawn={generated / 'bottle'}", "--shares", "1/2,1/4"]
    words += ["--methods", "few-real,crop-paste,ours,perfect", "--orders", "mixed,in-turn"]
    ok(CliRunner().invoke(main, [str(word) for word in words]))
    return out, words


def test_every_case_of_every_shot_is_in_the_table(judged):
    out, _ = judged
    one = [
        ("few-real", "", 0), ("crop-paste", "1/2, mixed", 6), ("ours", "1/2, mixed", 6),
        ("ours", "1/2, mixed, normals: real and drawn", 6), ("ours", "1/4, mixed", 6), ("ours", "1/2, generated first", 6),
        ("perfect", "1/2, mixed", 6),
    ]  # fmt: skip
    rows = rows_of(out)
    assert [(row["learns from"], row["how"], row["pairs"]) for row in rows] == one * 2
    assert [row["shots"] for row in rows] == [1] * 7 + [2] * 7
    assert all(len(row["IoU seeds"].split()) == 2 for row in rows)
    assert len(kept(out)) == 2 * 14
    facts = json.loads((out / "decompose.json").read_text())
    assert facts["seeds"] == 2
    assert facts["segmenter"]["steps"] == 1
    text = (out / "decompose.md").read_text()
    assert "perfect: drawn pairs" in text
    assert (out / "index.html").read_text().count("data:image/png;base64,") == 1


def test_scores_are_those_of_the_kept_trainings(judged):
    out, _ = judged
    row = next(row for row in rows_of(out) if (row["shots"], row["learns from"], row["how"]) == (2, "ours", "1/4, mixed"))
    files = sorted((out / "trainings").glob("ours_real_0.25_mixed_2-*.json"))
    scores = [json.loads(file.read_text())["scores"] for file in files]
    values = [float(value) for value in row["AP seeds"].split()]
    assert values == pytest.approx([100 * found["pixel_ap"] for found in scores], rel=1e-4)
    few = [json.loads(file.read_text())["scores"] for file in sorted((out / "trainings").glob("few-real_real_2-*.json"))]
    above = sum(own["pixel_ap"] > its["pixel_ap"] for own, its in zip(scores, few, strict=True))
    assert row["AP above few real"] == f"{above} of 2"


def test_defects_are_laid_beside_those_that_were_drawn_for_the_test(judged):
    out, _ = judged
    rows = [row for row in rows_of(out, 1) if row["type"] == "all"]
    assert [(row["pairs"], row["number"]) for row in rows] == [
        ("real, drawn for the test", 6), ("real, 2 shots", 6), ("generated", 18), ("generated, by the judge", rows[-1]["number"]),
    ]  # fmt: skip
    anomalies, _ = drawn.fresh_pieces("bottle", 64, SMOKE)
    assert rows[0]["area, %"] == pytest.approx(100 * anomalies.masks.mean())
    broken = next(row for row in rows_of(out, 1) if row["type"] == "broken_large")
    assert broken["area, %"] == pytest.approx(100 * anomalies.of(1 + drawn.defects("bottle").index("broken_large")).masks.mean())


def test_only_what_is_missing_is_trained_again(judged, quality):
    out, words = judged
    table, before = (out / "decompose.csv").read_text(), kept(out)
    lost = next(name for name in before if name.startswith("ours_real_0.5_in-turn_2-1"))
    (out / "trainings" / lost).unlink()
    ok(quality(*words))
    after = kept(out)
    assert {name for name in after if before.get(name) != after[name]} == {lost}
    assert (out / "decompose.csv").read_text() == table


def test_methods_are_chosen_and_other_methods_keep_their_trainings(judged, quality):
    out, words = judged
    before = kept(out)
    chosen = [word if word != "few-real,crop-paste,ours,perfect" else "few-real,ours-alone" for word in words]
    ok(quality(*chosen))
    assert {row["learns from"] for row in rows_of(out)} == {"few-real", "ours-alone"}
    new = kept(out).keys() - before.keys()
    assert len(new) == 2  # without the few real ones, all shots are the same
    assert all(name.startswith("ours-alone_real-") for name in new)
    ok(quality(*words))


def test_photographs_have_the_other_real_anomalies_as_their_headroom(quality, data, generated, tmp_path):
    words = ("decompose", "--data", data / "nut", "--pairs", generated / "nut", "--work", tmp_path, *QUICK, "--seeds", 1)
    result = ok(quality(*words, "--shots", "1,2", "--vary", "ours", "--orders", "mixed"))
    rows = rows_of(tmp_path)
    names = ["few-real", "crop-paste", "placed", "perlin", "poisson", "ours", "ours", "ours-alone"]
    assert [row["learns from"] for row in rows] == [*names, "more-real", *names]  # with 2 of 2 for training none is left
    assert "more-real is left out at 2 shots: it has no pairs here" in result.stderr
    assert next(row for row in rows if row["learns from"] == "more-real")["pairs"] == 2  # of two types
    assert {row["pairs"] for row in rows_of(tmp_path, 1)} == {"real, held out", "real, 2 shots", "generated"}
    assert [row["number"] for row in rows_of(tmp_path, 1)[:3]] == [8, 4, 12]


def test_each_number_of_shots_may_have_its_own_generator(quality, data, generated, tmp_path):
    few = tmp_path / "few" / "nut"
    shutil.copytree(generated / "nut", few)
    for path in sorted(few.rglob("*.png"))[::2]:
        if path.parent.name != "good" and "test" in path.parts:
            path.unlink()
            (few / "ground_truth" / path.parent.name / f"{path.stem}_mask.png").unlink()
    words = ("decompose", "--data", data / "nut", "--work", tmp_path / "out", *QUICK, "--seeds", 1, "--methods", "ours-alone")
    ok(quality(*words, "--pairs", generated / "nut", "--pairs", f"1={few}", "--shots", "1,2", "--count", 99))
    assert [row["pairs"] for row in rows_of(tmp_path / "out")] == [len(list((few / "test").rglob("*.png"))), 12]
    assert {"generated, 1 shots", "generated"} <= {row["pairs"] for row in rows_of(tmp_path / "out", 1)}


def test_shots_that_there_are_not_are_left_out_unless_asked_for(quality, data, tmp_path):
    words = ("decompose", "--data", data / "nut", "--work", tmp_path, *QUICK, "--seeds", 1, "--methods", "few-real")
    result = ok(quality(*words, "--train-share", 0.5))
    assert [row["shots"] for row in rows_of(tmp_path)] == [3]  # which are all
    assert "5, 15 shots are left out: a type has 3 anomalies for training" in result.stderr
    ok(quality(*words, "--train-share", 0.7))
    assert [row["shots"] for row in rows_of(tmp_path)] == [3, "all"]
    result = quality(*words, "--shots", 5)
    assert result.exit_code == DataError.exit_code
    assert "expected at least 5" in result.stderr


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--methods", "ours"], 2, "ours needs generated pairs; add --engine or --pairs"),
        (["--methods", "perfect"], 2, "perfect needs a judge; add --judge"),
        (["--methods", "cutmix"], 2, "--methods: found 'cutmix', expected some of few-real"),
        (["--orders", "last"], 2, "--orders: found 'last'"),
        (["--shares", "2"], 2, "shares between 0 and 1 expected"),
        (["--judge", "valve"], 2, "--judge valve: no drawn product, expected one of bottle"),
        (["--judge", "bottle"], 3, "expected those of drawn pieces of bottle"),
        (["--pairs", "PAIRS", "--pairs", "PAIRS"], 2, "there is one of these shots already"),
        (["--pairs", "PAIRS", "--engine", "PAIRS"], 2, "found --engine and --pairs"),
        (["--pairs", "7=PAIRS"], 2, "found a generator of 7 shots, expected one of 1"),
        (["--normals-from", "PAIRS"], 2, "expected NAME=DIR"),
        (["--normals-from", "x=PAIRS/test"], 3, "holds no image, expected normal images"),
        (["--pairs", "GONE"], 3, "no such folder"),
        (["--engine", "GONE"], 3, "GONE"),
    ],
)
def test_bad_words_are_refused_in_one_line(quality, data, generated, tmp_path, words, code, says):
    gone = str(tmp_path / "GONE")
    words = [word.replace("PAIRS", str(generated / "nut")).replace("GONE", gone) for word in words]
    given = ("decompose", "--data", data / "nut", "--work", tmp_path / "out", "--shots", 1, *QUICK, "--seeds", 1)
    result = quality(*given, *words)
    assert (result.exit_code, says in result.stderr) == (code, True), result.stderr
    assert "Traceback" not in result.stderr


def test_photographs_are_not_taken_for_drawn_pieces():
    anomalies, _ = drawn.fresh_pieces("bottle", 64, SMOKE)
    judge = Oracle(drawn.defects("bottle"))
    judge.labels = lambda images: np.zeros(images.shape[:3], np.uint8)
    with pytest.raises(DataError, match=r"overlaps with the masks of the given anomalies by 0\.00, expected 0\.5 or more"):
        drawn.require_drawn(judge, "bottle", anomalies, 0.5)
    drawn.require_drawn(judge, "bottle", anomalies, 0.0)


def test_an_engine_makes_its_pairs_once(quality, data, tmp_path, monkeypatch):
    """With a runner in place of `seas-gen`, whose folder is named after the engine and the number of pairs."""
    ran = []

    def run(_stages, stage):
        ran.append(stage)
        raise click.ClickException("enough")

    monkeypatch.setattr(build.Stages, "run", run)
    words = ("decompose", "--data", data / "bottle", "--work", tmp_path, "--shots", 1, *QUICK)
    quality(*words, "--engine", ROOT / "engines" / "bottle.plan")
    (stage,) = ran
    digest = json.loads((ROOT / "engines" / "bottle.plan" / "manifest.json").read_text())["digest"]
    assert stage.result == tmp_path / f"pairs-{digest[:12]}-6" / "run.json"
    assert stage.command[-4:] == ("--retries", "0", "--max-area", "1")


def test_the_demos_quality_from_beginning_to_end(data, generated, tmp_path, monkeypatch):
    """On the small data set, with pairs in place of an engine's."""
    (tmp_path / "few").mkdir()
    shutil.copytree(data / "bottle", tmp_path / "few" / "bottle")
    monkeypatch.setattr(common, "RESULTS", tmp_path / "results")
    for name, value in {"SIDE": 64, "SHOTS": 2, "BLENDS": 4}.items():
        monkeypatch.setattr(demo_quality, name, value)
    monkeypatch.setattr(demo_quality, "JudgeSettings", lambda: SMOKE)
    monkeypatch.setattr(demo_quality, "SegmenterSettings", lambda: SegmenterSettings(steps=1, batch=4))
    asked = replace(demo_quality.request(tmp_path, None, 20), pairs={0: generated / "bottle"})
    stock = replace(build.stock_of(asked, tmp_path, lambda _line: None), blends=4)
    scores = demo_quality.segmenters(stock, tuple(demo_quality.METHODS), 2, tmp_path, lambda _line: None)
    demo_quality.judge(ROOT / "engines" / "bottle.plan", asked, stock, scores)
    found = json.loads((tmp_path / "results" / "demo_quality.json").read_text())
    assert found["pairs"] == 18
    assert found["figures"]["empty"] == pytest.approx(1 - 18 / 20)
    assert {name: len(runs) for name, runs in found["segmenters"].items()} == dict.fromkeys(demo_quality.METHODS, 2)
    text = (tmp_path / "results" / "demo_quality.md").read_text()
    assert "| real + cut-and-paste |" in text
    with Image.open(tmp_path / "results" / "demo_quality.jpg") as picture:
        assert min(picture.size) > 100


def test_the_choices_are_all_that_there_are():
    assert set(cases.COMPARATORS) <= set(cases.METHODS)
    assert set(demo_quality.METHODS.values()) <= set(cases.METHODS)
