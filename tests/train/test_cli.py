"""`seas-train` from the outside: the whole pipeline with two steps a stage, and what each kind of misuse says."""

import functools
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from seas_train import onward
from seas_train.base.settings import BaseSettings
from seas_train.cli import main
from seas_train.config import MaskSettings, TuneSettings
from seas_train.data.layouts import Product
from seas_train.models.origin import Origin

FEW = ["--steps", "2", "--checkpoint-every", "1"]
SMALL = ["--anomaly-batch", "1", "--normal-batch", "1"]


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def done(*words: object) -> str:
    result = call(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(code: int, *words: object) -> str:
    result = call(*words)
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    return result.stderr


class Pipeline:
    """The folders of one small training and the commands that made them."""

    def __init__(self, root: Path) -> None:
        self.root, self.data, self.base, self.run = root, root / "demo/bottle", root / "base", root / "run"
        self.samples = root / "samples"
        counts = ["--normals", 3, "--per-defect", 2, "--test-normals", 1, "--size", 64]
        self.draw = ["demo-data", root / "demo", *counts]
        self.make_base = [
            *("base", self.data, "--out", self.base, "--vae-steps", 2, "--vae-batch", 2, "--batch", 2),
            *("--licence", "CC0", *FEW),
        ]
        self.tune = [
            "tune",
            self.data,
            "--base",
            self.base,
            "--out",
            self.run,
            "--preset",
            "tiny",
            *FEW,
            *SMALL,
        ]
        self.masks = ["masks", self.run, self.data, "--preset", "tiny", *FEW, *SMALL]
        self.sample = ["sample", self.run, "--out", self.samples, "--count", 5, "--steps", 2, "--batch", 3]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    pipeline = Pipeline(tmp_path_factory.mktemp("pipeline"))
    outputs = [done(*words) for words in (pipeline.draw, pipeline.make_base, pipeline.tune, pipeline.masks, pipeline.sample)]
    for text in outputs:
        assert text.count("\n") == 1
        assert " in " in text
        assert text.endswith(" s\n")
    return pipeline


def test_each_stage_names_the_next(pipeline: Pipeline, tmp_path: Path) -> None:
    """On copies; the data's folder is called bottle, and so is the product."""
    base, run = tmp_path / "base", tmp_path / "run"
    words = [base if word == pipeline.base else word for word in pipeline.make_base]
    assert call(*words).stderr.endswith(f"next: seas-train tune {pipeline.data} --base {base} --out runs/bottle\n")
    shutil.copytree(pipeline.run, run)
    shutil.rmtree(run / "rmp")
    words = [run if word == pipeline.run else word for word in pipeline.masks]
    assert call(*words).stderr.endswith(f"next: seas-export {run} --out bottle.plan --photographs --composites 100\n")


@pytest.mark.parametrize(("fit", "more"), [("stretch", ""), ("tile", " --fit tile")])
def test_a_base_of_any_photographs_is_tuned_on_data_of_ones_own(tmp_path: Path, fit: Literal["stretch", "tile"], more: str) -> None:
    told = onward.after_base([tmp_path], tmp_path / "my base", BaseSettings(fit=fit))
    assert told == f"seas-train tune DATA --base '{tmp_path}/my base' --out runs/NAME{more}"


def test_provenance_names_data_and_licences(pipeline: Pipeline) -> None:
    facts = json.loads((pipeline.run / "run.json").read_text())
    assert facts["provenance"] == {
        "data": "bottle (mvtec)",
        "licence": "not stated",
        "base_licence": "CC0",
        "base": pipeline.base.name,
    }
    assert facts["tune"]["unet_lr"] == 1e-4  # the preset's
    assert facts["tune"]["steps"] == 2  # the command line's


def test_samples_are_images_with_two_level_masks_and_a_sheet(pipeline: Pipeline) -> None:
    defects = json.loads((pipeline.run / "run.json").read_text())["prompts"]["anomaly"]
    written = sorted(path.relative_to(pipeline.samples).as_posix() for path in pipeline.samples.rglob("*.png"))
    names = list(defects)
    expected = ["sheet.png"]
    for i in range(5):
        expected += [f"{names[i % len(names)]}/{i:06}{end}" for end in (".png", "_mask.png")]
    assert written == sorted(expected)
    with Image.open(pipeline.samples / names[0] / "000000.png") as image:
        assert (image.mode, image.size) == ("RGB", (128, 128))
    with Image.open(pipeline.samples / names[0] / "000000_mask.png") as mask:
        assert set(np.unique(np.asarray(mask))) <= {0, 255}


def test_a_pair_depends_on_seed_and_index_not_on_the_batch(pipeline: Pipeline, tmp_path: Path) -> None:
    out = tmp_path / "again"
    done("sample", pipeline.run, "--out", out, "--count", 5, "--steps", 2, "--batch", 2)
    for path in out.rglob("0*.png"):
        if "_mask" not in path.name:
            with Image.open(path) as new, Image.open(pipeline.samples / path.relative_to(out)) as old:
                assert np.abs(np.asarray(new).astype(int) - np.asarray(old)).max() <= 1


@pytest.mark.parametrize("stage", ["make_base", "tune", "masks"])
def test_a_finished_stage_says_so_and_refuses_other_settings(pipeline: Pipeline, stage: str) -> None:
    words = getattr(pipeline, stage)
    before = {path: path.stat().st_mtime_ns for path in pipeline.root.rglob("*")}
    assert "already done" in done(*words)
    said = refused(5, *words, "--seed", "9")
    assert "seed 0, now 9" in said
    assert said.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in pipeline.root.rglob("*")} == before


def test_a_base_of_a_version_that_knew_fewer_settings_is_done_too(pipeline: Pipeline, tmp_path: Path) -> None:
    base = shutil.copytree(pipeline.base, tmp_path / "base")
    facts = json.loads((base / "base.json").read_text())
    del facts["settings"]["lr_schedule"]
    (base / "base.json").write_text(json.dumps(facts))
    words = [base if word == pipeline.base else word for word in pipeline.make_base]
    assert "already done" in done(*words)
    assert "lr_schedule 'cosine', now 'constant'" in refused(5, *words, "--lr-schedule", "constant")


def test_out_that_is_a_file_or_foreign_is_refused_and_left_alone(pipeline: Pipeline, tmp_path: Path) -> None:
    file, foreign = tmp_path / "file", tmp_path / "foreign"
    file.write_text("mine")
    foreign.mkdir()
    (foreign / "letter.txt").write_text("mine")
    for out, words in ((file, "is a file"), (foreign, "holds letter.txt")):
        assert words in refused(5, "base", pipeline.data, "--out", out)
        assert words in refused(5, "tune", pipeline.data, "--base", pipeline.base, "--out", out)
        assert words in refused(5, "sample", pipeline.run, "--out", out)
    assert [path.name for path in foreign.iterdir()] == ["letter.txt"]
    assert "is a file" in refused(5, "demo-data", file)


def test_a_base_is_no_place_for_a_run(pipeline: Pipeline) -> None:
    assert "no unfinished tune" in refused(5, "tune", pipeline.data, "--base", pipeline.base, "--out", pipeline.base)


def test_bad_data_leaves_no_folder_behind(pipeline: Pipeline, tmp_path: Path) -> None:
    out = tmp_path / "out"
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "torn.png").write_bytes((pipeline.data / "train/good/000.png").read_bytes()[:200])
    assert "torn.png" in refused(3, "base", empty, "--out", out)
    assert "no such folder" in refused(3, "tune", tmp_path / "none", "--base", pipeline.base, "--out", out)
    assert "no such folder" in refused(3, "tune", pipeline.data, "--base", tmp_path / "none", "--out", out)
    assert "run folder" in refused(3, "masks", tmp_path / "none", pipeline.data)
    assert "run folder" in refused(3, "sample", tmp_path / "none", "--out", out)
    assert not out.exists()


def test_settings_come_from_file_and_are_checked(pipeline: Pipeline, tmp_path: Path) -> None:
    file, out = tmp_path / "tune.toml", tmp_path / "out"
    words = ["tune", pipeline.data, "--base", pipeline.base, "--out", out, "--config", file]
    file.write_text("setps = 3\n")
    assert "setps" in refused(2, *words)
    file.write_text("steps = 0\n")
    assert "steps" in refused(2, *words)
    assert "--levels" in refused(2, *words, "--levels", "two")
    assert "unknown defect type 'rust'" in refused(2, "sample", pipeline.run, "--out", out, "--defect", "rust")
    assert not out.exists()


def test_a_type_of_one_image_is_a_warning(pipeline: Pipeline, tmp_path: Path) -> None:
    done("demo-data", tmp_path, "--normals", 2, "--per-defect", 1, "--test-normals", 0, "--size", 64)
    result = call("tune", tmp_path / "bottle", "--base", tmp_path, "--out", tmp_path / "out")
    assert result.stderr.startswith("Warning: ")
    assert "single image" in result.stderr


@pytest.mark.parametrize(("command", "cls"), [("base", BaseSettings), ("tune", TuneSettings), ("masks", MaskSettings)])
def test_help_has_every_setting_with_its_description(command: str, cls: type[BaseSettings | TuneSettings | MaskSettings]) -> None:
    text = " ".join(CliRunner().invoke(main, [command, "--help"], terminal_width=100).output.split())
    for name, field in cls.model_fields.items():
        assert f"--{name.replace('_', '-')}" in text
        assert field.description is not None
        assert field.description in text


def test_of_several_processes_one_speaks_and_each_tells_its_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = ["--normals", 2, "--per-defect", 1, "--test-normals", 0, "--size", 64]
    said = {}
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        said[rank] = done("demo-data", tmp_path / rank, *draw)
        assert (tmp_path / rank / "bottle").is_dir()
        assert "no such folder" in refused(3, "check", tmp_path / "none")
    assert said["0"].startswith("drew bottle into")
    assert said["1"] == ""


def test_help_loads_no_torch() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from seas_train.cli import main; "
        "CliRunner().invoke(main, ['tune', '--help']); "
        "sys.exit(len({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr.strip()) == (0, "")


def test_an_interrupt_ends_with_130_and_the_same_command_finishes(base: Path, product: Product, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["tune", product.root, "--base", base, "--out", out, "--preset", "tiny", *SMALL]
    words += ["--steps", "16", "--checkpoint-every", "2", "--log-every", "1"]
    code = "from seas_train.cli import main; main()"
    command = [sys.executable, "-c", code, *map(str, words)]
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background job ignores it
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed)
    while not (out / "checkpoint").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert "the same command continues" in process.communicate(timeout=120)[1]
    assert process.returncode == 130
    logged = (out / "log.jsonl").read_text().count("\n")
    assert 0 < logged < 16
    done(*words)
    steps = [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 17))  # it did not begin again


@pytest.mark.parametrize(
    ("asked", "said"), [("bases/smal", "did you mean bases/small?"), ("./x", "no such folder or file"), ("bases/9", "no such")]
)
def test_a_base_that_is_not_there_is_told_before_anything_is_loaded(tmp_path, monkeypatch, asked, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bases" / "small").mkdir(parents=True)
    monkeypatch.setattr("seas_train.cli.hush", lambda: pytest.fail("loaded"))
    assert said in refused(3, "tune", "data", "--base", asked, "--out", "run")


def test_a_hub_name_is_no_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Origin("someone/model").require_found()
    Origin("model").require_found()
