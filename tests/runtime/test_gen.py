"""`seas-gen` from the outside: what it writes, continues, shares out and refuses."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from seas_runtime.bundle import read_bundle
from seas_runtime.cli import engine, generate
from seas_runtime.lock import locked

COMMAND = [sys.executable, "-c", "from seas_runtime.cli import generate; generate(prog_name='seas-gen')"]


@pytest.fixture
def gen(pristine, tmp_path):
    """Run seas-gen in this process: gen("--count", 4, out="name", code=0) -> output."""

    def run(*words, out="out", code=0, plan=pristine):
        given = ["--engine", plan, "--out", tmp_path / out, "--threads", 1, *words]
        result = CliRunner().invoke(generate, [str(word) for word in given])
        assert result.exit_code == code, (result.output, result.exception)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.output

    return run


def tree(folder):
    """Every file but run.json, whose command names the folder."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != "run.json"
    }


def lines(folder):
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


def settings(folder):
    return json.loads((folder / "run.json").read_text())["settings"]


def check_pairs(folder):
    """Every line has its files, every file its line."""
    named = set()
    for line in lines(folder):
        image, mask = (Image.open(folder / line[key]) for key in ("file_name", "mask_file_name"))
        assert (image.mode, image.size, mask.mode, mask.size) == ("RGB", (8, 8), "L", (8, 8))
        rows, columns = np.nonzero(np.asarray(mask))
        left, top = columns.min(), rows.min()
        assert line["area"] == len(rows) > 0
        assert line["bbox"] == [left, top, columns.max() - left + 1, rows.max() - top + 1]
        assert set(np.unique(mask)) <= {0, 255}
        named |= {line["file_name"], line["mask_file_name"]}
    assert {name for name in tree(folder) if name.endswith(".png")} == named


def test_the_data_set_has_the_layout_of_mvtec_ad(gen, tmp_path, pristine):
    said = gen("--count", 7, "--batch", 3, "--seed", 9)
    out = tmp_path / "out"
    assert [line["index"] for line in lines(out)] == list(range(7))
    first = lines(out)[4]
    assert list(first) == [
        "index", "defect", "file_name", "mask_file_name", "seed",
        "attempt", "normal", "area", "bbox", "verdict",
    ]  # fmt: skip
    assert first["file_name"] == "tile/test/hole/000004.png"
    assert first["mask_file_name"] == "tile/ground_truth/hole/000004_mask.png"
    assert (first["seed"], first["verdict"]) == (9, "ok")
    check_pairs(out)
    record = json.loads((out / "run.json").read_text())
    assert record["command"][0] == "seas-gen"
    assert record["command"][-4:] == ["--batch", "3", "--seed", "9"]
    assert record["settings"]["digest"] == read_bundle(pristine).manifest.digest
    assert {"seas", "numpy", "pillow", "python"} <= record["versions"].keys()
    assert record["backend"]["engine"].startswith("onnxruntime")
    assert said.count("\n") == 1
    for word in ("7 pairs", str(out), "crack 3, hole 2, stain 2", "pairs/s", "retries"):
        assert word in said
    assert sorted(path.name for path in out.iterdir()) == ["metadata.jsonl", "run.json", "tile"]


def test_per_type_defect_and_defaults(gen, tmp_path):
    gen("--per-type", 2, "--defect", "stain", "--defect", "crack", "--quiet")
    assert [line["defect"] for line in lines(tmp_path / "out")] == ["crack", "stain", "crack", "stain"]
    held = settings(tmp_path / "out")
    assert (held["steps"], held["guidance"], held["threshold"], held["mask_steps"]) == (5, 2.0, 0.5, 2)
    assert held["defects"] == ["crack", "stain"]


def test_quiet_says_nothing_and_short_runs_average_fewer_masks(gen, tmp_path):
    assert gen("--count", 2, "--quiet", "--steps", 1) == ""
    assert settings(tmp_path / "out")["mask_steps"] == 1


def test_out_is_named_after_the_product(pristine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(generate, ["--engine", str(pristine), "--count", "1"])
    assert result.exit_code == 0
    assert len(lines(tmp_path / "out" / "tile")) == 1


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_batches_give_the_same_pairs(gen, tmp_path, batch):
    gen("--count", 8, "--batch", 8, out="whole")
    gen("--count", 8, "--batch", batch, out="other")
    for first, second in zip(lines(tmp_path / "whole"), lines(tmp_path / "other"), strict=True):
        one, two = (Image.open(tmp_path / name / first["file_name"]) for name in ("whole", "other"))
        assert np.abs(np.asarray(one, int) - np.asarray(two, int)).max() <= 1
        assert abs(first["area"] - second["area"]) <= 1
        assert (first["normal"], first["attempt"]) == (second["normal"], second["attempt"])


def test_shards_together_are_one_run(gen, tmp_path):
    gen("--count", 17, "--batch", 3, out="whole")
    parts = [f"part{part}" for part in range(3)]
    for part, name in enumerate(parts):
        gen("--count", 17, "--batch", 3, "--shard", f"{part}/3", out=name)
    joined = sorted(
        (line for name in parts for line in lines(tmp_path / name)), key=lambda line: line["index"]
    )
    assert joined == lines(tmp_path / "whole")
    images = {name: data for part in parts for name, data in tree(tmp_path / part).items() if "png" in name}
    assert images == {name: data for name, data in tree(tmp_path / "whole").items() if "png" in name}


def test_the_same_command_again_makes_nothing_new(gen, tmp_path):
    gen("--count", 6)
    before = tree(tmp_path / "out")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}
    assert "6 pairs" in (said := gen("--count", 6))
    assert "0 made" in said
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


def start(pristine, out, *words):
    given = ["--engine", pristine, "--out", out, "--threads", 1, "--batch", 2, "--count", 100_000, *words]
    process = subprocess.Popen(
        COMMAND + [str(word) for word in given], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    limit = time.monotonic() + 30
    while not (out / "metadata.jsonl").exists() and time.monotonic() < limit:
        time.sleep(0.02)
    time.sleep(0.2)
    return process


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_leaves_whole_pairs_and_goes_on(gen, pristine, tmp_path, how):
    out = tmp_path / "out"
    process = start(pristine, out)
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


def test_the_lock_goes_with_its_run(tmp_path):
    with locked(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [".seas-lock"]
    assert list(tmp_path.iterdir()) == []


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


def test_a_smaller_count_and_another_bundle_are_refused(gen, plan_folder, tmp_path, edit_graph):
    gen("--count", 6)
    assert "holds pair 5" in gen("--count", 5, code=5)
    edit_graph(lambda model: setattr(model, "producer_name", "other"))
    assert "digest" in gen("--count", 6, code=5, plan=plan_folder)


def test_out_that_cannot_be_used(gen, tmp_path):
    (tmp_path / "file").write_text("x")
    assert "is a file" in gen("--count", 1, out="file", code=5)
    assert "Not a directory" in gen("--count", 1, out="file/below", code=5)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("x")
    assert "thesis.txt" in gen("--count", 1, out="other", code=5)
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thesis.txt"]
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "run.json").write_text('{"command": []}')
    assert "not the record of a run" in gen("--count", 1, out="odd", code=5)


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


def test_the_gate_gives_up_some_pairs_and_writes_the_others(gen, tmp_path):
    gen("--count", 12, "--seed", 1, out="free")
    areas = sorted(line["area"] for line in lines(tmp_path / "free"))
    words = ("--count", 12, "--seed", 1, "--min-area", areas[6], "--retries", 1)
    said = gen(*words, code=6)
    out = tmp_path / "out"
    written = {line["index"] for line in lines(out)}
    refused = [json.loads(line) for line in (out / "refused.jsonl").read_text().splitlines()]
    assert written | {line["index"] for line in refused} == set(range(12))
    assert written
    assert refused
    assert f"pairs {', '.join(str(line['index']) for line in refused)} (" in said
    assert "too small" in said
    assert "--seed" in said
    assert "Traceback" not in said
    check_pairs(out)
    before = tree(out)
    assert "0 made" in gen(*words, code=6)
    assert tree(out) == before


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--count", 0), "--count"),
        (("--count", -3), "--count"),
        (("--count", "many"), "--count"),
        (("--per-type", 0), "--per-type"),
        ((), "either --count N (in all) or --per-type N"),
        (("--count", 1, "--per-type", 1), "either --count N (in all) or --per-type N"),
        (("--count", 1, "--defect", "dent"), "--defect 'dent' found, one of crack, hole, stain expected"),
        (("--count", 1, "--seed", -1), "--seed"),
        (("--count", 1, "--seed", 2**64), "--seed"),
        (("--count", 1, "--batch", 0), "--batch"),
        (("--count", 1, "--steps", 0), "--steps"),
        (("--count", 1, "--steps", 100), "--steps 100 found, 1 to 99 expected"),
        (("--count", 1, "--mask-steps", 6), "--mask-steps 6 found, at most the 5 steps"),
        (("--count", 1, "--guidance", 0.5), "--guidance"),
        (("--count", 1, "--guidance", "nan"), "--guidance nan"),
        (("--count", 1, "--threshold", 1), "--threshold"),
        (("--count", 1, "--threshold", "nan"), "--threshold nan"),
        (("--count", 1, "--max-area", 0), "--max-area"),
        (("--count", 1, "--retries", 4), "--retries"),
        (("--count", 1, "--shard", "2/2"), "0 <= k < n"),
        (("--count", 1, "--shard", "x"), "0 <= k < n"),
        (("--count", 1, "--backend", "tpu"), "--backend"),
        (("--count", 1, "--surprise"), "--surprise"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(gen, tmp_path, words, named):
    assert named in gen(*words, code=2)
    assert not (tmp_path / "out").exists()


def test_a_bad_bundle_writes_nothing(gen, plan_folder, tmp_path):
    assert "no such bundle folder" in gen("--count", 1, code=3, plan=tmp_path / "none.plan")
    weights = bytearray((plan_folder / "weights.bin").read_bytes())
    weights[0] ^= 1
    (plan_folder / "weights.bin").write_bytes(weights)
    said = gen("--count", 1, code=3, plan=plan_folder)
    assert "weights.bin" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_expect(gen, pristine, tmp_path):
    digest = read_bundle(pristine).manifest.digest
    gen("--count", 1, "--expect", digest)
    assert "another bundle" in gen("--count", 1, "--expect", "0" * 64, out="no", code=3)
    assert not (tmp_path / "no").exists()


def test_no_engine_installed(pristine, tmp_path):
    """A process in which `import onnxruntime` fails, as where it is not installed."""
    code = "import sys; sys.modules['onnxruntime'] = None; from seas_runtime.cli import generate; generate()"
    words = ["--engine", str(pristine), "--count", "1", "--out", str(tmp_path / "out")]
    run = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, check=False, text=True, timeout=60
    )
    assert run.returncode == 4
    assert "pip install onnxruntime" in run.stderr
    assert run.stderr.count("\n") == 1
    assert run.stdout == ""
    assert not (tmp_path / "out").exists()


def test_the_bar_is_silent_where_there_is_no_terminal(pristine, tmp_path):
    words = ["--engine", str(pristine), "--count", "3", "--out", str(tmp_path / "out")]
    run = subprocess.run([*COMMAND, *words], capture_output=True, check=False, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("3 pairs in ")


def seas_engine(*words):
    return CliRunner().invoke(engine, [str(word) for word in words])


def test_inspect_verify_and_doctor(pristine):
    digest = read_bundle(pristine).manifest.digest
    shown = seas_engine("inspect", pristine).output
    for word in ("tile", digest, "a tile with a hole", "8 x 8", "unet: fp32", "licence: none"):
        assert word in shown
    assert seas_engine("verify", pristine).output == f"ok {digest}\n"
    assert seas_engine("verify", pristine, "--expect", digest).exit_code == 0
    wrong = seas_engine("verify", pristine, "--expect", "1" * 64)
    assert wrong.exit_code == 3
    assert digest in wrong.output
    told = seas_engine("doctor")
    assert told.exit_code == 0
    assert "onnxruntime" in told.output
    assert "cpu" in told.output


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_engine_commands_refuse_a_bad_bundle(command, tmp_path):
    result = seas_engine(command, tmp_path / "none.plan")
    assert result.exit_code == 3
    assert "no such bundle folder" in result.output


def test_version():
    for command in (generate, engine):
        result = CliRunner().invoke(command, ["--version"])
        assert result.exit_code == 0
        assert result.output.startswith("seas ")
