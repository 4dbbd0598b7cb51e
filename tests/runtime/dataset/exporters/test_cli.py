"""`seas-data export` from the outside, and `seas-gen --also`."""

import json
import os
import pty
import shutil
import subprocess
import sys
import termios

import pytest
from click.testing import CliRunner

from seas_runtime.dataset.exporters import FORMATS
from seas_runtime.dataset.exporters.cli import export

from .out_folder import tree


@pytest.fixture
def run(out, tmp_path):
    """Run the command in this process: run("--to", "coco", into="made", code=0) -> output."""

    def run(*words, into="made", code=0, source=out):
        result = CliRunner().invoke(export, [str(word) for word in (source, "--into", tmp_path / into, *words)])
        assert result.exit_code == code, (result.output, result.exception)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.output

    return run


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_written_with_one_line(run, tmp_path, name):
    said = run("--to", name)
    assert said.startswith(f"{tmp_path / 'made'}: {name}, 12 pairs and 5 normal pictures (")
    assert said.count("\n") == 1
    assert "nothing had changed" in run("--to", name)


def test_options_reach_the_export(run, tmp_path):
    run("--to", "coco", "--val", "0.5", "--seed", 3, "--polygons", "--no-normals", "--link", "--quiet")
    record = json.loads((tmp_path / "made/export.json").read_text())
    assert record["options"] == {"val": 0.5, "seed": 3, "link": True, "polygons": True, "shard_size": 1000}
    assert (record["normals"], record["splits"]) == (0, {"train": 6, "val": 6})
    run("--to", "webdataset", "--shard-size", 4, "--val", 0, into="tar")
    assert len(list((tmp_path / "tar").glob("train-*.tar"))) == 5


def test_quiet_says_nothing(run):
    assert run("--to", "hf", "--quiet") == ""


def test_photographs_and_decisions(run, fresh, tmp_path):
    shutil.copytree(fresh / "tile/test/crack", tmp_path / "photos")
    (fresh / "review.jsonl").write_text('{"index": 4, "decision": "accept"}\n{"index": 5, "decision": "reject"}\n')
    said = run("--to", "anomalib", "--normals", tmp_path / "photos", "--no-normals", "--accepted-only", source=fresh)
    assert "1 pairs and 6 normal pictures (train 4, test 3); the review left out 11" in said


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ((), 2, "Missing option '--to'"),
        (("--to", "voc"), 2, "'voc' is not one of 'coco', 'yolo'"),
        (("--to", "hf", "--polygons"), 2, "--polygons found with --to hf, expected with coco; leave it out"),
        (("--to", "labelme", "--val", "0.1"), 2, "--val found with --to labelme, expected with coco, yolo"),
        (("--to", "webdataset", "--link"), 2, "--link found with --to webdataset"),
        (
            ("--to", "coco", "--shard-size", "9"),
            2,
            "--shard-size found with --to coco, expected with webdataset",
        ),
        (("--to", "coco", "--val", "1"), 2, "--val"),
        (("--to", "coco", "--val", "nan"), 2, "--val: Input should be"),
        (("--to", "coco", "--seed", "-1"), 2, "--seed"),
        (
            ("--to", "coco", "--normals", "nowhere"),
            3,
            "nowhere: No such file or directory, expected a folder",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(run, tmp_path, words, code, told):
    said = run(*words, code=code)
    assert told in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_a_damaged_one_and_a_taken_place_have_their_codes(run, fresh, tmp_path):
    assert "no such folder" in run("--to", "coco", source=tmp_path / "none", code=3)
    (fresh / "tile/test/stain/000001.png").write_bytes(b"\x89PNG")
    said = run("--to", "coco", source=fresh, code=3)
    assert "000001.png: no picture of a known kind, expected a whole picture" in said
    assert said.count("\n") == 1
    (tmp_path / "made").mkdir()
    (tmp_path / "made/mine").touch()
    assert "something else than an export" in run("--to", "coco", code=5)


def test_a_progress_bar_is_for_terminals(out, tmp_path):
    command = [sys.executable, "-c", "from seas_runtime.dataset.exporters.cli import export; export()", str(out)]
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 100))  # a terminal without columns has no place for a bar
    os.set_blocking(terminal, False)
    words = ["--to", "coco", "--into"]
    subprocess.run([*command, *words, str(tmp_path / "a")], stdout=subprocess.PIPE, stderr=end, check=True)
    shown = os.read(terminal, 10_000).decode()  # before its other end is closed, which discards what is not read
    os.close(end)
    os.close(terminal)
    assert "/17" in shown
    assert "picture" in shown
    piped = subprocess.run([*command, *words, str(tmp_path / "b")], capture_output=True, check=True)
    assert piped.stderr == f"reading {out} ...\n".encode()


def test_help_has_examples_every_format_and_loads_nothing_heavy():
    code = (
        "import sys; from seas_runtime.dataset.exporters.cli import export\n"
        "try: export(['--help'], prog_name='seas-data export')\n"
        "except SystemExit: print([m for m in ('numpy', 'PIL', 'pydantic', 'tqdm') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.endswith("[]\n")
    for word in ("Examples:", "--accepted-only", "Exit codes:", *FORMATS):
        assert word in shown


def test_also_exports_what_seas_gen_made(gen, tmp_path):
    said = gen("--count", 6, "--also", "coco, hf")
    assert f"{tmp_path / 'out-coco'}: coco, 6 pairs" in said
    assert f"{tmp_path / 'out-hf'}: hf, 6 pairs" in said
    before = tree(tmp_path / "out")
    assert gen("--count", 6, "--also", "coco").count("nothing had changed") == 1
    assert tree(tmp_path / "out") == before
    assert "coco, 9 pairs" in gen("--count", 9, "--also", "coco")
    assert gen("--count", 9, "--also", "coco", "--quiet") == ""
    images = json.loads((tmp_path / "out-coco/annotations/instances_train.json").read_text())["images"]
    assert {"000000.png", "000001.png"} & {image["file_name"] for image in images}


def test_also_refuses_an_unknown_format_before_anything_is_made(gen, tmp_path):
    said = gen("--count", 2, "--also", "coco,voc", code=2)
    assert "'voc' found, coco, yolo, mmseg, webdataset, labelme, hf, anomalib expected" in said
    assert not (tmp_path / "out").exists()
