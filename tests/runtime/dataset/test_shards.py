"""Shards of a run: several in one folder, told what they lack, joined to the bytes of one process."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from seas_runtime.dataset import merge as merging
from seas_runtime.dataset.cli import data
from tests.runtime.written import tree

WORDS = ("--count", 17, "--normals", 5, "--batch", 3, "--seed", 6)


def run(*words, code=0):
    result = CliRunner().invoke(data, [str(word) for word in words])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result.output


@pytest.fixture
def shared(gen, tmp_path):
    """Three shards in one folder."""
    for part in range(3):
        gen(*WORDS, "--shard", f"{part}/3", out="shared")
    return tmp_path / "shared"


def content(folder):
    """A run's files but `run.json`'s command, which names folders."""
    record = json.loads((folder / "run.json").read_text())
    del record["command"]
    return tree(folder), record


def test_merged_shards_are_the_bytes_of_one_process(gen, shared, tmp_path):
    gen(*WORDS, out="whole")
    said = run("merge", shared, "--into", tmp_path / "merged")
    assert said.startswith(f"{tmp_path / 'merged'}: ")
    assert content(tmp_path / "merged") == content(tmp_path / "whole")
    command = json.loads((tmp_path / "merged" / "run.json").read_text())["command"]
    assert "--shard" not in command
    before = tree(tmp_path / "merged")
    assert "merged already" in run("merge", shared, "--into", tmp_path / "merged")
    assert tree(tmp_path / "merged") == before
    gen("--count", 20, *WORDS[2:], out="merged")  # and it is a run that goes on
    gen("--count", 20, *WORDS[2:], out="longer")
    assert content(tmp_path / "merged")[0].keys() == content(tmp_path / "longer")[0].keys()


def test_links_are_the_same_files(shared, tmp_path):
    run("merge", shared, "--into", tmp_path / "merged", "--link")
    picture = next((tmp_path / "merged").rglob("000000.png"))
    assert picture.stat().st_nlink == 2


def test_what_is_missing_is_told_and_refused(shared, tmp_path):
    assert run("status", shared).count("0 missing") == 2
    shutil.rmtree(shared / "shard-1-of-3")
    next((shared / "shard-2-of-3").rglob("000006.png")).write_bytes(b"torn")
    said = run("status", shared)
    assert "pairs      10 of 17 in place, 7 missing" in said  # batches 1 and 4 of three, and pair 6
    assert "shard 1/3 lacks 2 batches: 1, 4" in said
    assert "shard 2/3 lacks 1 batches: 2" in said
    said = run("merge", shared, "--into", tmp_path / "merged", code=3)
    assert "missing, all expected; see seas-data status" in said
    assert not (tmp_path / "merged").exists()
    assert "are missing" in run("merge", shared, "--into", tmp_path / "merged", "--partial")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--count", 17, "--batch", 3, "--seed", 7, "--normals", 5), "has the seed 7"),
        (("--count", 18, "--batch", 3, "--seed", 6, "--normals", 5), "has the count 18"),
        (("--count", 17, "--batch", 2, "--seed", 6, "--normals", 5), "has the batch 2"),
    ],
)
def test_shards_of_two_runs_are_refused(gen, shared, tmp_path, words, reason):
    gen(*words, "--shard", "0/3", out="other")
    said = run("merge", shared, tmp_path / "other", "--into", tmp_path / "merged", code=3)
    assert reason in said
    assert "shards of one run expected" in said


def test_shards_of_other_totals_are_refused(gen, shared, tmp_path):
    gen(*WORDS, "--shard", "0/4", out="other")
    assert "has the number of shards 4" in run("status", shared, tmp_path / "other", code=3)


def test_a_pair_that_two_folders_hold_differently(shared, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(shared / "shard-0-of-3", other)
    assert "0 missing" in run("status", shared, other)  # the same twice is once
    text = (other / "metadata.jsonl").read_text()
    (other / "metadata.jsonl").write_text(text.replace('"attempt": 0', '"attempt": 1', 1))
    assert "holds another pair 0 than" in run("status", shared, other, code=3)


def test_places_that_cannot_be_used(shared, tmp_path):
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "thesis.txt").write_text("x")
    assert "holds thesis.txt, an empty folder expected" in run("merge", shared, "--into", tmp_path / "held", code=5)
    assert "is a file" in run("merge", shared, "--into", tmp_path / "held" / "thesis.txt", code=5)
    assert "lies in the shard" in run("merge", shared, "--into", shared / "shard-0-of-3" / "x", code=5)
    (tmp_path / "empty").mkdir()
    assert "holds neither run.json nor shard-K-of-N" in run("status", tmp_path / "empty", code=3)
    assert "no such folder" in run("status", tmp_path / "nowhere", code=3)
    for words in (
        ("export", shared, "--to", "coco", "--into", tmp_path / "x"),
        ("review", shared, "--static", tmp_path / "x.html"),
    ):
        assert "join the 3 shards in it: seas-data merge" in run(*words, code=3)


def test_a_run_in_the_folder_of_a_shard_is_that_of_an_earlier_version(gen, shared, tmp_path):
    old = tmp_path / "old"
    shutil.move(shared / "shard-0-of-3", old)
    before = tree(old)
    gen(*WORDS, "--shard", "0/3", out="old")
    assert tree(old) == before
    assert "shard 0, 3, not 1, 3" in gen(*WORDS, "--shard", "1/3", out="old", code=5)


def test_decisions_come_along(shared, tmp_path):
    line = {"index": 3, "decision": "reject", "mask": None, "time": 1.0}
    (shared / "shard-1-of-3" / "review.jsonl").write_text(json.dumps(line) + "\n")
    run("merge", shared, "--into", tmp_path / "merged")
    assert json.loads((tmp_path / "merged" / "review.jsonl").read_text()) == line


def test_a_merge_that_was_stopped_goes_on_and_another_is_refused(gen, shared, tmp_path, monkeypatch):
    taken, take = [], merging._take

    def tired(source, target, link):
        if len(taken) == 9:
            raise KeyboardInterrupt
        taken.append(target)
        take(source, target, link)

    with monkeypatch.context() as patched:
        patched.setattr(merging, "_take", tired)
        run("merge", shared, "--into", tmp_path / "merged", code=130)
    assert not (tmp_path / "merged" / "run.json").exists()
    half = tmp_path / "half"
    shutil.copytree(shared, half)
    shutil.rmtree(half / "shard-2-of-3")
    assert "holds a merge of other shards" in run("merge", half, "--into", tmp_path / "merged", "--partial", code=5)
    again = []
    monkeypatch.setattr(merging, "_take", lambda source, target, link: again.append(target) or take(source, target, link))
    run("merge", shared, "--into", tmp_path / "merged")
    assert not set(again) & set(taken)
    gen(*WORDS, out="whole")
    assert content(tmp_path / "merged") == content(tmp_path / "whole")


@pytest.mark.slow
def test_shards_that_are_killed_and_run_again_join_to_the_same_bytes(gen, pristine, tmp_path):
    gen(*WORDS, out="whole")
    rng = random.Random(4)
    program = "from seas_runtime.cli import generate; generate()"
    for schedule in range(50):
        shared = tmp_path / f"shared{schedule}"
        words = ["--engine", str(pristine), "--out", str(shared), "--backend", "cpu", "--threads", "1", *map(str, WORDS), "--quiet"]

        def begin(part, words=words):
            return subprocess.Popen([sys.executable, "-c", program, *words, "--shard", f"{part}/3"])

        running = {part: begin(part) for part in range(3)}
        for part in rng.sample(range(3), 2):
            time.sleep(rng.uniform(0.2, 2.5))
            running[part].send_signal(signal.SIGKILL)
        for part, process in running.items():
            if process.wait() != 0:
                assert begin(part).wait() == 0
        run("merge", shared, "--into", tmp_path / f"merged{schedule}")
        assert content(tmp_path / f"merged{schedule}") == content(tmp_path / "whole")
