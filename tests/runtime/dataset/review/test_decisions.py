"""review.jsonl and mended masks: written at once, read whatever a crash or a stranger left."""

import json
import os
import threading

import numpy as np
import pytest
from PIL import Image

from seas_runtime.dataset.decisions import mask_name, read_decisions
from seas_runtime.dataset.review.log import DecisionLog, Decisions
from seas_runtime.dataset.review.pictures import mask_png
from seas_runtime.errors import DataError, OutputError
from tests.limits import files_of_at_most

from .fabricated import decided

ACCEPTED = {"index": 4, "decision": "accept", "mask": None, "time": 5.0}


def write_lines(out, *lines):
    (out / "review.jsonl").write_bytes(b"".join(lines))


def text(**changes):
    return json.dumps(ACCEPTED | changes).encode() + b"\n"


def test_a_decision_is_in_the_file_at_once(log, out, monkeypatch):
    flushed = []
    flush = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (flushed.append(os.fstat(descriptor).st_size), flush(descriptor)))
    log.decide([(4, "accept")])
    found = decided(out)
    assert [(one["index"], one["decision"], one["mask"]) for one in found] == [(4, "accept", None)]
    assert set(found[0]) == {"index", "decision", "mask", "time"}
    assert (out / "review.jsonl").stat().st_size in flushed


def test_the_last_line_of_a_pair_counts(log, out):
    for verdict in ("accept", "reject", "undecided", "reject"):
        log.decide([(2, verdict), (3, "accept")])
    assert len(decided(out)) == 8
    assert {index: one.decision for index, one in read_decisions(out).items()} == {2: "reject", 3: "accept"}
    assert DecisionLog(out).of(2).decision == "reject"


def test_a_folder_nobody_reviewed_has_no_decisions(out):
    assert read_decisions(out) == {}
    assert Decisions(out).of(0).decision == "undecided"
    assert not (out / "review.jsonl").exists()


@pytest.mark.parametrize(
    "damaged",
    [
        b"\xff\xfe{\n",
        b"[]\n",
        b"{}\n",
        text(index=-1),
        text(index=True),
        text(index="4"),
        text(index=1.5),
        text(index=10**12),
        text(decision="delete"),
        text(decision=None),
        text(mask="../../etc/passwd"),
        text(mask="/etc/passwd"),
        text(mask="review/000005_mask.png"),
        text(time=float("nan")),
        text(time="now"),
        text(time=1e400),
        b"[" * 3000 + b"\n",
        b'{"index": ' + b"9" * 3000 + b"}\n",
        b" " * 4096 + text(index=7),  # the rest of a line too long to be ours
    ],
)
def test_a_damaged_line_is_no_decision(out, damaged):
    write_lines(out, text(), damaged, text(index=5))
    assert sorted(read_decisions(out)) == [4, 5]


def test_a_torn_last_line_neither_counts_nor_swallows_the_next(out):
    write_lines(out, text(), text(index=5)[:-9])
    assert sorted(read_decisions(out)) == [4]
    DecisionLog(out).decide([(6, "reject")])
    assert sorted(read_decisions(out)) == [4, 6]


def test_two_tabs_at_once_lose_nothing(log, out):
    def decide(tab):
        for number in range(40):
            log.decide([(1000 * tab + number, "accept" if number % 2 else "reject")])

    tabs = [threading.Thread(target=decide, args=(tab,)) for tab in range(6)]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join()
    expected = {1000 * tab + number: "accept" if number % 2 else "reject" for tab in range(6) for number in range(40)}
    assert {index: one.decision for index, one in read_decisions(out).items()} == expected


def test_a_mended_mask_and_a_decision_keep_each_other(log, out):
    mask = np.arange(35).reshape(5, 7) % 3 == 0
    log.decide([(4, "reject")])
    log.mend(4, mask_png(mask))
    log.decide([(4, "accept")])
    found = read_decisions(out)[4]
    assert (found.decision, found.mask) == ("accept", "review/000004_mask.png")
    saved = Image.open(out / found.mask)
    assert saved.mode == "L"
    assert np.array_equal(np.asarray(saved), mask * np.uint8(255))
    log.restore(4)
    assert read_decisions(out)[4].mask is None
    assert read_decisions(out)[4].decision == "accept"
    assert not (out / "review" / "000004_mask.png").exists()


def test_revisions_tell_what_changed(log):
    log.decide([(1, "accept")])
    seen = log.revision
    assert log.changed_since(seen) == []
    log.decide([(5, "accept"), (2, "reject")])
    assert log.changed_since(seen) == [2, 5]
    assert log.mask_revision(5) == 0
    log.mend(5, b"png")
    assert log.mask_revision(5) == log.revision
    assert log.changed_since(0) == [1, 2, 5]


def test_a_page_that_only_looks_follows_another(log, out):
    looking = Decisions(out)
    log.decide([(1, "accept")])
    log.mend(2, b"png")
    seen = looking.revision
    looking.refresh()
    assert (looking.of(1).decision, looking.of(2).mask) == ("accept", mask_name(2))
    assert looking.changed_since(seen) == [1, 2]
    assert looking.mask_revision(2) > 0
    seen = looking.revision
    looking.refresh()
    assert looking.revision == seen


def test_a_full_disk_leaves_the_decisions_that_were_there(log, out):
    log.decide([(1, "accept")])
    before = (out / "review.jsonl").read_bytes()
    with (
        files_of_at_most(len(before) + 20),
        pytest.raises(OutputError, match="earlier decisions are kept") as error,
    ):
        log.decide([(2, "reject")])
    assert error.value.exit_code == 5
    assert (out / "review.jsonl").read_bytes() == before
    assert log.of(2).decision == "undecided"
    log.decide([(2, "reject")])
    assert sorted(read_decisions(out)) == [1, 2]


def test_a_full_disk_leaves_the_mask_that_was_there(log, out):
    log.mend(1, b"first")
    with files_of_at_most(10), pytest.raises(OutputError):
        log.mend(1, b"x" * 100)
    assert (out / mask_name(1)).read_bytes() == b"first"
    assert [path.name for path in (out / "review").iterdir()] == ["000001_mask.png"]


@pytest.mark.parametrize("name", ["review", "review.jsonl"])
def test_no_link_leads_decisions_elsewhere(out, tmp_path, name):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    target = elsewhere if name == "review" else elsewhere / "file"
    log = DecisionLog(out)
    (out / name).symlink_to(target)
    with pytest.raises(DataError, match="is a link"):
        log.mend(1, b"png")
    assert list(elsewhere.iterdir()) == []


def test_a_link_in_place_of_a_temporary_is_not_followed(log, out, tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (out / "review").mkdir()
    (out / "review" / "000001_mask.png.seas-tmp").symlink_to(victim)
    (out / "review" / "000001_mask.png").symlink_to(victim)
    log.mend(1, b"png")
    assert victim.read_bytes() == b"precious"
    assert (out / mask_name(1)).read_bytes() == b"png"
    assert not (out / mask_name(1)).is_symlink()


def test_a_review_that_is_no_file_is_refused(out):
    (out / "review.jsonl").mkdir()
    with pytest.raises(DataError, match="move it away"):
        read_decisions(out)
