"""`seas-gen` and `seas-engine` from the outside: what they write, say and refuse."""

import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from seas_runtime.bundle.reader import read_bundle
from seas_runtime.cli import generate
from seas_runtime.engine_cli import engine
from tests.runtime.small_bundle import defects, seal, write_photographs
from tests.runtime.written import check_pairs, lines, settings, tree

COMMAND = [sys.executable, "-c", "from seas_runtime.cli import generate; generate(prog_name='seas-gen')"]


def test_the_data_set_has_the_layout_of_mvtec_ad(gen, tmp_path, pristine):
    said = gen("--count", 7, "--batch", 3, "--seed", 9)
    out = tmp_path / "out"
    assert [line["index"] for line in lines(out)] == list(range(7))
    first = lines(out)[4]
    assert list(first) == [
        "index", "defect", "file_name", "mask_file_name", "seed",
        "attempt", "normal", "area", "bbox", "agreement", "verdict",
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
    assert said.count("\n") == 2
    assert said.endswith(f"next: seas-data review {out}, then seas-data export {out} --to coco --into {out}-coco\n")
    for word in ("7 pairs", str(out), "crack 3, hole 2, stain 2", "pairs/s", "retries"):
        assert word in said
    assert sorted(path.name for path in out.iterdir()) == ["metadata.jsonl", "run.json", "tile"]


@pytest.mark.parametrize(("fit", "placed"), [("tile", True), ("pad", False)])
def test_pairs_of_tiles_are_to_be_placed(gen, tmp_path, plan_folder, fit, placed):
    places = [{"file": f"{i}.jpg", "size": (640, 480), "box": (0, 0, 64, 64)} for i in range(3)]
    seal(plan_folder, fitting={"fit": fit, "photograph": (640, 480)}, places=places)
    said = gen("--count", 1, plan=plan_folder)
    assert (f"then seas-data place {tmp_path / 'out'} --on PHOTOGRAPHS" in said) == placed


def test_per_type_defect_and_defaults(gen, tmp_path):
    gen("--per-type", 2, "--defect", "stain", "--defect", "crack", "--quiet")
    assert [line["defect"] for line in lines(tmp_path / "out")] == ["crack", "stain", "crack", "stain"]
    held = settings(tmp_path / "out")
    assert (held["steps"], held["guidance"], held["threshold"], held["mask_steps"]) == (5, 2.0, 0.5, 2)
    assert held["defects"] == ["crack", "stain"]


def test_quiet_says_nothing_and_short_runs_average_fewer_masks(gen, tmp_path):
    assert gen("--count", 2, "--quiet", "--steps", 1) == ""
    assert settings(tmp_path / "out")["mask_steps"] == 1


def test_a_sheet_shows_each_type_and_may_come_later(gen, tmp_path):
    gen("--count", 5, "--steps", 1)
    assert not (tmp_path / "out" / "sheet.png").exists()
    said = gen("--count", 5, "--steps", 1, "--sheet")
    assert f"contact sheet: {tmp_path / 'out' / 'sheet.png'}" in said
    crack, later = (line for line in lines(tmp_path / "out") if line["defect"] == "crack")
    surest = later if later["agreement"] > crack["agreement"] else crack
    first = Image.open(tmp_path / "out" / surest["file_name"])
    with Image.open(tmp_path / "out" / "sheet.png") as seen:
        assert seen.size == (4 + 2 * 132, 4 + 6 * 132 + 3 * 14)  # two columns; three types, two rows and a label each
        cell = np.asarray(seen.crop((4, 18, 132, 146)))
    assert np.array_equal(cell, np.asarray(first.resize((128, 128), Image.Resampling.NEAREST)))


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
    parts = [f"shards/shard-{part}-of-3" for part in range(3)]
    for part in range(3):
        gen("--count", 17, "--batch", 3, "--shard", f"{part}/3", out="shards")
    joined = sorted((line for name in parts for line in lines(tmp_path / name)), key=lambda line: line["index"])
    assert joined == lines(tmp_path / "whole")
    images = {name: data for part in parts for name, data in tree(tmp_path / part).items() if "png" in name}
    assert images == {name: data for name, data in tree(tmp_path / "whole").items() if "png" in name}


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
    assert "none was left to make" in gen(*words, code=6)
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
        (("--normals", 0), "or that of normal images: --normals N"),
        (("--count", 1, "--normals", 1_000_001), "--normals"),
        (("--count", 0, "--normals", 2), "--count"),
        (("--count", 1, "--per-type", 1, "--normals", 2), "either --count N (in all) or --per-type N"),
        (("--count", 1, "--background", "blue"), "--background"),
        (("--count", 1, "--background", "real"), "the bundle has none; export it with seas-export --photographs"),
        (("--count", 1, "--strength", 0.5), "--strength 0.5 found without a picture to start from; add --background real"),
        (("--count", 1, "--strength", 0), "--strength"),
        (("--count", 1, "--strength", "nan"), "--strength nan"),
        (("--count", 1, "--min-agreement", 1.5), "--min-agreement"),
        (("--count", 1, "--min-agreement", "nan"), "--min-agreement nan"),
        (("--count", 1, "--clean", -1), "--clean"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(gen, tmp_path, words, named):
    assert named in gen(*words, code=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("inside", ["", "out", "engines/out"])
def test_out_inside_the_bundle_leaves_it_whole(gen, plan_folder, monkeypatch, inside):
    monkeypatch.chdir(plan_folder.parent)
    said = gen("--count", 3, out=plan_folder / inside, plan=plan_folder.name, code=5)
    assert "lies in the bundle" in said
    read_bundle(plan_folder)


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
    """A process in which the imports of all engines fail, as where none is installed."""
    code = (
        "import sys; sys.modules |= dict.fromkeys(('onnxruntime', 'MNN', 'openvino'));"
        "from seas_runtime.cli import generate; generate()"
    )
    words = ["--engine", str(pristine), "--count", "1", "--out", str(tmp_path / "out")]
    run = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=False, text=True, timeout=60)
    assert run.returncode == 4
    assert "pip install onnxruntime" in run.stderr
    assert run.stderr.count("\n") == 2  # after what it reads
    assert run.stdout == ""
    assert not (tmp_path / "out").exists()


def test_the_bar_is_silent_where_there_is_no_terminal(pristine, tmp_path):
    words = ["--engine", str(pristine), "--count", "3", "--out", str(tmp_path / "out"), "--backend", "cpu"]
    run = subprocess.run([*COMMAND, *words], capture_output=True, check=False, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, f"reading {pristine} ...\n")
    assert run.stdout.startswith("3 pairs in ")


def seas_engine(*words):
    return CliRunner().invoke(engine, [str(word) for word in words])


def test_inspect_verify_and_doctor(pristine):
    digest = read_bundle(pristine).manifest.digest
    shown = seas_engine("inspect", pristine).output
    for word in ("tile", digest, "a tile with a hole", "8 x 8", "unet: fp32", "licence: none"):
        assert word in shown
    assert "normals     6, no photographs\n" in shown
    assert "defect      hole: 'a tile with a hole'\n" in shown
    assert seas_engine("verify", pristine).output == f"ok {digest}\n"
    assert seas_engine("verify", pristine, "--expect", digest).exit_code == 0
    wrong = seas_engine("verify", pristine, "--expect", "1" * 64)
    assert wrong.exit_code == 3
    assert digest in wrong.output
    told = seas_engine("doctor")
    assert told.exit_code == 0
    assert "onnxruntime" in told.output
    assert "cpu" in told.output


def test_inspect_says_what_is_known_of_each_types_masks_and_how_many_photographs_there_are(plan_folder):
    known = defects(crack={"threshold": 0.41, "agreement": 0.7, "min_area": 0.002}, stain={"threshold": 0.3})
    seal(plan_folder, defects=known, photographs=write_photographs(plan_folder))
    shown = seas_engine("inspect", plan_folder).output
    assert "defect      crack: 'a tile with a crack'; masks: threshold 0.41, agreement 0.7, min_area 0.002\n" in shown
    assert "defect      hole: 'a tile with a hole'\n" in shown
    assert "defect      stain: 'a tile with a stain'; masks: threshold 0.3\n" in shown
    assert "normals     6, 6 photographs\n" in shown


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_engine_commands_refuse_a_bad_bundle(command, tmp_path):
    result = seas_engine(command, tmp_path / "none.plan")
    assert result.exit_code == 3
    assert "no such bundle folder" in result.output


@pytest.mark.parametrize("command", ["inspect", "verify", "doctor"])
def test_an_interrupt_has_its_exit_code(command, pristine, monkeypatch):
    def interrupted(*_words):
        raise KeyboardInterrupt

    monkeypatch.setattr("seas_runtime.bundle.reader.read_bundle", interrupted)
    result = seas_engine(command, pristine)
    assert (result.exit_code, result.stderr) == (130, "Interrupted: nothing unfinished was left behind.\n")


def test_version():
    for command in (generate, engine):
        result = CliRunner().invoke(command, ["--version"])
        assert result.exit_code == 0
        assert result.output.startswith("seas ")
