"""What goes wrong in practice, given to the commands: one line, the exit code of the house, nothing lost."""

import json
import shutil
import socket
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

from seas_train.cli import main
from tests.limits import files_of_at_most

SMALL = ["--anomaly-batch", "1", "--normal-batch", "1", "--steps", "4", "--checkpoint-every", "1"]


def refused(code: int, *words: object) -> str:
    """The one line that a failing command says, after its warnings."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert (result.exit_code, result.stdout) == (code, ""), (result.output, result.exception)
    assert isinstance(result.exception, SystemExit)
    lines = [line for line in result.stderr.splitlines(keepends=True) if not line.startswith("Warning: ")]
    assert len(lines) == 1
    assert lines[0].startswith("Error: ")
    return lines[0]


@pytest.fixture
def tune(base, product, tmp_path):
    """The words of `seas-train tune` into `tmp_path`/run."""
    return ["tune", product.root, "--base", base, "--out", tmp_path / "run", *SMALL]


def test_a_hub_name_without_a_network_names_what_to_give_instead(product, tmp_path, monkeypatch):
    def no_network(*_arguments, **_named):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)  # the hub's client tries again for 23 s
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    said = refused(3, "tune", product.root, "--base", "nobody/no-such-model", "--out", tmp_path / "run")
    assert "no hub has been reached" in said
    assert not (tmp_path / "run").exists()


def test_a_diverging_training_names_its_batch_and_keeps_the_last_good_checkpoint(tune, tmp_path):
    said = refused(1, *tune, "--unet-lr", "1e30")
    assert "batch: " in said
    assert "good/" in said
    kept = tmp_path / "run" / "checkpoint"
    assert json.loads((kept / "state.json").read_text())["step"] >= 1
    assert all(torch.isfinite(value).all() for value in load_file(kept / "state.safetensors").values())
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.fixture
def data(product, tmp_path) -> Path:
    """A copy of the product's folder, to be spoiled."""
    return shutil.copytree(product.root, tmp_path / "bottle")


def test_a_type_without_an_image(data, base, tmp_path):
    shutil.rmtree(data / "test" / "contamination")
    (data / "test" / "contamination").mkdir()
    said = refused(3, "tune", data, "--base", base, "--out", tmp_path / "run")
    assert "contamination: holds no image" in said


def test_a_mask_on_a_normal_image(data, base, tmp_path):
    (data / "ground_truth" / "good").mkdir()
    Image.new("L", (64, 64), 255).save(data / "ground_truth" / "good" / "000_mask.png")
    said = refused(3, "tune", data, "--base", base, "--out", tmp_path / "run")
    assert "marks an anomaly on a normal image" in said


def test_a_disk_full_at_the_log_or_the_weights_of_a_run(tune, tmp_path):
    run = tmp_path / "run"
    for size in (10, 10_000):
        with files_of_at_most(size):
            assert "cannot" in refused(5, *tune, "--log-every", "1")
        assert not (run / "run.json").exists()
    assert CliRunner().invoke(main, [str(word) for word in tune]).exit_code == 0
    assert (run / "run.json").is_file()


def test_a_disk_full_in_the_training_of_the_branch_leaves_the_run(tuned, product, tmp_path):
    run = shutil.copytree(tuned, tmp_path / "run", ignore=shutil.ignore_patterns("rmp"))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "log.jsonl"}
    words = ["masks", run, product.root, "--preset", "tiny", *SMALL, "--log-every", "1"]
    for size in (10, 10_000):
        with files_of_at_most(size):
            assert "cannot" in refused(5, *words)
        assert all(path.read_bytes() == content for path, content in before.items())


def test_a_disk_full_in_a_base_or_in_samples(tuned, product, tmp_path):
    base = ["base", product.root, "--out", tmp_path / "base", "--vae-steps", 1, "--steps", 1, "--batch", 1, "--vae-batch", 1]
    sample = ["sample", tuned, "--out", tmp_path / "samples", "--count", 1, "--steps", 1]
    for size, words in ((100_000, base), (1000, sample)):
        with files_of_at_most(size):
            assert "cannot" in refused(5, *words)
