"""Nothing that a stranger wrote reaches a terminal as more than text."""

import unicodedata

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from seas_runtime.bundle.reader import write_manifest
from seas_runtime.engine_cli import engine
from seas_runtime.errors import BundleError, DataError, OutputError
from seas_runtime.terminal import LONGEST, shown
from tests.runtime.small_bundle import manifest_fields
from tests.runtime.spoiled import spoil_manifest

# General categories of Unicode that terminals act upon, or that break a line: control, format, surrogate, line, paragraph.
ACTED_UPON = {"Cc", "Cf", "Cs", "Zl", "Zp"}
BAD = "\x1b[2J\x07\r\x9b31m\ud800\u202e\n\u2028end"


@given(st.text(st.characters(exclude_categories=())))
def test_what_is_shown_is_one_line_of_letters(text):
    line = shown(text)
    assert not {unicodedata.category(letter) for letter in line} & ACTED_UPON
    line.encode()


def test_plain_text_stays_and_the_rest_is_told_apart():
    assert shown("a tile with a crack: 3 × 4, ß, 图") == "a tile with a crack: 3 × 4, ß, 图"
    assert shown("a\nb\x1b\ud800") == "a\\nb\\x1b\\ud800"


def test_a_long_line_is_cut_and_says_so():
    assert shown("x" * LONGEST) == "x" * LONGEST
    assert shown("x" * 10_000_000 + "y" * 5_000_000) == "x" * 1500 + "... (15000000 characters) ..." + "y" * 500


@pytest.mark.parametrize("kind", [BundleError, DataError, OutputError])
def test_an_error_is_one_line_whatever_names_it_holds(kind):
    message = kind(f"{BAD}.png: missing").message
    assert message == "\\x1b[2J\\x07\\r\\x9b31m\\ud800\\u202e\\n\\u2028end.png: missing"


def test_inspecting_shows_a_strangers_words_as_text(plan_folder):
    fields = manifest_fields()
    text = BAD.replace("\ud800", "")  # which no manifest may hold
    fields["provenance"] = {"licence": text, f"key{text}": "x" * 100_000}
    fields["defects"][0]["prompt"] = text
    (plan_folder / "manifest.json").unlink()
    write_manifest(plan_folder, fields)
    result = CliRunner().invoke(engine, ["inspect", str(plan_folder)])
    assert result.exit_code == 0, result.exception
    assert {unicodedata.category(letter) for letter in result.output.replace("\n", "")} & ACTED_UPON == set()
    assert max(map(len, result.output.splitlines())) < LONGEST + 100


def test_half_a_surrogate_pair_in_a_manifest_is_refused_where_it_is_sealed_and_where_it_is_read(plan_folder):
    fields = manifest_fields() | {"provenance": {"licence": "\ud800"}}
    with pytest.raises(BundleError, match="surrogate"):
        write_manifest(plan_folder, fields)
    spoil_manifest(plan_folder, lambda content: content.update(fields))
    result = CliRunner().invoke(engine, ["inspect", str(plan_folder)])
    assert (result.exit_code, result.output.count("\n")) == (3, 1)


def test_a_file_name_with_a_line_end_in_an_error(plan_folder):
    (plan_folder / "two\nlines\x1b[2J").write_text("x")
    result = CliRunner().invoke(engine, ["verify", str(plan_folder)])
    assert result.exit_code == 3
    assert result.output.count("\n") == 1
    assert "\x1b" not in result.output
    assert "two\\nlines" in result.output
