"""The curve's base of a mark, and its table; trainings themselves are those of the commands."""

import json

import pytest
from click.testing import CliRunner

from benchmarks import demo_curve
from benchmarks.demo_curve import Curve


def write(path, text="{}"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def work(tmp_path):
    for name in ("tokenizer/t.json", "text_encoder/c.json", "vae/v.json", "marks/10/unet/u.json", "marks/20/unet/u.json"):
        write(tmp_path / "long" / name, name)
    return tmp_path


@pytest.fixture
def ran(monkeypatch):
    """Commands that were run; that of a base leaves what such a training leaves."""
    commands = []

    def run(_self, stage):
        commands.append(stage.command)
        base = stage.result.parent
        write(base / "vae" / "v.json", "sharpened")
        write(base / "scheduler" / "s.json")
        write(base / "base.json")

    monkeypatch.setattr(Curve, "run", run)
    return commands


def test_the_decoder_is_sharpened_once(work, ran):
    curve = Curve(work, print)
    first, second = curve.base_of(10), curve.base_of(20)
    assert curve.base_of(10) == first
    assert len(ran) == 1
    assert ran[0][:2] == ("seas-train", "base")
    assert ran[0][ran[0].index("--steps") + 1] == "10"
    for base, step in ((first, 10), (second, 20)):
        assert (base / "unet" / "u.json").read_text() == f"marks/{step}/unet/u.json"
        assert (base / "vae" / "v.json").read_text() == "sharpened"
        assert (base / "text_encoder" / "c.json").read_text() == "text_encoder/c.json"
    assert (work / "long" / "vae" / "v.json").read_text() == "vae/v.json"


def test_what_is_judged_is_not_judged_again(work, ran):
    write(work / "10" / "judged.json", json.dumps({"guidance 2": {"asked type": 0.5}}))
    assert Curve(work, print).judge(10) == {"guidance 2": {"asked type": 0.5}}
    assert len(ran) == 1  # the base alone


def test_the_table_has_a_row_for_each_mark_and_kind():
    figures = {kind: {"asked type": 0.5} for kind in ("a", "b")}
    found = demo_curve.table({20: figures, 10: figures})
    assert [row[:2] for row in found.rows] == [(10, "a"), (10, "b"), (20, "a"), (20, "b")]
    assert found.columns == ("steps", "pairs", "asked type")


def test_a_mark_that_was_not_kept(work):
    result = CliRunner().invoke(demo_curve.main, ["judge", "--work", str(work), "--mark", "30"])
    assert result.exit_code == 2
    assert "--mark 30: nothing was kept then" in result.output
