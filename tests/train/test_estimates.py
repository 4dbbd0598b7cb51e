"""--estimate: what it says against steps that take a known time, against weights on the disk, and that it writes nothing."""

import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from seas_runtime.footprint import duration, peak_bytes, size
from seas_train import cli
from seas_train.training import estimate
from seas_train.training.estimate import Estimate, measure, told
from tests.train import small_stage

MASK_WORDS = ("--up2-width", "8", "--up3-width", "8", "--layers", "1", "--heads", "2", "--groups", "4")


def call(*words: object) -> Result:
    return CliRunner().invoke(cli.main, list(map(str, words)))


def folder_of(path: Path) -> set[str]:
    return {file.relative_to(path).as_posix() for file in path.rglob("*")}


def test_a_step_is_timed_after_a_first_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = small_stage.stage(tmp_path / "none")
    whole, takes, now = stage.batch_of, {0: 0.3, 1: 0.1}, [0.0]

    def slow(step: int) -> object:
        now[0] += takes[step]
        return whole(step)

    stage.batch_of = slow
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: now[0])
    found = measure(stage)
    assert (found.name, found.steps) == ("line", 7)
    assert found.seconds == pytest.approx(0.1)
    assert found.checkpoint == 4 * (8 + 2 * 8 + 2)  # 3 * 2 + 2 weights, two moments of each, a step's number for either tensor
    assert not (tmp_path / "none").exists()
    monkeypatch.setattr(estimate, "PATIENCE", 0.2)
    assert measure(stage).seconds == pytest.approx(0.3)  # a first step that long is the only one


def test_what_is_told_is_a_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate.os, "getloadavg", lambda: (0.5, 0, 0))
    stages = [Estimate("a", 100, 0.5, 2_000_000, 3_000), Estimate("b", 10, 7.0, 1_000_000, 5_000)]
    assert list(told(stages, 20_000)) == [
        "estimate: a: 100 steps of 0.5 s, 50 s",
        "estimate: b: 10 steps of 7 s, 70 s",
        "estimate: 2 min in all on this machine as it is now, memory 2 MB at most, disk 20 kB, and 30 kB while training; "
        "nothing was written",
    ]
    assert "memory unknown" in list(told([Estimate("a", 1, 1, None, 0)], 1))[-1]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.25, "0.25 s"), (9, "9 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (7260, "2 h 1 min"), (200_000, "2 days 7 h")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (25_000_000, "25 MB"), (3.2e9, "3.2 GB"), (2e12, "2 TB")],
)
def test_sizes(number: float, words: str) -> None:
    assert size(number) == words


def test_the_peak_counts_what_was_held() -> None:
    before = peak_bytes()
    assert before is not None
    held = torch.ones(50_000_000)
    after = peak_bytes()
    assert after is not None
    assert after >= before
    assert after >= held.numel() * 4


def test_tune_masks_and_check_say_it_and_write_nothing(product, base: Path, tuned: Path, tmp_path: Path) -> None:
    before = folder_of(tmp_path), folder_of(tuned), folder_of(product.root)
    words = ("tune", product.root, "--base", base, "--out", tmp_path / "run", "--steps", 50, "--estimate", "--normal-count", 2)
    result = call(*words)
    assert result.exit_code == 0, result.output
    assert re.search(r"^estimate: tune: 50 steps of \S+ s, ", result.stdout, re.MULTILINE)
    weights = sum(file.stat().st_size for file in base.rglob("*.safetensors"))
    (told_size,) = re.findall(r"disk ([\d.]+) MB,", result.stdout)
    assert float(told_size) * 1e6 == pytest.approx(weights, rel=0.2)
    result = call("masks", tuned, product.root, "--steps", 30, "--estimate", *MASK_WORDS)
    assert result.exit_code == 0, result.output
    assert re.search(r"^estimate: masks: 30 steps of \S+ s, ", result.stdout, re.MULTILINE)
    result = call("check", product.root, "--base", base, "--estimate", "--preset", "tiny")
    assert result.exit_code == 0, result.output
    assert re.search(r"^estimate: tune: 1200 steps of ", result.stdout, re.MULTILINE)  # 400 of each of 3 types
    assert re.search(r"^estimate: masks: 900 steps of ", result.stdout, re.MULTILINE)
    assert (folder_of(tmp_path), folder_of(tuned), folder_of(product.root)) == before


def test_base_says_every_stage_it_has(product, tmp_path: Path) -> None:
    words = ("base", product.root, "--out", tmp_path / "base", "--estimate", "--batch", 2, "--vae-batch", 2)
    result = call(*words, "--align-steps", 7, "--sharpen-steps", 5, "--steps", 11, "--vae-steps", 13)
    assert result.exit_code == 0, result.output
    stages = re.findall(r"^estimate: (base-\w+): (\d+) steps", result.stdout, re.MULTILINE)
    assert stages == [("base-vae", "13"), ("base-text", "7"), ("base-unet", "11"), ("base-decoder", "5")]
    assert not list(tmp_path.iterdir())


def test_check_needs_a_base_for_it(product) -> None:
    result = call("check", product.root, "--estimate")
    assert result.exit_code == 2
    assert "--estimate times a step of training and needs the base model; add --base BASE" in result.output


@pytest.mark.parametrize(("load", "told"), [(0.5, False), (9.0, True)])
def test_a_busy_machine_is_told(monkeypatch, load, told):
    monkeypatch.setattr(estimate.os, "getloadavg", lambda: (load, 0, 0))
    monkeypatch.setattr(estimate.os, "cpu_count", lambda: 2)
    lines = list(estimate.told([estimate.Estimate("x", 2, 1.0, 0, 0)], 0))
    assert ("load 9.0 on 2 cores" in " ".join(lines)) == told
