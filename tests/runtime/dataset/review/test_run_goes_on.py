"""`seas-gen` goes on in a folder that is being reviewed, and leaves what was decided there."""

import numpy as np

from seas_runtime.dataset.decisions import read_decisions
from seas_runtime.dataset.review.log import DecisionLog
from seas_runtime.dataset.review.pictures import mask_png
from seas_runtime.dataset.review.serve import held

from ...written import lines, tree

BATCH = ("--batch", 3)


def review(out):
    log = DecisionLog(out)
    log.decide([(0, "accept"), (5, "reject")])
    log.mend(4, mask_png(np.eye(8, dtype=bool)))
    return {name: data for name, data in tree(out).items() if name.startswith("review")}


def test_a_longer_run_keeps_decisions_and_masks(gen, tmp_path):
    out = tmp_path / "out"
    gen("--count", 6, *BATCH)
    decided = review(out)
    assert set(decided) == {"review.jsonl", "review/000004_mask.png"}
    with held(out):  # the page is open
        gen("--count", 11, *BATCH)
    gen("--count", 11, *BATCH, out="whole")
    assert tree(out) == tree(tmp_path / "whole") | decided


def test_a_batch_that_is_made_again_keeps_its_decisions(gen, tmp_path):
    out = tmp_path / "out"
    gen("--count", 6, *BATCH)
    decided = review(out)
    data = (out / "metadata.jsonl").read_bytes()
    (out / "metadata.jsonl").write_bytes(data[:-30])  # a crash tore pair 5's line
    gen("--count", 6, *BATCH)
    assert len(lines(out)) == 6
    assert {name: data for name, data in tree(out).items() if name.startswith("review")} == decided
    assert read_decisions(out)[5].decision == "reject"


def test_decisions_are_not_passed_on_to_other_pairs(gen, tmp_path):
    """A run whose pairs are all gone binds nothing, unless somebody has decided on them."""
    out = tmp_path / "out"
    gen("--count", 6, *BATCH)
    decided = review(out)
    (out / "metadata.jsonl").unlink()
    assert "seed 0, not 1" in gen("--count", 6, *BATCH, "--seed", 1, code=5)
    gen("--count", 6, *BATCH)
    assert {name: data for name, data in tree(out).items() if name.startswith("review")} == decided
