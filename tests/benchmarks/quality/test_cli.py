"""The commands that judge pairs: their files, that they resume, and what they refuse."""

import csv
import dataclasses
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score

from benchmarks.quality import choices, options, real
from benchmarks.quality.downstream import comparators, segmenters, trials
from benchmarks.quality.metrics import backbones
from seas_runtime.errors import DataError, OutputError
from seas_train import run_folder
from seas_train.config import TuneSettings

DOWNSTREAM = ("--budget", "smoke", "--steps", 2, "--side", 64, "--seeds", 2, "--comparator", "perlin", "--count", 6, "--count", 3)


def ok(result):
    assert result.exit_code == 0, result.output + result.stderr + repr(result.exception)
    return result


def kept(out):
    return {path.name: path.stat().st_mtime_ns for path in (out / "trainings").iterdir()}


def test_generation_writes_its_tables(quality, data, generated, tmp_path):
    ok(quality("generation", generated, "--data", data, "--side", 64, "--splits", 2, "--out", tmp_path))
    found = json.loads((tmp_path / "generation.json").read_text())
    assert {"command", "commit", "versions", "machine", "settings", "weights", "images"} <= found.keys()
    assert found["command"].startswith("python -m benchmarks.quality generation ")
    fidelity, copies = (table["rows"] for table in found["tables"])
    bottle = [row for row in fidelity if row["product"] == "bottle"]
    assert [row["images"] for row in bottle] == [6, 6, 6, 18]
    scores = [float(row["IS"].split()[0]) for row in bottle[:-1]]
    assert bottle[-1]["IS"] == pytest.approx(np.mean(scores), abs=1e-3)
    assert bottle[-1]["IC-LPIPS"] == pytest.approx(np.mean([row["IC-LPIPS"] for row in bottle[:-1]]))
    assert {row["pairs"] for row in copies} == {"generated", "real, held out"}
    text = (tmp_path / "generation.md").read_text()
    assert "Label: proxy. Computed by EfficientNet-Lite0" in text
    assert "The paper's table" not in text  # a proxy's figures never stand beside the paper's
    page = (tmp_path / "index.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    assert "<script" not in page


def test_copies_of_the_training_anomalies_are_counted(quality, data, tmp_path, monkeypatch):
    monkeypatch.setattr(backbones, "load", lambda *_: backbones.own_proxy())  # the other looks at larger images
    few = real.divide(real.read_products(data / "bottle")["bottle"], TuneSettings()).few
    for record in few:
        for part, path in (("test", record.image), ("ground_truth", record.mask)):
            place = tmp_path / "copies" / part / record.defect / path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    words = ("--data", data / "bottle", "--side", 64, "--splits", 1, "--out", tmp_path / "out")
    result = quality("generation", tmp_path / "copies", *words)
    assert result.exit_code == 3  # each training anomaly is nearest to one image alone: IC-LPIPS is undefined
    assert "IC-LPIPS is undefined" in result.stderr
    for record in few:
        place = tmp_path / "copies" / "test" / record.defect / record.image.name
        shutil.copy(place, place.with_stem("again"))
        truth = tmp_path / "copies" / "ground_truth" / record.defect
        shutil.copy(truth / record.mask.name, truth / "again_mask.png")
    ok(quality("generation", tmp_path / "copies", *words))
    rows = json.loads((tmp_path / "out" / "generation.json").read_text())["tables"][1]["rows"]
    made = [row for row in rows if row["pairs"] == "generated"]
    assert {row["near copies"] for row in made} == {"100.0%"}
    assert all(row["duplicate"] == "33.3%" for row in made)
    assert all(row["nearest: distance"] < 1e-5 and row["pixels"] == 0 for row in made)


@pytest.fixture(scope="module")
def downstream(tmp_path_factory, data, generated):
    from click.testing import CliRunner

    from benchmarks.quality.cli import main

    out = tmp_path_factory.mktemp("downstream")
    words = ["downstream", "--data", data, "--pairs", f"ours={generated}", "--scope", "both", *DOWNSTREAM, "--out", out]
    ok(CliRunner().invoke(main, [str(word) for word in words]))
    return out, words


def test_downstream_scores_are_those_of_its_maps(downstream):
    out, _ = downstream
    found = json.loads((out / "downstream.json").read_text())
    rows = {row["learns from"]: row for row in found["tables"][0]["rows"]}
    assert rows.keys() == {"perlin", "ours"}
    assert found["seeds"] == 2
    for method, row in rows.items():
        values = [float(value) for value in row["AP seeds"].split()]
        assert len(values) == 2
        assert row["AP"] == pytest.approx(np.mean(values), rel=1e-5)
        assert row["AP std"] == pytest.approx(np.std(values, ddof=1), rel=1e-4)
        scores = json.loads((out / "trainings" / f"{method}-small-unified-6-0.json").read_text())["scores"]
        assert values[0] == pytest.approx(100 * np.mean([scores[name]["pixel_ap"] for name in ("bottle", "nut")]), rel=1e-5)


def test_average_precision_by_scikit_learn_from_the_files_alone(downstream, data):
    out, _ = downstream
    trial = trials.Trial("ours", "small", "unified", 6, 1)
    maps = trials.read_maps(out / "trainings", trial)["bottle"]
    found = real.divide(real.read_products(data)["bottle"], TuneSettings())
    masks = [np.asarray(Image.open(record.mask)) > 0 for record in found.held_out]
    masks += [np.zeros((64, 64), bool)] * len(found.test_normals)
    expected = average_precision_score(np.ravel(masks), maps.ravel())
    scores = json.loads((out / "trainings" / f"{trial.name}.json").read_text())["scores"]
    assert scores["bottle"]["pixel_ap"] == pytest.approx(expected, abs=2e-3)  # maps are kept in half precision


def test_downstream_writes_markdown_csv_and_a_page_with_its_pictures(downstream):
    out, _ = downstream
    text = (out / "downstream.md").read_text()
    for title in ("Anomaly segmentation", "One network for all products", "Each product", "More pairs", "The paper's table 2"):
        assert title in text
    part = (out / "downstream.csv").read_text().split("\n\n")[0]
    rows = list(csv.DictReader(io.StringIO(part)))
    assert [row["learns from"] for row in rows] == ["perlin", "ours"]
    assert float(rows[0]["AP"]) == pytest.approx(json.loads((out / "downstream.json").read_text())["tables"][0]["rows"][0]["AP"])
    pictures = {path.name for path in out.glob("*.png")}
    assert pictures == {"precision_recall.png", "predictions_bottle.png", "predictions_nut.png", "counts.png"}
    assert (out / "index.html").read_text().count("data:image/png;base64,") == len(pictures)


def test_downstream_resumes_after_every_training(downstream, quality):
    out, words = downstream
    table, before = (out / "downstream.csv").read_text(), kept(out)
    assert len(before) == 2 * 2 * (2 + 4)  # files; seeds; perlin of one count and ours of two, each in two scopes
    lost = "ours-small-each-3-1.json"
    (out / "trainings" / lost).unlink()
    ok(quality(*words))
    after = kept(out)
    assert {name for name in before if after[name] != before[name]} == {lost, lost.replace("json", "npz")}
    assert (out / "downstream.csv").read_text() == table


def test_downstream_refuses_to_mix_settings(downstream, quality):
    _, words = downstream
    result = quality(*[3 if word == 2 and words[i - 1] == "--steps" else word for i, word in enumerate(words)])
    assert result.exit_code == OutputError.exit_code
    assert "was made with other settings" in result.stderr


def test_few_real_anomalies_are_a_method_of_their_own(quality, data, generated, tmp_path):
    words = ("--budget", "smoke", "--steps", 1, "--side", 64, "--seeds", 1, "--few-real", 0.5, "--comparator", "standard")
    ok(quality("downstream", "--data", data / "nut", "--pairs", generated / "nut", *words, "--out", tmp_path))
    rows = json.loads((tmp_path / "downstream.json").read_text())["tables"][0]["rows"]
    assert [row["learns from"] for row in rows] == ["standard", "nut", "nut + few real"]


def test_replaced_compares_both_detectors(quality, data, generated, tmp_path):
    words = ("replaced", "--data", data / "nut", "--pairs", generated / "nut", "--count", 4)
    words = (*words, "--budget", "smoke", "--steps", 2, "--side", 64, "--seeds", 1, "--out", tmp_path)
    ok(quality(*words))
    found = json.loads((tmp_path / "replaced.json").read_text())
    assert {"command", "commit", "versions", "machine", "settings", "division", "images"} <= found.keys()
    assert {"replaced.md", "replaced.csv", "index.html"} <= {path.name for path in tmp_path.iterdir()}
    rows = found["tables"][0]["rows"]
    assert [row[""] for row in rows] == ["DRAEM-like", "nut + DRAEM-like"]
    before = kept(tmp_path)
    ok(quality(*words))
    assert kept(tmp_path) == before


def test_a_run_decides_what_is_held_out(data, tuned):
    facts = run_folder.load_facts(tuned)
    product = real.read_products(data / "bottle")["bottle"]
    names = {record.image.relative_to(product.root).as_posix(): record for record in product.anomalies}
    chosen = sorted(names)[:4]
    facts = facts.model_copy(update={"train": tuple(sorted(names)[4:]), "held_out": tuple(chosen), "normals": ()})
    found = real.divide(product, TuneSettings(), facts)
    assert {record.image for record in found.held_out} == {names[name].image for name in chosen}
    with pytest.raises(DataError, match=r"has no image gone\.png"):
        real.divide(product, TuneSettings(), facts.model_copy(update={"train": ("gone.png",)}))


@pytest.mark.parametrize(("name", "few", "held_out"), [("bottle", 6, 12), ("nut", 4, 8)])
def test_nothing_is_learned_from_a_test_image(data, name, few, held_out, tmp_path):
    found = real.divide(real.read_products(data)[name], TuneSettings())
    tested = {record.image.read_bytes() for record in (*found.held_out, *found.test_normals)}
    learned = {record.image.read_bytes() for record in (*found.few, *found.normals)}
    assert not tested & learned
    assert (len(found.few), len(found.held_out)) == (few, held_out)
    folder = real.write_learnable(found, tmp_path)
    files = [path.read_bytes() for path in folder.rglob("*.png") if "ground_truth" not in path.parts]
    assert set(files) == learned
    again = real.divide(real.read_products(folder)[name], TuneSettings(train_share=0.5))
    assert {record.image.resolve() for record in (*again.few, *again.held_out)} == {record.image for record in found.few}


def test_normal_images_for_the_test_are_none_that_a_generator_uses(data):
    product = dataclasses.replace(real.read_products(data)["nut"], test_normals=())
    found = real.divide(product, TuneSettings(normals=2))
    assert len(found.test_normals) == 2
    assert len(found.normals) == 4
    assert not set(found.test_normals) & set(found.normals)
    used = real.layouts.pick_normals(product, 2, 0)
    assert not set(found.test_normals) & set(used)


def bad_pairs(folder, generated):
    shutil.copytree(generated / "nut", folder)
    return folder


def test_a_generated_copy_of_a_test_image_is_refused(quality, data, generated, tmp_path):
    pairs = bad_pairs(tmp_path / "pairs", generated)
    held_out = real.divide(real.read_products(data)["nut"], TuneSettings()).held_out[0]
    shutil.copy(held_out.image, next((pairs / "test" / held_out.defect).iterdir()))
    result = quality("downstream", "--data", data / "nut", "--pairs", pairs, *DOWNSTREAM, "--out", tmp_path / "out")
    assert result.exit_code == DataError.exit_code
    assert f"shows the same as the test image test/{held_out.defect}/{held_out.image.name}" in result.stderr


def without_test_normals(folder, data):
    shutil.copytree(data / "nut", folder)
    shutil.rmtree(folder / "test" / "good")
    return folder


def masks_of(folder):
    return sorted((folder / "ground_truth").glob("*/*.png"))


def spoil_size(folder):
    Image.new("L", (32, 64), 255).save(masks_of(folder)[0])


def spoil_values(folder):
    Image.fromarray((np.arange(64 * 64) % 256).astype(np.uint8).reshape(64, 64)).save(masks_of(folder)[0])


def spoil_pairing(folder):
    masks_of(folder)[0].unlink()


def spoil_all_masks(folder):
    for path in masks_of(folder):
        Image.new("L", (64, 64), 0).save(path)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (spoil_size, "the mask is 32 x 64 pixels, expected 64 x 64"),
        (spoil_values, "the mask holds the values 0, 1, 2, 3, 4, ..., expected only 0 and 255"),
        (spoil_pairing, "has no mask"),
        (spoil_all_masks, "the masks of all 12 pairs are empty"),
        (lambda folder: shutil.rmtree(folder / "ground_truth"), "has no mask"),
        (shutil.rmtree, "no such folder"),
    ],
)
def test_pairs_that_do_not_fit_are_refused_in_one_line(quality, data, generated, tmp_path, spoil, says):
    pairs = bad_pairs(tmp_path / "pairs", generated)
    spoil(pairs)
    result = quality("downstream", "--data", data / "nut", "--pairs", pairs, *DOWNSTREAM, "--out", tmp_path / "out")
    assert result.exit_code == DataError.exit_code
    assert says in result.stderr
    assert result.stderr.strip().count("\n") == 0
    assert "Traceback" not in result.stderr


def test_a_test_set_of_one_class_is_named(quality, data, generated, tmp_path):
    folder = without_test_normals(tmp_path / "nut", data)  # 6 normals, which the generator uses all
    words = ("--pairs", generated / "nut", "--budget", "smoke", "--steps", 1, "--side", 64, "--seeds", 1)
    result = quality("downstream", "--data", folder, *words, "--out", tmp_path / "out")
    assert result.exit_code == DataError.exit_code
    assert ": all 8 test images are anomalous, expected normal ones too: AUROC, AP and F1 of images are undefined" in result.stderr


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--data", "DATA"], 2, "neither --pairs nor --comparator"),
        (["--data", "DATA/gone", "--comparator", "perlin"], 3, "no such folder"),
        (["--data", "DATA", "--pairs", "PAIRS/nut"], 3, "bottle: has no generated pairs"),
        (["--data", "DATA", "--pairs", "a=PAIRS", "--pairs", "a=PAIRS"], 2, "the name 'a' is taken"),
        (["--data", "DATA", "--pairs", "perlin=PAIRS"], 2, "the name 'perlin' is taken"),
        (["--data", "DATA", "--pairs", "crop_paste=PAIRS"], 2, "the name 'crop_paste' is taken"),
        (["--data", "DATA", "--pairs", "a=PAIRS", "--pairs", "a + few real=PAIRS"], 2, "the name 'a + few real' is taken"),
        (["--data", "DATA", "--pairs", "PAIRS", "--side", "100"], 2, "expected a multiple of 32"),
        (["--data", "DATA", "--pairs", "x=PAIRS", "--side", "64", "--count", "19"], 3, "found 18 pairs of bottle with a mask"),
        (["--data", "DATA", "--pairs", "PAIRS", "--run", "DATA"], 3, "without run.json"),
        (["--data", "DATA", "--pairs", "PAIRS", "--run", "DATA", "--shots", "1"], 2, "found --run and a division"),
        (["--data", "DATA", "--comparator", "perlin", "--layout", "heap"], 2, "unknown layout 'heap'"),
        (["--data", "DATA", "--comparator", "cutmix"], 2, "Invalid value for '--comparator'"),
    ],
)
def test_bad_words_are_refused_in_one_line(quality, data, generated, tmp_path, words, code, says):
    words = [word.replace("DATA", str(data)).replace("PAIRS", str(generated)) for word in words]
    result = quality("downstream", *words, "--out", tmp_path / "out")
    assert (result.exit_code, says in result.stderr) == (code, True), result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--inception", "GONE", "--vgg", "GONE"], 3, "cannot be read"),
        (["--inception", "GONE"], 2, "no weights of VGG given"),
        (["--splits", "7"], 3, "expected at least 7"),
    ],
)
def test_generation_refuses_in_one_line(quality, data, generated, tmp_path, words, code, says):
    words = [word.replace("GONE", str(tmp_path / "gone.pth")) for word in words]
    result = quality("generation", generated, "--data", data, "--side", 64, *words, "--out", tmp_path / "out")
    assert (result.exit_code, says in result.stderr) == (code, True), result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["generation", "downstream", "replaced", "unsupervised", "report", "ablate", "decompose"])
def test_help_has_an_example(quality, command):
    assert f"Example: seas-quality {command}" in " ".join(ok(quality(command, "--help")).output.split())


def test_choices_on_the_command_line_are_all_there_are():
    assert set(options.NETWORKS) == segmenters.NETWORKS.keys()
    assert set(options.COMPARATORS) == comparators.COMPARATORS.keys()


def test_a_package_that_is_missing_is_told_with_what_brings_it(quality, data, monkeypatch):
    def missing(*_, **__):
        raise ModuleNotFoundError("No module named 'torchmetrics'", name="torchmetrics")

    monkeypatch.setattr(options, "facts", missing)
    result = quality("report", "--data", data / "nut")
    assert result.exit_code == 2
    assert 'torchmetrics is not installed; run pip install "seas-gen[cpu,train,export,quality,judge]"' in result.stderr


@pytest.mark.parametrize("given", [None, "elsewhere"])
def test_where_a_report_goes(quality, data, tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    found = []
    monkeypatch.setattr(choices, "choose", lambda _real, _minutes, _side, _seeds, work, _networks: found.append(work) or {}["end"])
    result = quality("report", "--data", data / "nut", *(("--work", given) if given else ()))
    assert isinstance(result.exception, KeyError)
    assert found == [Path(given or "out/quality/report/nut")]
