"""What lies in OUT is read, and trusted with nothing outside of it."""

import json
from pathlib import Path

import pytest

from seas_runtime.backends.cache import cache_root
from seas_runtime.errors import OutputError
from seas_runtime.files import inside, locked, write_atomic
from tests.runtime.written import check_pairs, lines, tree

ELSEWHERE = "../other/tile"


@pytest.fixture
def other(tmp_path):
    """Another run's pictures beside OUT, which no run in OUT may touch."""
    folder = tmp_path / "other" / "tile" / "test" / "crack"
    folder.mkdir(parents=True)
    for index in range(3):
        (folder / f"{index:06d}.png").write_bytes(b"theirs")
    yield folder
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {f"{index:06d}.png": b"theirs" for index in range(3)}


def forge(out, **settings):
    """Change the record of a run that has made no pair yet, whose pictures the next run clears away."""
    record = json.loads((out / "run.json").read_text())
    record["settings"] |= settings
    (out / "run.json").write_text(json.dumps(record))
    (out / "metadata.jsonl").unlink(missing_ok=True)


@pytest.mark.parametrize(
    "settings",
    [
        {"product": ELSEWHERE},
        {"product": "/tmp"},
        {"product": ".."},
        {"product": ""},
        {"product": "tile/test"},
        {"product": "til\x00e"},
        {"product": None},
        {"defects": ["../../../other/tile/test/crack"]},
        {"defects": ["crack", "/etc"]},
        {"defects": ["good"]},
        {"defects": []},
        {"batch": 0},
        {"shard": [2, 1]},
        {"count": -1},
    ],
)
@pytest.mark.usefixtures("other")
def test_a_forged_record_is_refused(gen, tmp_path, settings):
    gen("--count", 2)
    before = tree(tmp_path / "out")
    forge(tmp_path / "out", **settings)
    said = gen("--count", 2, code=5)
    assert "run.json: not the record of a run" in said
    assert said.count("\n") == 1
    del before["metadata.jsonl"]
    assert tree(tmp_path / "out") == before


@pytest.mark.parametrize("place", ["tile", "tile/test", "tile/test/crack", "tile/ground_truth"])
def test_a_link_out_of_the_folder_is_refused(gen, tmp_path, other, place):
    gen("--count", 2)
    out = tmp_path / "out"
    aim = {"tile": other.parents[1], "tile/test": other.parent, "tile/test/crack": other}.get(place, other)
    (out / place).rename(tmp_path / "moved")
    (out / place).symlink_to(aim)
    said = gen("--count", 4, code=5)
    assert f"leads out of {out}" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("name", ["metadata.jsonl", "refused.jsonl", "run.json", ".seas-lock"])
def test_a_file_of_the_run_that_is_a_link_out_of_it_is_refused(gen, tmp_path, name):
    gen("--count", 2)
    theirs = tmp_path / name
    theirs.write_bytes((tmp_path / "out" / name).read_bytes() if (tmp_path / "out" / name).exists() else b"")
    before = theirs.read_bytes()
    (tmp_path / "out" / name).unlink(missing_ok=True)
    (tmp_path / "out" / name).symlink_to(theirs)
    assert "leads out of" in gen("--count", 4, code=5)
    assert theirs.read_bytes() == before


def test_out_itself_may_be_a_link(gen, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    gen("--count", 2)
    check_pairs(tmp_path / "disk")


@pytest.mark.usefixtures("other")
@pytest.mark.parametrize(
    "change",
    [
        {"file_name": f"{ELSEWHERE}/test/crack/000000.png"},
        {"mask_file_name": "/etc/passwd"},
        {"file_name": None},
        {"defect": "hole"},
        {"attempt": "many"},
    ],
)
def test_a_line_that_is_not_this_runs_makes_its_batch_again(gen, tmp_path, change):
    gen("--count", 4, "--batch", 2, out="whole")
    gen("--count", 4, "--batch", 2)
    first, *rest = lines(tmp_path / "out")
    (tmp_path / "out" / "metadata.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in ({**first, **change}, *rest)))
    assert "2 made" in gen("--count", 4, "--batch", 2)
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_a_refusal_that_is_not_this_runs_makes_its_batch_again(gen, tmp_path):
    words = ("--count", 2, "--batch", 1, "--min-area", 64, "--max-area", 1, "--retries", 0)
    gen(*words, code=6)
    before = tree(tmp_path / "out")
    (tmp_path / "out" / "refused.jsonl").write_text('{"index": 0}\n{"index": 1, "defect": "hole", "attempt": null}\n')
    gen(*words, code=6)
    assert tree(tmp_path / "out") == before


def test_inside(tmp_path):
    out = tmp_path / "out"
    (out / "deep").mkdir(parents=True)
    (tmp_path / "out2").mkdir()
    for name in ("a.png", "deep/a.png", "deep/../a.png", "new/folder/a.png", "."):
        assert inside(out, name) == out / name
    (out / "loop").symlink_to(out / "loop")
    (out / "beside").symlink_to(tmp_path / "out2")
    for name in ("..", "../out2/a.png", "/etc/passwd", "deep/../../a.png", "beside", "beside/a.png", "loop", "loop/a.png"):
        with pytest.raises(OutputError, match="leads out of") as caught:
            inside(out, name)
        assert caught.value.exit_code == 5


def test_writing_follows_no_link(tmp_path):
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"theirs")
    (tmp_path / "file").symlink_to(theirs)
    (tmp_path / "file.seas-tmp").symlink_to(theirs)
    write_atomic(tmp_path / "file", b"ours")
    assert theirs.read_bytes() == b"theirs"
    assert (tmp_path / "file").read_bytes() == b"ours"
    assert not (tmp_path / "file").is_symlink()
    (tmp_path / ".seas-lock").symlink_to(tmp_path.parent / "new")
    with pytest.raises(OutputError, match="leads out of"), locked(tmp_path):
        pass
    assert not (tmp_path.parent / "new").exists()


def test_a_relative_cache_is_no_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for given, expected in (("cache", tmp_path / ".cache"), ("", tmp_path / ".cache"), ("/var/cache", Path("/var/cache"))):
        monkeypatch.setenv("XDG_CACHE_HOME", given)
        assert cache_root() == expected / "seas"
