"""OUT as disks, killed runs and strangers leave it: what counts as done is there and whole, and nothing is waited for."""

import io
import os

import pytest
from PIL import Image

from seas_runtime.dataset.png import are_whole, png_size
from tests.runtime.written import check_pairs, tree

FIRST = ("tile/test/crack/000000.png", "tile/ground_truth/crack/000000_mask.png")


def cut(data):
    return data[: len(data) // 2]


DAMAGE = {
    "empty": lambda _data: b"",
    "zeros": lambda data: bytes(len(data)),
    "cut": cut,
    "without its last byte": lambda data: data[:-1],
    "another picture": lambda _data: picture((9, 8)),
    "no picture": lambda data: b"GIF89a" + data[6:],
}


def picture(size):
    stream = io.BytesIO()
    Image.new("RGB", size).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("what", DAMAGE)
@pytest.mark.parametrize("name", FIRST)
def test_a_damaged_picture_is_made_again(gen, tmp_path, name, what):
    gen("--count", 4, "--batch", 2)
    before = tree(tmp_path / "out")
    file = tmp_path / "out" / name
    file.write_bytes(DAMAGE[what](file.read_bytes()))
    assert "2 made" in gen("--count", 4, "--batch", 2, "--sheet")
    (tmp_path / "out" / "sheet.png").unlink()
    assert tree(tmp_path / "out") == before
    check_pairs(tmp_path / "out")


def test_ends_of_pictures(tmp_path):
    files = [tmp_path / f"{name}.png" for name in "abc"]
    for file, size in zip(files, ((3, 5), (3, 5), (5, 3)), strict=True):
        file.write_bytes(picture(size))
    assert [png_size(file) for file in files] == [(3, 5), (3, 5), (5, 3)]
    assert are_whole(files[:2])
    assert not are_whole(files)
    assert not are_whole([files[0], tmp_path / "none.png"])
    os.mkfifo(tmp_path / "pipe.png")
    assert png_size(tmp_path / "pipe.png") is None


@pytest.mark.parametrize("name", ["metadata.jsonl", "refused.jsonl", "run.json", *FIRST])
def test_a_pipe_is_not_waited_for(gen, tmp_path, name):
    gen("--count", 2)
    file = tmp_path / "out" / name
    file.unlink(missing_ok=True)
    os.mkfifo(file)
    if name.endswith(".png"):
        assert "2 made" in gen("--count", 2)
        check_pairs(tmp_path / "out")
    else:
        said = gen("--count", 2, code=5)
        assert f"{name}: is no plain file" in said
        assert said.count("\n") == 1


@pytest.mark.parametrize("name", ["metadata.jsonl", "run.json"])
def test_text_nested_a_hundred_thousand_deep(gen, tmp_path, name):
    gen("--count", 2)
    before = tree(tmp_path / "out")
    (tmp_path / "out" / name).write_bytes(b"[" * 100_000 + b"\n")
    if name == "run.json":
        assert "not the record of a run" in gen("--count", 2, code=5)
    else:
        gen("--count", 2)
    assert tree(tmp_path / "out") == before


def test_out_that_is_a_ring_of_links(gen, tmp_path):
    (tmp_path / "ring").symlink_to(tmp_path / "gnir")
    (tmp_path / "gnir").symlink_to(tmp_path / "ring")
    for out in ("ring", "ring/below"):
        said = gen("--count", 1, out=out, code=5)
        assert said.count("\n") == 1


def test_a_path_of_five_thousand_characters(gen, tmp_path):
    said = gen("--count", 1, out="x" * 5000, code=5)
    assert "File name too long" in said
    assert said.count("\n") == 1
    said = gen("--count", 1, plan=tmp_path / ("x" * 5000), code=3)
    assert "File name too long" in said
    assert said.count("\n") == 1


def test_a_lock_that_is_a_link_to_nowhere_makes_nothing(gen, tmp_path):
    (tmp_path / "out").mkdir()
    for aim in (tmp_path / "elsewhere", tmp_path / "out" / "inside"):
        (tmp_path / "out" / ".seas-lock").symlink_to(aim)
        said = gen("--count", 1, code=5)
        assert said.count("\n") == 1
        assert not aim.exists()
        (tmp_path / "out" / ".seas-lock").unlink()
