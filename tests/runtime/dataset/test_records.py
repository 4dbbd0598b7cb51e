"""The journal of a run: lines that are on the disk before anything relies on them."""

from seas_runtime.dataset.records import Journal
from tests import disk


def test_lines_are_on_the_disk_when_append_returns(tmp_path, monkeypatch):
    order, journal = disk.watch(monkeypatch), Journal(tmp_path / "metadata.jsonl")
    journal.append([{"index": 0}, {"index": 1}])
    journal.append([{"index": 2}])
    assert order == ["metadata.jsonl: 26", "metadata.jsonl: 39"]  # 13 bytes a line
    assert list(journal.read()) == [0, 1, 2]


def test_no_lines_make_no_file(tmp_path, monkeypatch):
    order = disk.watch(monkeypatch)
    Journal(tmp_path / "refused.jsonl").append([])
    assert order == []
    assert list(tmp_path.iterdir()) == []


def test_replacing_goes_through_a_file_beside(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "metadata.jsonl")
    journal.append([{"index": 4}, {"index": 1}])
    texts, order = journal.read(), disk.watch(monkeypatch)
    journal.replace(texts)
    journal.replace(texts)  # as it is: nothing to do
    assert order == ["metadata.jsonl.seas-tmp: 26", "metadata.jsonl.seas-tmp -> metadata.jsonl"]
    assert journal.path.read_bytes() == b'{"index": 1}\n{"index": 4}\n'
    journal.replace({})
    assert list(tmp_path.iterdir()) == []
