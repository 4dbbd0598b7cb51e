"""Titles of types and products: in any script, on any file system, renamed, united and left out."""

import json

import pytest

from tests.runtime.dataset.truth import TRUTH, iou, shapes

ONE = TRUTH[0]


@pytest.mark.parametrize(
    ("title", "folder"),
    [
        ("Kratzer tief", "Kratzer tief"),
        ("Größe", "Grosse"),
        ("rayure/griffe", "rayure_griffe"),
        ("../../evil", "evil"),
        ("good", "good_type"),
        ("CON", "CON_type"),
        (".hidden", "hidden"),
        ("a\u0000b\u001b[2J", "a_b_2J"),
    ],
)
def test_titles_become_safe_folders(title, folder, source, run, product):
    for one in TRUTH:
        shapes(source / f"{one.name}.json", (title, "polygon", one.outline.tolist()))
    run()
    assert product.names("test") == [folder]
    assert product.titles["types"][folder].replace("\\x00", "\x00").replace("\\x1b", "\x1b") == title


def test_titles_of_any_script_are_kept(source, run, product, tmp_path):
    for one, title in zip(TRUTH, ("划痕", "вмятина", "划痕"), strict=True):
        shapes(source / f"{one.name}.json", (title, "polygon", one.outline.tolist()))
    said = run("--name", "Ventil 阀")
    assert "划痕" in said
    titles = product.titles
    assert titles["product"] == "Ventil 阀"
    assert sorted(titles["types"].values()) == ["вмятина", "划痕"]
    for folder in titles["types"]:
        assert folder.isascii()
        assert folder.startswith("type_")
    run(into=tmp_path / "again/part")
    assert json.loads((tmp_path / "again/part/titles.json").read_text())["types"] == titles["types"]


def test_titles_that_differ_in_case_alone_get_two_folders(source, run, product):
    shapes(source / "a1.json", ("Scratch", "polygon", ONE.outline.tolist()))
    run()
    assert sorted(name.casefold() for name in product.names("test")) == ["dent", "scratch", "scratch_2"]


def test_types_may_be_renamed_united_and_left_out(source, run, product):
    said = run("--type", "Scratch=mark", "--type", "dent=", "--type", "nothing=x")
    assert product.names("test") == ["mark"]
    assert "a2.jpg: all its marks are left out by --type" in said
    assert "--type nothing=...: no mark is called so" in said


def test_several_types_on_a_picture_are_combined(source, run, product):
    other = TRUTH[1].outline
    shapes(source / "a1.json", ("scratch", "polygon", ONE.outline.tolist()), ("dent", "polygon", other.tolist()))
    assert "1 picture with several types of anomalies, called combined" in run()
    assert iou(product.mask("combined/a1"), ONE.mask | TRUTH[1].mask) >= 0.995
    areas = next(record["areas"] for record in product.record["pictures"] if record.get("type") == "combined")
    assert areas["scratch"] == pytest.approx(ONE.mask.sum(), rel=0.005)
    assert areas["dent"] == pytest.approx(TRUTH[1].mask.sum(), rel=0.005)
