"""The documents' figures are those of the results."""

import json
import re

import click
import pytest

from benchmarks import figures
from benchmarks.figures import Sentence

RESULT = {"a": {"iou": 0.74640}, "runs": [{"ap": 0.9}, {"ap": 0.8}], "by type": {"x y": 3, "z": 5}}
TEXT = "Masks overlap by 0.746 (goal\n0.9), AP is 85 %, 4.0 each; end."
SENTENCES = [
    Sentence("d.md", "overlap by {:.3f} (goal 0.9)", "r", ("a/iou",)),
    Sentence("d.md", "AP is {:.0f} %, {:.1f} each", "r", ("runs/*/ap 100", "by type/*")),
]


@pytest.fixture
def place(tmp_path):
    (tmp_path / "r.json").write_text(json.dumps(RESULT))
    (tmp_path / "d.md").write_text(TEXT)
    return tmp_path


def test_nothing_is_told_where_all_are_right(place):
    assert figures.compare(place, SENTENCES, place) == []


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("0.746", ["d.md: 'overlap by 0.745 (goal\\n0.9)' found, 0.746 expected (r.json)"]),
        ("85 %", ["d.md: 'AP is 86 %, 4.0 each' found, 85, 4.0 expected (r.json)"]),
    ],
)
def test_a_figure_that_differs_is_told_and_mended(place, wrong, told):
    changed = {"0.746": "0.745", "85 %": "86 %"}[wrong]
    (place / "d.md").write_text(TEXT.replace(wrong, changed))
    assert figures.compare(place, SENTENCES, place) == told
    assert figures.compare(place, SENTENCES, place, write=True) == []
    assert (place / "d.md").read_text() == TEXT


def test_words_that_are_gone_are_told(place):
    (place / "d.md").write_text("other words")
    assert figures.compare(place, SENTENCES, place) == [f"d.md: found no words {sentence.text!r}" for sentence in SENTENCES]


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        (Sentence("d.md", "by {:.3f}", "none", ("a/iou",)), "found no none.json"),
        (Sentence("d.md", "by {:.3f}", "r", ("a/auc",)), "found no 'auc' of 'a/auc'"),
        (Sentence("d.md", "by {:.3f}", "r", ("runs/7/ap",)), "found no '7'"),
        (Sentence("d.md", "by {:.3f}", "r", ()), "0 values for 1 places"),
    ],
)
def test_a_list_that_is_wrong(place, sentence, reason):
    with pytest.raises(click.ClickException, match=reason):
        figures.compare(place, [sentence], place)


def test_the_documents_agree_with_the_results():
    assert figures.compare(figures.ROOT, figures.sentences(), figures.RESULTS) == []


def test_what_the_readme_says_of_results_is_compared():
    """Every paragraph and list item with figures that names a table of them has a sentence of the list in it."""
    text = (figures.ROOT / "README.md").read_text(encoding="utf-8")
    listed = [sentence for sentence in figures.sentences() if sentence.file == "README.md"]
    starts = [sentence.pattern().search(text).start() for sentence in listed]
    parts, place = re.split(r"\n\n|\n(?=- )", text), 0
    for part in parts:
        place = text.index(part, place)
        if re.search(r"results/\w+\.md", part) and re.search(r"\d\.\d", re.sub(r"\bv\d[\d.-]*", "", part)):
            assert any(place <= start < place + len(part) for start in starts), part
