"""The pairs of a run: followed while it writes, and nothing of what a stranger wrote leads elsewhere."""

import json

import pytest

from seas_runtime.dataset.review.pairs import Pairs
from seas_runtime.errors import DataError
from seas_runtime.sampling.recipe import Plan

from .fabricated import append, line, write_run


def indices(pairs):
    return [pair.index for pair in pairs.slice(0, len(pairs))]


def test_a_finished_run(out):
    pairs = Pairs(out)
    assert indices(pairs) == list(range(12))
    assert (pairs.product, pairs.types, pairs.planned) == ("tile", ["crack", "hole", "stain"], 12)
    assert pairs.of(4).image == "tile/test/hole/000004.png"
    assert pairs.of(4).mask == "tile/ground_truth/hole/000004_mask.png"
    with pytest.raises(DataError, match="pair 12"):
        pairs.of(12)


def test_only_whole_lines_of_a_run_that_still_writes(out):
    pairs = Pairs(out)
    text = (json.dumps(line(12)) + "\n" + json.dumps(line(13)) + "\n").encode()
    with (out / "metadata.jsonl").open("ab") as stream:
        for part, known in ((text[:30], 12), (text[30:-20], 13), (text[-20:-1], 13), (text[-1:], 14)):
            stream.write(part)
            stream.flush()
            pairs.refresh()
            assert len(pairs) == known
    assert pairs.generation == 0


def test_a_run_that_has_no_pair_yet(out):
    lines = (out / "metadata.jsonl").read_bytes()
    (out / "metadata.jsonl").unlink()
    pairs = Pairs(out)
    assert (len(pairs), pairs.types, pairs.planned) == (0, ["crack", "hole", "stain"], 12)
    (out / "metadata.jsonl").write_bytes(lines)
    pairs.refresh()
    assert len(pairs) == 12
    assert pairs.generation == 0


def test_a_resumed_run_that_made_a_batch_again(out):
    """`seas-gen` replaces the file without the torn batch, then goes on."""
    pairs = Pairs(out)
    lines = (out / "metadata.jsonl").read_bytes().splitlines(keepends=True)
    replaced = out / "new"
    replaced.write_bytes(b"".join(lines[:8]))
    replaced.replace(out / "metadata.jsonl")
    pairs.refresh()
    assert indices(pairs) == list(range(8))
    assert pairs.generation == 1
    append(out, *(line(index) for index in range(8, 14)))
    pairs.refresh()
    assert indices(pairs) == list(range(14))
    assert pairs.generation == 1


def test_a_file_replaced_by_the_same_lines_and_more_is_no_other_run(out):
    pairs = Pairs(out)
    replaced = out / "new"
    replaced.write_bytes((out / "metadata.jsonl").read_bytes() + json.dumps(line(12)).encode() + b"\n")
    replaced.replace(out / "metadata.jsonl")
    pairs.refresh()
    assert (len(pairs), pairs.generation) == (13, 0)


def test_the_last_line_of_an_index_counts(out):
    pairs = Pairs(out)
    append(out, line(3, area=77))
    pairs.refresh()
    assert (len(pairs), pairs.of(3).area, pairs.generation) == (12, 77, 1)
    append(out, line(3, area=77))
    pairs.refresh()
    assert pairs.generation == 1


@pytest.mark.parametrize(
    "hostile",
    [
        line(20, file_name="../secret.png"),
        line(20, file_name="/etc/passwd"),
        line(20, mask_file_name="tile/../../secret.png"),
        line(20, file_name="tile\\..\\..\\secret.png"),
        line(20, file_name="C:/secret.png"),
        line(20, file_name="tile//a.png"),
        line(20, file_name="./a.png"),
        line(20, file_name=""),
        line(20, file_name="a\0b"),
        line(20, file_name="x" * 2000),
        line(20, file_name=None),
        line(20, file_name=["a"]),
        line(20, index=-1),
        line(20, index=True),
        line(20, index=10**10),
        line(20, index="20"),
        line(20, defect=""),
        line(20, defect=7),
        line(20, defect="a\nb"),
        line(20, defect="x" * 300),
        [],
        "text",
        None,
    ],
)
def test_a_hostile_line_is_no_pair(out, hostile):
    append(out, hostile, line(12))
    assert indices(Pairs(out)) == list(range(13))


@pytest.mark.parametrize(("written", "found"), [(0.25, 0.25), (1, 1.0), (True, None), ("0.5", None), (10**400, None), (None, None)])
def test_agreement_is_a_number_or_unknown(out, written, found):
    append(out, line(12, agreement=written))
    assert Pairs(out).of(12).agreement == found


@pytest.mark.parametrize("count", [1, 7, 8, 30, 31])
@pytest.mark.parametrize("shard", [(0, 1), (0, 3), (1, 3), (2, 3)])
def test_planned_pairs_are_those_of_the_shard(tmp_path, count, shard):
    out = write_run(tmp_path / "run", 0)
    settings = {"product": "tile", "defects": ["crack"], "count": count, "batch": 4, "shard": shard}
    (out / "run.json").write_text(json.dumps({"settings": settings}))
    assert Pairs(out).planned == Plan(("crack",), 0, count, 4, shard).size()


@pytest.mark.parametrize(
    "record",
    ["", "[]", "{}", '{"settings": 3}', '{"settings": {"defects": [], "count": "x"}}', "[" * 100_000],
)
def test_a_folder_without_a_record_that_can_be_read(out, record):
    (out / "run.json").write_text(record)
    pairs = Pairs(out)
    assert (len(pairs), pairs.planned, pairs.product) == (12, None, "tile")
    (out / "run.json").unlink()
    assert Pairs(out).types == ["crack", "hole", "stain"]


def test_what_is_no_run_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for path, said in (
        (tmp_path, "holds no metadata.jsonl"),
        (tmp_path / "file", "is a file"),
        (tmp_path / "no", "no such"),
    ):
        with pytest.raises(DataError, match=said) as error:
            Pairs(path)
        assert error.value.exit_code == 3


def test_a_file_without_lines_is_no_list_of_pairs(out, monkeypatch):
    monkeypatch.setattr("seas_runtime.dataset.review.pairs._BLOCK", 100)
    (out / "metadata.jsonl").write_bytes(b"x" * 1000)
    with pytest.raises(DataError, match="no list of pairs"):
        Pairs(out)


def test_blocks_smaller_than_the_file_lose_no_line(out, monkeypatch):
    monkeypatch.setattr("seas_runtime.dataset.review.pairs._BLOCK", 400)
    assert len(Pairs(out)) == 12


def test_too_many_pairs_or_types_are_refused(out, monkeypatch):
    monkeypatch.setattr("seas_runtime.dataset.review.pairs.MOST_PAIRS", 11)
    with pytest.raises(DataError, match="at most 11 pairs"):
        Pairs(out)
