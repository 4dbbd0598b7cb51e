"""The journal of a run: lines that are on the disk before anything relies on them."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seas_runtime.dataset.records import LONGEST_LINE, Journal
from tests import disk

SIZE = len('{"index": 0, "defect": "hole", "seed": 0, "attempt": 0}\n')


def line(index):
    return {"index": index, "defect": "hole", "seed": 0, "attempt": 0}


def test_lines_are_on_the_disk_when_append_returns(tmp_path, monkeypatch):
    order, journal = disk.watch(monkeypatch), Journal(tmp_path / "metadata.jsonl")
    journal.append([line(0), line(1)])
    journal.append([line(2)])
    assert order == [f"metadata.jsonl: {2 * SIZE}", f"metadata.jsonl: {3 * SIZE}"]
    assert list(journal.read()) == [0, 1, 2]


def test_no_lines_make_no_file(tmp_path, monkeypatch):
    order = disk.watch(monkeypatch)
    Journal(tmp_path / "refused.jsonl").append([])
    assert order == []
    assert list(tmp_path.iterdir()) == []


def test_replacing_goes_through_a_file_beside(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "metadata.jsonl")
    journal.append([line(4), line(1)])
    texts, order = journal.read(), disk.watch(monkeypatch)
    journal.replace(texts)
    journal.replace(texts)  # as it is: nothing to do
    assert order == [f"metadata.jsonl.seas-tmp: {2 * SIZE}", "metadata.jsonl.seas-tmp -> metadata.jsonl"]
    assert [json.loads(text) for text in journal.path.read_bytes().splitlines()] == [line(1), line(4)]
    journal.replace({})
    assert list(tmp_path.iterdir()) == []


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
KEYS = st.sampled_from(["index", "defect", "seed", "attempt", "file_name", "mask_file_name", "verdict", "bbox"])


@given(st.dictionaries(KEYS, VALUES), st.binary(max_size=40))
def test_any_line_is_an_entry_or_is_passed_over(tmp_path_factory, change, damage):
    journal = Journal(tmp_path_factory.mktemp("journal") / "metadata.jsonl")
    changed = json.dumps(line(1) | change).encode()
    journal.path.write_bytes(b"".join(text + b"\n" for text in (json.dumps(line(0)).encode(), changed, damage.replace(b"\n", b""))))
    for entry in journal:
        assert {key: type(entry[key]) for key in ("index", "defect", "seed", "attempt")} == {
            "index": int, "defect": str, "seed": int, "attempt": int,
        }  # fmt: skip
    assert 0 in journal.read()


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        b'{"index": 1, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"index": 1}',
        b'{"index": true, "defect": "hole", "seed": 0, "attempt": 0}',
        b'{"index": 1, "defect": null, "seed": 0, "attempt": 0}',
        b'{"index": 1, "defect": "hole", "seed": 0, "attempt": "many"}',
        b'{"index": -1, "defect": "hole", "seed": 0, "attempt": 0}',
        b'{"index": ' + b"1" * 5000 + b', "defect": "hole", "seed": 0, "attempt": 0}',
        b'{"index": 1, "defect": "hole", "seed": 0}',
        b'{"index": 1, "defect": "hole", "seed": 0, "attempt": 0, "file_name": 3}',
        b"null",
        b"\xff\xfe",
    ],
)
def test_a_damaged_line_is_passed_over(tmp_path, text):
    journal = Journal(tmp_path / "metadata.jsonl")
    journal.append([line(0)])
    with journal.path.open("ab") as stream:
        stream.write(text + b"\n")
    journal.append([line(2)])
    assert list(journal.read()) == [0, 2]
    assert list(journal) == [line(0), line(2)]


def test_a_pipe_and_an_endless_line_do_not_hold_it_up(tmp_path):
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(OSError, match="is no plain file"):
        Journal(tmp_path / "pipe.jsonl").read()
    (tmp_path / "long.jsonl").write_bytes(b" " * (LONGEST_LINE + 1))
    with pytest.raises(OSError, match="a line of more than"):
        Journal(tmp_path / "long.jsonl").read()
