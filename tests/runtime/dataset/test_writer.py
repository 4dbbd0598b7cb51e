"""Runs that are continued, extended, crashed, interrupted or refused."""

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from tests import disk
from tests.runtime.written import check_pairs, lines, settings, tree

RUN = "from seas_runtime.cli import generate; generate(prog_name='seas-gen')"
THREE_CORES = "from seas_runtime.backends import workers; workers.usable_cores = lambda: 3; "


def test_the_same_command_again_makes_nothing_new(gen, tmp_path):
    gen("--count", 6)
    before = tree(tmp_path / "out")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}
    assert "6 pairs" in (said := gen("--count", 6))
    assert "none was left to make" in said
    assert tree(tmp_path / "out") == before
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}


@pytest.mark.parametrize("counts", [(5, 13), (8, 13), (1, 2, 3, 13)])
def test_a_larger_count_extends(gen, tmp_path, counts):
    gen("--count", 13, "--batch", 4, out="whole")
    for count in counts:
        gen("--count", count, "--batch", 4)
        assert len(lines(tmp_path / "out")) == count
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def crash_torn_line(out):
    data = (out / "metadata.jsonl").read_bytes()
    (out / "metadata.jsonl").write_bytes(data[: len(data) * 2 // 3])


def crash_temporaries(out):
    crash_torn_line(out)
    (out / "tile" / "test" / "crack" / "000009.png.seas-tmp").write_bytes(b"half")
    (out / "tile" / "test" / "crack" / "000099.png").write_bytes(b"stray")
    (out / "run.json.seas-tmp").write_bytes(b"{")
    (out / ".seas-lock").touch()


def crash_lost_files(out):
    (out / "tile" / "test" / "hole" / "000004.png").unlink()
    (out / "tile" / "ground_truth" / "stain" / "000008_mask.png").unlink()


def crash_before_any_line(out):
    (out / "metadata.jsonl").unlink()


def crash_damaged_lines(out):
    text = (out / "metadata.jsonl").read_bytes().splitlines(keepends=True)
    text[1], text[5] = b"\xff\xfe{\n", b"[]\n"
    (out / "metadata.jsonl").write_bytes(b"".join(text))


def crash_before_the_record(out):
    shutil.rmtree(out)
    out.mkdir()
    (out / "run.json.seas-tmp").write_bytes(b"{")
    (out / ".seas-lock").touch()


@pytest.mark.parametrize(
    "crash",
    [
        crash_torn_line,
        crash_temporaries,
        crash_lost_files,
        crash_before_any_line,
        crash_damaged_lines,
        crash_before_the_record,
    ],
)
def test_a_crashed_run_is_continued_to_the_same_bytes(gen, tmp_path, crash):
    gen("--count", 11, "--batch", 3, out="whole")
    gen("--count", 11, "--batch", 3)
    crash(tmp_path / "out")
    gen("--count", 11, "--batch", 3)
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    check_pairs(tmp_path / "out")


def test_files_of_others_are_left_alone(gen, tmp_path):
    gen("--count", 3)
    note = tmp_path / "out" / "tile" / "test" / "crack" / "chosen.png"
    note.write_bytes(b"mine")
    gen("--count", 6)
    assert note.read_bytes() == b"mine"


def start(pristine, out, *words, before=""):
    given = [
        "--engine",
        pristine,
        "--out",
        out,
        "--threads",
        1,
        "--backend",
        "cpu",
        "--batch",
        2,
        "--count",
        100_000,
        *words,
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", before + RUN, *map(str, given)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )
    limit = time.monotonic() + 30
    while not (out / "metadata.jsonl").exists() and time.monotonic() < limit:
        time.sleep(0.02)
    time.sleep(0.2)
    return process


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("threads", [1, 0])
def test_a_stopped_run_leaves_whole_pairs_and_goes_on(gen, pristine, tmp_path, how, threads):
    out = tmp_path / "out"
    process = start(pristine, out, "--threads", threads, before=THREE_CORES)
    process.send_signal(how)
    _, said = process.communicate(timeout=30)
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert "Interrupted" in said
        assert "Traceback" not in said
        check_pairs(out)
    made = (out / "metadata.jsonl").read_bytes().count(b"\n")
    count = made + 5
    gen("--count", count, "--batch", 2)
    check_pairs(out)
    gen("--count", count, "--batch", 2, out="whole")
    assert tree(out) == tree(tmp_path / "whole")


def test_two_runs_at_once_are_refused(gen, pristine, tmp_path):
    process = start(pristine, tmp_path / "out")
    said = gen("--count", 100_000, "--batch", 2, code=5)
    process.kill()
    process.communicate(timeout=30)
    assert "another run is writing here" in said


def test_a_line_is_written_when_its_files_and_their_folders_are_on_the_disk(gen, tmp_path, monkeypatch):
    order = disk.watch(monkeypatch)
    gen("--count", 1)
    sizes = {file.name: file.stat().st_size for file in (tmp_path / "out").rglob("*.*")}
    pair, place = ("000000.png", "000000_mask.png"), {}
    for event in order:
        place.setdefault(event, len(place))
    written = place[f"metadata.jsonl: {sizes['metadata.jsonl']}"]
    for name in pair:
        assert place[f"{name}.seas-tmp: {sizes[name]}"] < place[f"{name}.seas-tmp -> {name}"] < place["crack/"] < written
    assert order.count("crack/") == 2  # test/crack and ground_truth/crack
    assert place["run.json.seas-tmp -> run.json"] < place[f"000000.png.seas-tmp: {sizes['000000.png']}"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--seed", 1), "seed 0, not 1"),
        (("--steps", 4), "steps 5, not 4"),
        (("--guidance", 1), "guidance 2.0, not 1.0"),
        (("--defect", "hole"), "defects crack, hole, stain, not hole"),
        (("--batch", 2), "batch 4, not 2"),
        (("--threshold", 0.4), "threshold 0.5, not 0.4"),
        (("--mask-steps", 1), "mask_steps 2, not 1"),
        (("--shard", "0/2"), "shard 0, 1, not 0, 2"),
        (("--min-area", 2), "min_area 1, not 2"),
        (("--retries", 0), "retries 3, not 0"),
    ],
)
def test_another_run_in_the_folder_is_refused(gen, tmp_path, words, named):
    gen("--count", 4)
    before = tree(tmp_path / "out")
    said = gen("--count", 4, *words, code=5)
    assert named in said
    assert "--out" in said
    assert tree(tmp_path / "out") == before


def test_a_run_that_made_no_pair_binds_nothing(gen, tmp_path):
    """As after an engine's "use a smaller --batch", or a wrong option stopped in the first second."""
    gen("--count", 4, "--guidance", 3, "--batch", 4, "--defect", "hole")
    out = tmp_path / "out"
    (out / "metadata.jsonl").unlink()  # its images are left, as by a kill before the first line
    assert len(list(out.rglob("*.png"))) == 8
    gen("--count", 4, "--batch", 2, "--defect", "crack")
    gen("--count", 4, "--batch", 2, "--defect", "crack", out="whole")
    assert tree(out) == tree(tmp_path / "whole")
    assert settings(out)["batch"] == 2


def test_auto_goes_on_with_the_backend_of_the_run(gen, tmp_path):
    gen("--count", 2, "--batch", 2, "--backend", "openvino")
    said = gen("--count", 4, "--batch", 2, "--backend", "auto")
    assert "backend openvino, as the run in this folder was begun with" in said
    assert settings(tmp_path / "out")["backend"] == "openvino"
    check_pairs(tmp_path / "out")
    assert "backend openvino, not cpu" in gen("--count", 6, "--batch", 2, "--backend", "cpu", code=5)


def test_the_record_is_of_the_run_that_made_the_pairs(gen, tmp_path):
    record = tmp_path / "out" / "run.json"
    gen("--count", 4)
    before = record.read_bytes()
    gen("--count", 4, "--sheet")
    assert record.read_bytes() == before


def test_pairs_of_another_engine_version_are_told(gen, tmp_path):
    gen("--count", 4)
    record = tmp_path / "out" / "run.json"
    facts = json.loads(record.read_text())
    facts["backend"]["engine"] = "onnxruntime 1.0"
    record.write_text(json.dumps(facts))
    assert "was begun with" not in gen("--count", 4)
    assert "was begun with engine onnxruntime 1.0: its older pairs may differ" in gen("--count", 8)
    assert "was begun with" not in gen("--count", 12)


def test_a_file_system_without_locks_is_named(gen, tmp_path, monkeypatch):
    def refuse(_descriptor, _how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    said = gen("--count", 4, code=5)
    assert os.strerror(errno.ENOLCK) in said
    assert "another run" not in said


def test_a_smaller_count_and_another_bundle_are_refused(gen, plan_folder, tmp_path, edit_graph):
    gen("--count", 6)
    assert "holds pair 5" in gen("--count", 5, code=5)
    edit_graph(lambda model: setattr(model, "producer_name", "other"))
    assert "digest" in gen("--count", 6, code=5, plan=plan_folder)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_disk_that_fails_keeps_finished_pairs(gen, tmp_path, monkeypatch, number):
    gen("--count", 12, "--batch", 2, out="whole")
    flush, calls = os.fsync, []

    def failing(descriptor):
        calls.append(descriptor)
        if len(calls) > 25:
            raise OSError(number, os.strerror(number))
        flush(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        said = gen("--count", 12, "--batch", 2, code=5)
    assert os.strerror(number) in said
    assert said.count("\n") == 1
    assert 0 < len(lines(tmp_path / "out")) < 12
    assert not list((tmp_path / "out").rglob("*.seas-tmp"))
    gen("--count", 12, "--batch", 2)
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
