"""`seas-train all` with its real commands: interrupted in the middle of the first training, continued, done once."""

import functools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

STEPS = 30
PROJECT = """
[project]
data = {data}
base = {base}
out = "engines/small.plan"
preset = "tiny"
[tune]
steps = {steps}
checkpoint_every = 1
log_every = 1
normals = 2
[masks]
steps = 3
up2_width = 8
up3_width = 8
layers = 1
heads = 2
groups = 4
[gen]
count = 6
steps = 3
threshold = 0.001
max_area = 1.0
retries = 0
"""
COMMAND = [sys.executable, "-c", "from seas_train.cli import main; main()", "all"]


@pytest.fixture(scope="module")
def folder(base, product, tmp_path_factory):
    """Where the command runs, interrupted once; with what it said and how it ended."""
    folder = tmp_path_factory.mktemp("all")
    text = PROJECT.format(data=json.dumps(str(product.root)), base=json.dumps(str(base)), steps=STEPS)
    (folder / "seas.toml").write_text(text, encoding="utf-8")
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background job ignores it
    process = subprocess.Popen(COMMAND, cwd=folder, stderr=subprocess.PIPE, text=True, preexec_fn=heed)
    while not (folder / "runs/small/run/checkpoint").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=120)[1]
    return folder, said, process.returncode


def logged(folder: Path) -> list[int]:
    lines = (folder / "runs/small/run/log.jsonl").read_text(encoding="utf-8").splitlines()
    return [fields["step"] for fields in map(json.loads, lines) if fields["stage"] == "tune"]


def test_an_interrupt_reaches_the_training_which_saves_and_says_so_in_one_line(folder):
    folder, said, status = folder
    assert status == 130
    assert said.count("Interrupted") == 1
    assert "the same command continues from what is saved" in said
    assert (folder / "runs/small/run/checkpoint").is_dir()
    assert 0 < len(logged(folder)) < STEPS
    assert not (folder / "engines").exists()


@pytest.mark.slow
def test_the_same_command_goes_on_to_the_page_and_then_does_nothing(folder):
    folder = folder[0]
    before = len(logged(folder))
    done = subprocess.run(COMMAND, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 6), done.stderr  # untrained: masks of a type may all be one
    assert logged(folder) == list(range(1, STEPS + 1))
    assert before < STEPS
    assert (folder / "engines/small.plan/manifest.json").is_file()
    assert len(list((folder / "runs/small/pairs").rglob("*_mask.png"))) == 6
    assert "First generated pairs" in (folder / "runs/small/report.html").read_text(encoding="utf-8")
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    again = subprocess.run(COMMAND, cwd=folder, capture_output=True, text=True, check=False)
    assert again.returncode == done.returncode
    assert again.stdout.startswith("already done: engines/small.plan")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == files
