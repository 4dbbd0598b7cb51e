"""Tables of generated pairs: what was refused or never made is in them, and every product and type is kept."""

import json
import shutil

import pytest

from benchmarks.quality import real
from benchmarks.quality.metrics import backbones, judgement
from benchmarks.quality.metrics.generation import GenerationSettings
from benchmarks.quality.pairs import read_pairs
from seas_runtime.errors import DataError
from seas_train.config import TuneSettings

SETTINGS = GenerationSettings(side=32, splits=2)


@pytest.fixture
def nut(data):
    return {"nut": real.divide(real.read_products(data / "nut")["nut"], TuneSettings())}


@pytest.fixture
def made(generated, tmp_path):
    """Pairs of nut as `seas-gen` leaves them."""
    shutil.copytree(generated / "nut", tmp_path / "out" / "nut")
    return tmp_path / "out"


def refuse(made, *refused):
    given_up = {"seed": 0, "attempt": 3}
    lines = [{"index": 100 + i, "defect": d, **given_up, "verdict": verdict} for i, (d, verdict) in enumerate(refused)]
    (made / "refused.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def judge(nut, made, folder=None, settings=SETTINGS):
    return judgement.judge(nut, read_pairs(made), backbones.own_proxy(), settings, lambda _line: None, folder)


def test_refused_pairs_are_in_the_shares_of_their_type(nut, made):
    refuse(made, ("scratch", "empty"), ("scratch", "empty"), ("scratch", "too large"))
    rows = judgement.tables(judge(nut, made))[1].records()
    own = {row["type"]: (row["number"], row["empty"], row["full"]) for row in rows if row["pairs"] == "generated"}
    other = next(name for name in own if name != "scratch")
    assert own == {"scratch": (9, "22.2%", "11.1%"), other: (6, "0.0%", "0.0%")}


def test_a_type_without_pairs_is_told_below_both_tables(nut, made):
    refuse(made, ("scratch", "empty"), ("scratch", "empty"))
    for part in ("test", "ground_truth"):
        shutil.rmtree(made / "nut" / part / "scratch")
    for table in judgement.tables(judge(nut, made)):
        assert "nut: has no pairs of scratch (2 refused by seas-gen); means are of the other types." in table.notes


def test_pairs_of_another_product_are_refused(nut, generated):
    with pytest.raises(DataError, match=r"nut: found generated images of 'broken_large'"):
        judge(nut, generated / "bottle")


def test_what_is_measured_is_kept(nut, made, tmp_path, monkeypatch):
    folder, measured = tmp_path / "kept", []
    evaluate = judgement.evaluate

    def counted(*given):
        measured.append(given)
        return evaluate(*given)

    monkeypatch.setattr(judgement, "evaluate", counted)
    first = judge(nut, made, folder)
    assert len(measured) == len(first) == 2
    next(folder.glob("nut-scratch-*.json")).unlink()
    assert judge(nut, made, folder) == first
    assert len(measured) == 3
    refuse(made, ("scratch", "empty"))
    assert judge(nut, made, folder)[1].copies.shares.count == 7
    assert len(measured) == 4
    judge(nut, made, folder, SETTINGS.model_copy(update={"splits": 1}))
    assert len(measured) == 6


def test_a_measurement_that_cannot_be_read_is_told(nut, made, tmp_path):
    judge(nut, made, tmp_path / "kept")
    path = next((tmp_path / "kept").iterdir())
    path.write_text("{")
    with pytest.raises(DataError, match="expected a finished measurement; remove it"):
        judge(nut, made, tmp_path / "kept")
