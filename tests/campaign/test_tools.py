"""The tools of the campaigns find what they are made to find; part of every run of the tests."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter

import pytest

from tests.campaign import shim
from tests.campaign.damage import damaged, edited, places
from tests.campaign.shim import Fault
from tests.campaign.trials import Campaign, differ, lines, tree
from tests.campaign.warm import ROOT, Ended

WRITES = """
import os, sys
from pathlib import Path
from tests.campaign import shim
root, at, error, alone, room = Path(sys.argv[1]), *map(int, sys.argv[2:])
shim.arm(root, shim.Fault(at=at, error=error, alone=bool(alone), room=room))
try:
    with (root / "new").open("wb", buffering=0) as stream:
        stream.write(b"a" * 100)
        os.fsync(stream.fileno())
    (root / "new").rename(root / "name")
    (root / "name").unlink()
except OSError as failed:
    print(failed.errno)
print(shim.counted())
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return shim.build(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def child(library, tmp_path):
    """Five changes under a fault: open, write, flush, rename, remove. What was printed, the exit code, what is left."""

    def run(fault):
        root = tmp_path / "root"
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        words = [str(root), *map(str, (fault.at, fault.error, int(fault.alone), fault.room))]
        environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", WRITES, *words]
        ended = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=60)
        assert ended.stderr == ""
        return ended.stdout.split(), ended.returncode, {path.name: path.stat().st_size for path in root.iterdir()}

    return run


def test_every_change_is_counted_and_none_elsewhere(child):
    assert child(Fault()) == (["5"], 0, {})


@pytest.mark.parametrize(("at", "left"), [(1, {}), (2, {"new": 0}), (3, {"new": 100}), (4, {"new": 100}), (5, {"name": 100})])
def test_a_kill_comes_before_its_change(child, at, left):
    assert child(Fault(at=at)) == ([], -signal.SIGKILL, left)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_change_fails_alone_or_with_all_after_it(child, error):
    said, code, left = child(Fault(at=4, error=error))
    assert (said, code, left) == ([str(error), "4"], 0, {"new": 100})
    assert child(Fault(at=1, error=error, alone=False))[0] == [str(error), "1"]


def test_a_small_disk_takes_what_fits(child):
    said, code, left = child(Fault(room=30))
    assert (code, left) == (0, {})  # Python's raw streams write short, as a disk does
    assert said == ["5"]
    assert child(Fault(room=0))[0] == [str(errno.ENOSPC), "2"]


def test_a_campaign_goes_on_where_it_stopped_and_fails_with_a_trial(tmp_path):
    seen = []

    def trial(draw):
        seen.append(draw.random())
        return "broken" if len(seen) == 3 else None

    Campaign(tmp_path, seed=7, minutes=1, most=2).run("some", trial)
    with pytest.raises(AssertionError, match="some: 1 of 3 failed; first trial 2: broken"):
        Campaign(tmp_path, seed=7, minutes=1, most=5).run("some", trial)
    assert [line["trial"] for line in lines(tmp_path / "some.jsonl")] == [0, 1, 2, 3, 4]
    assert [line["failed"] for line in lines(tmp_path / "some.jsonl")] == [None, None, "broken", None, None]
    assert seen == [random.Random(f"some/7/{number}").random() for number in range(5)]


@pytest.mark.parametrize(
    ("code", "said", "found"),
    [
        (0, "", None),
        (5, "Error: full\n", None),
        (5, "Error: full\nError: again\n", "2 lines of error"),
        (5, "", "0 lines of error"),
        (1, "Traceback (most recent call last):\n", "exit code 1"),
        (-11, "", "exit code -11"),
        (3, "Error: bad\n", "exit code 3"),
    ],
)
def test_an_end_is_judged(code, said, found):
    wrong = Ended(code, overdue=False, changes=0, seconds=0, mebibytes=0, said=said).wrong((0, 5))
    assert (wrong is None) if found is None else (wrong is not None and found in wrong)


def test_trees_differ_by_names_and_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    before = tree(tmp_path)
    assert differ(tree(tmp_path), before) is None
    (tmp_path / "a").write_bytes(b"2")
    (tmp_path / "b").mkdir()
    assert differ(tree(tmp_path), before) == "missing [], too many ['b'], other ['a']"
    (tmp_path / "a").unlink()
    assert "missing ['a']" in differ(tree(tmp_path), before)


def test_damage_is_drawn_and_seldom_none():
    data, document = bytes(range(200)), {"a": [1, {"b": 2}], "c": "d"}
    same = Counter(damaged(data, random.Random(i)) == data for i in range(300))
    assert same[True] < 60
    assert damaged(data, random.Random(5)) == damaged(data, random.Random(5))
    assert damaged(b"", random.Random(1)) is not None
    changed = [edited(document, random.Random(i)) for i in range(300)]
    assert document == {"a": [1, {"b": 2}], "c": "d"}
    assert sum(one != document for one in changed) > 200
    assert len({json.dumps(one) for one in changed}) > 100
    assert set(places(document)) == {("a",), ("a", 0), ("a", 1), ("a", 1, "b"), ("c",)}
