"""`seas-gen --normals`: a series of its own beside the pairs, or alone; continued, extended, crashed or refused."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import seas_runtime
from tests.runtime.written import check_pairs, settings, tree

RUN = "from seas_runtime.cli import generate; generate(prog_name='seas-gen')"


def normals(out):
    return [json.loads(line) for line in (out / "normals.jsonl").read_text().splitlines()]


def check_normals(out, count):
    """Every line has its file, every file its line."""
    named = [line["file_name"] for line in normals(out)]
    assert named == [f"tile/train/good/{index:06d}.png" for index in range(count)]
    assert sorted(path.name for path in (out / "tile/train/good").iterdir()) == [f"{index:06d}.png" for index in range(count)]
    for name in named:
        with Image.open(out / name) as image:
            assert (image.mode, image.size) == ("RGB", (8, 8))


def of_pairs(out):
    return {name: data for name, data in tree(out).items() if "normals.jsonl" not in name and "train" not in name}


def test_beside_pairs(gen, tmp_path, pristine):
    said = gen("--count", 5, "--normals", 4, "--batch", 3, "--seed", 9)
    out = tmp_path / "out"
    check_pairs(out)
    check_normals(out, 4)
    line = normals(out)[3]
    assert list(line) == ["index", "defect", "file_name", "seed", "attempt", "normal"]
    assert (line["index"], line["defect"], line["seed"], line["attempt"]) == (3, "good", 9, 0)
    assert (settings(out)["count"], settings(out)["normals"]) == (5, 4)
    assert said.startswith(f"5 pairs and 4 normal images in {out} (crack 2, hole 2, stain 1); 9 made in ")
    assert "images/s; " in said
    with seas_runtime.open(pristine, "cpu", threads=1) as generator:
        for line, normal in zip(normals(out), generator.normals(4, seed=9, batch=3), strict=True):
            assert (normal.index, normal.normal) == (line["index"], line["normal"])
            assert np.array_equal(normal.image, np.asarray(Image.open(out / line["file_name"])))
    gen("--count", 5, "--batch", 3, "--seed", 9, out="pairs")
    assert of_pairs(out) == tree(tmp_path / "pairs")


def test_alone(gen, tmp_path):
    said = gen("--normals", 4, "--seed", 9)
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == ["normals.jsonl", "run.json", "tile"]
    check_normals(out, 4)
    assert said.startswith(f"4 normal images in {out}; 4 made in ")
    assert said.endswith("images/s\n")
    assert gen("--normals", 4, "--seed", 9, "--sheet") == f"4 normal images in {out}; none was left to make\n"
    assert gen("--normals", 4, "--seed", 9, "--quiet") == ""


def test_neither_batch_shard_nor_threads_decide_them(gen, tmp_path):
    gen("--normals", 7, "--batch", 7, out="whole")
    for number, words in enumerate([("--batch", 1), ("--batch", 3, "--threads", 2)]):
        gen("--normals", 7, *words, out=f"other{number}")
        same(tmp_path / "whole", tmp_path / f"other{number}", range(7))
    gen("--normals", 7, "--batch", 2, "--shard", "1/2", out="part")
    part = tmp_path / "part" / "shard-1-of-2"
    assert [line["index"] for line in normals(part)] == [2, 3, 6]
    same(tmp_path / "whole", part, [2, 3, 6])


def same(out, other, indices):
    """Within a grey level: the engine rounds batches of other sizes differently."""
    for index in indices:
        one, two = (np.asarray(Image.open(x / f"tile/train/good/{index:06d}.png"), int) for x in (out, other))
        assert np.abs(one - two).max() <= 1


@pytest.mark.parametrize(
    "steps",
    [
        [(0, 3), (0, 9)],
        [(5, 0), (5, 9)],
        [(0, 9), (5, 9)],
        [(2, 1), (2, 6), (5, 6), (5, 9)],
        [(5, 9), (5, 9)],
    ],
)
def test_each_series_is_extended_by_itself(gen, tmp_path, steps):
    """The counts of the last step are what a run at once is asked for."""
    for pairs, number in steps:
        gen(*(("--count", pairs) if pairs else ()), "--normals", number, "--batch", 2)
    pairs, number = steps[-1]
    gen(*(("--count", pairs) if pairs else ()), "--normals", number, "--batch", 2, out="whole")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert (settings(tmp_path / "out")["count"], settings(tmp_path / "out")["normals"]) == (pairs, number)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--count", 3), "holds normal image 3, but 0 are asked for; ask for 4 or more (--normals) or give another --out"),
        (("--count", 3, "--normals", 2), "holds normal image 3, but 2 are asked for; ask for 4 or more (--normals)"),
        (("--count", 2, "--normals", 4), "holds pair 2, but 2 are asked for; ask for 3 or more (--count)"),
        (("--normals", 4), "holds pair 2, but 0 are asked for; ask for 3 or more (--count)"),
        (("--count", 3, "--normals", 4, "--seed", 1), "seed 0, not 1"),
        (("--count", 3, "--normals", 4, "--guidance", 1), "guidance 2.0, not 1.0"),
        (("--count", 3, "--normals", 4, "--clean", 5), "clean 0, not 5"),
        (("--count", 3, "--normals", 4, "--min-agreement", 0.5), "min_agreement 0.0, not 0.5"),
    ],
)
def test_what_does_not_continue_it_is_refused_and_nothing_is_lost(gen, tmp_path, words, named):
    gen("--count", 3, "--normals", 4)
    before = tree(tmp_path / "out")
    said = gen(*words, code=5)
    assert named in said
    assert said.count("\n") == 1
    assert tree(tmp_path / "out") == before


def torn(out):
    data = (out / "normals.jsonl").read_bytes()
    (out / "normals.jsonl").write_bytes(data[: len(data) * 2 // 3])


def temporaries(out):
    torn(out)
    (out / "tile/train/good/000005.png.seas-tmp").write_bytes(b"half")
    (out / "tile/train/good/000099.png").write_bytes(b"stray")
    (out / "normals.jsonl.seas-tmp").write_bytes(b"{")


def lost(out):
    (out / "tile/train/good/000001.png").unlink()


def damaged(out):
    text = (out / "normals.jsonl").read_bytes().splitlines(keepends=True)
    text[1], text[4] = b'{"index": 1, "defect": "crack", "attempt": 0}\n', b"\xff{\n"
    (out / "normals.jsonl").write_bytes(b"".join(text))


def before_any_line(out):
    (out / "normals.jsonl").unlink()


def nothing_noted(out):
    before_any_line(out)
    (out / "metadata.jsonl").unlink(missing_ok=True)


@pytest.mark.parametrize("crash", [torn, temporaries, lost, damaged, before_any_line, nothing_noted])
@pytest.mark.parametrize("pairs", [0, 5])
def test_a_crashed_run_is_continued_to_the_same_bytes(gen, tmp_path, crash, pairs):
    words = (*(("--count", pairs) if pairs else ()), "--normals", 8, "--batch", 3)
    gen(*words, out="whole")
    gen(*words)
    crash(tmp_path / "out")
    gen(*words)
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_goes_on(gen, pristine, tmp_path, how):
    out = tmp_path / "out"
    numbers = ("--threads", 1, "--batch", 2, "--count", 3, "--normals", 100_000)
    words = map(str, ("--engine", pristine, "--out", out, "--backend", "cpu", *numbers))
    with subprocess.Popen([sys.executable, "-c", RUN, *words], stderr=subprocess.PIPE, text=True) as process:
        try:
            limit = time.monotonic() + 30
            while not (out / "normals.jsonl").exists() and time.monotonic() < limit:
                time.sleep(0.02)
            process.send_signal(how)
            _, said = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, "Interrupted" in said) == ((130, True) if how == signal.SIGINT else (-how, False))
    count = len(normals(out)) + 3
    gen("--count", 3, "--normals", count, "--batch", 2)
    gen("--count", 3, "--normals", count, "--batch", 2, out="whole")
    assert tree(out) == tree(tmp_path / "whole")


def test_pictures_of_a_killed_run_without_a_line_go_though_no_more_are_asked_for(gen, tmp_path):
    gen("--count", 3, "--normals", 4)
    (tmp_path / "out/normals.jsonl").unlink()  # as by a kill before the first line
    gen("--count", 3)
    gen("--count", 3, out="whole")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_normal_images_of_the_user_are_never_replaced(gen, tmp_path):
    """MVTec AD's layout has a place for them, and people fill it."""
    out, own = tmp_path / "out", tmp_path / "out/tile/train/good/000001.png"
    gen("--count", 3)
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    gen("--count", 6)
    before = tree(out)
    for words in (("--count", 6, "--normals", 4), ("--count", 9, "--normals", 4)):
        said = gen(*words, code=5)
        assert f"{own}: is called as this run's pictures are, but not of it; move it or give another --out" in said
        assert tree(out) == before
    (out / "metadata.jsonl").unlink()  # a run that made nothing
    gen("--count", 3, "--seed", 1)
    assert own.read_bytes() == b"mine"
    own.rename(own.with_name("own_1.png"))
    gen("--count", 3, "--seed", 1, "--normals", 4)
    gen("--count", 3, "--seed", 1, "--normals", 6)
    assert own.with_name("own_1.png").read_bytes() == b"mine"
    assert len(normals(out)) == 6


def test_they_are_made_though_the_gate_gives_pairs_up(gen, tmp_path):
    said = gen("--count", 2, "--normals", 3, "--min-area", 65, "--retries", 0, code=6)
    check_normals(tmp_path / "out", 3)
    assert f"0 pairs and 3 normal images in {tmp_path / 'out'}" in said
    assert not (tmp_path / "out/metadata.jsonl").exists()


def test_older_ones_of_another_engine_version_are_told_once_for_each_series(gen, tmp_path):
    gen("--count", 4, "--normals", 4)
    change_engine(tmp_path / "out")
    said = gen("--count", 4, "--normals", 8)
    assert said.count("was begun with engine onnxruntime 1.0: its older normal images may differ") == 1
    assert "older pairs" not in said
    change_engine(tmp_path / "out")
    said = gen("--count", 8, "--normals", 12)
    assert (said.count("its older pairs may differ"), said.count("its older normal images may differ")) == (1, 1)


def test_what_has_no_older_ones_is_not_warned_of(gen, tmp_path):
    gen("--count", 4)
    change_engine(tmp_path / "out")
    assert "its older" not in gen("--count", 4, "--normals", 4)


def change_engine(out):
    facts = json.loads((out / "run.json").read_text())
    facts["backend"]["engine"] = "onnxruntime 1.0"
    (out / "run.json").write_text(json.dumps(facts))


def test_a_run_of_an_older_version_is_continued(gen, tmp_path):
    """Before there were normal images, kept backgrounds and masks judged by type."""
    gen("--count", 3, "--batch", 2)
    record = tmp_path / "out/run.json"
    facts = json.loads(record.read_text())
    for name in ("normals", "clean", "background", "strength", "min_agreement"):
        del facts["settings"][name]
    del facts["licence"]
    record.write_text(json.dumps(facts))
    gen("--count", 5, "--batch", 2, "--normals", 2)
    gen("--count", 5, "--batch", 2, "--normals", 2, out="whole")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert settings(tmp_path / "out") == settings(tmp_path / "whole")


def test_an_export_goes_on_with_more_normal_images(gen, tmp_path):
    gen("--count", 3, "--normals", 2, "--also", "coco")
    gen("--count", 6, "--normals", 4, "--also", "coco")
    assert len(list((tmp_path / "out-coco").rglob("*.png"))) == 10
