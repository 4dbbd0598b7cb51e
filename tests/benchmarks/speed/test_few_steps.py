"""A student's pair beside its teacher's: figures worked by hand, and the smallest run of all."""

import json

import pytest
from click.testing import CliRunner

from benchmarks import few_steps


def rounds(*seconds, peak=1.0):
    return [{"seconds": each, "peak_gib": peak} for each in seconds]


def test_a_pair_is_composed_and_compared_with_pytorch():
    teacher = rounds({"unet": 1.0, "mask": 2.0, "decode": 3.0}, {"unet": 3.0, "mask": 2.0, "decode": 3.0})
    assert few_steps.composed(few_steps.RECIPES["teacher"], teacher) == 25 * 2 + 3 * 2 + 3
    entries = [
        ("teacher", "torch", teacher),
        ("student", "torch", rounds({"call": 1.0, "finish": 0.9})),
        ("student", "openvino", rounds({"call": 0.5, "finish": 0.45}, peak=7.5)),
    ]
    gflop = {"25 guided steps": {"unet": 10, "mask": 20, "decode": 30}, "student of 4 steps": {"call": 100, "finish": 500}}
    measured = [{"recipe": recipe, "candidate": name, "rounds": found} for recipe, name, found in entries]
    said = few_steps.table({"preset": "x", "batch": 1, "gflop": gflop, "measured": measured, **dict.fromkeys(
        ("machine", "versions", "commit", "command"), "")})  # fmt: skip
    assert "| 25 guided steps | torch | 59 | 1.00 | 1.00 | 1.0 | 0.34 |" in said
    assert "| student of 4 steps | torch | 5.9 | 10.00 | 1.00 | 1.0 | 1 |" in said
    assert "| student of 4 steps | openvino | 2.95 | 20.00 | 2.00 | 7.5 | 1 |" in said


def test_without_pytorch_there_is_nothing_to_compare_with(tmp_path):
    result = CliRunner().invoke(few_steps.main, ["--work", str(tmp_path), "--candidate", "cpu"])
    assert result.exit_code == 2
    assert "expected one of PyTorch's too" in result.output


@pytest.mark.slow
def test_the_smallest_run(tmp_path):
    words = [
        "--work",
        tmp_path,
        "--preset",
        "tiny",
        "--rounds",
        1,
        "--results",
        tmp_path,
        "--candidate",
        "torch",
        "--candidate",
        "cpu",
    ]
    result = CliRunner().invoke(few_steps.main, list(map(str, words)))
    assert result.exit_code == 0, (result.output, result.exception)
    facts = json.loads((tmp_path / "few_steps_tiny.json").read_text())
    assert [(entry["recipe"], entry["candidate"]) for entry in facts["measured"]] == [
        (key, name) for key in ("teacher", "student", "small") for name in ("torch", "cpu")
    ]
    assert facts["gflop"]["student of 4 steps, small decoder"]["finish"] < facts["gflop"]["student of 4 steps"]["finish"]
