"""Files that appear whole or not at all, and a folder that one run at a time holds: also on a disk that fails, and in a race."""

import fcntl
import os
from pathlib import Path

import pytest

from seas_runtime.errors import OutputError
from seas_runtime.files import LOCK, flush_folder, locked, write_atomic
from tests import disk

TEXT = "größer: 7 µm\n"


@pytest.mark.parametrize("data", [TEXT, TEXT.encode("utf-8")])
def test_a_file_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch, data):
    order = disk.watch(monkeypatch)
    write_atomic(tmp_path / "run.json", data)
    assert order == ["run.json.seas-tmp: 16", "run.json.seas-tmp -> run.json"]
    assert (tmp_path / "run.json").read_text(encoding="utf-8") == TEXT


@pytest.mark.parametrize(("place", "name"), [(os, "fsync"), (Path, "replace")])
@pytest.mark.parametrize("before", [None, b"before"])
def test_a_write_that_fails_keeps_what_was_there(tmp_path, monkeypatch, place, name, before):
    path = tmp_path / "run.json"
    if before is not None:
        path.write_bytes(before)

    def fail(*_):
        raise OSError("the disk is gone")

    monkeypatch.setattr(place, name, fail)
    with pytest.raises(OSError, match="the disk is gone"):
        write_atomic(path, b"after")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == ([] if before is None else [("run.json", before)])


def test_a_folder_is_flushed(tmp_path, monkeypatch):
    order = disk.watch(monkeypatch)
    flush_folder(tmp_path)
    assert order == [f"{tmp_path.name}/"]


def test_one_run_holds_a_folder_and_its_lock_goes_with_it(tmp_path):
    for _ in range(2):
        with locked(tmp_path):
            assert [path.name for path in tmp_path.iterdir()] == [LOCK]
            with pytest.raises(OutputError, match="another run is writing here"), locked(tmp_path):
                pass
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("next_run", [False, True])
def test_a_lock_that_the_run_before_takes_away_is_no_lock(tmp_path, monkeypatch, next_run):
    """It ends between our opening the file and our locking it, and a third run may have made its own since."""
    flock = fcntl.flock

    def late(descriptor, how):
        (tmp_path / LOCK).unlink()
        if next_run:
            (tmp_path / LOCK).touch()
        return flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(OutputError, match="another run is writing here"), locked(tmp_path):
        pass
    assert (tmp_path / LOCK).exists() == next_run
