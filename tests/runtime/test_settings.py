"""Thresholds and limits of each type: from the command line, else of the type, else of the bundle; kept, recorded, compared."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import seas_runtime
from seas_runtime import Options
from seas_runtime.bundle.manifest import Defect
from seas_runtime.settings import Settings, resolve
from tests.runtime.engine_checks import every
from tests.runtime.small_bundle import DEFECTS, IMAGE, defects, seal
from tests.runtime.written import lines, settings, tree

PROBABILITY = st.floats(0.01, 0.99)
SHARE = st.floats(0, 1)
KNOWN = st.fixed_dictionaries(
    {}, optional={"threshold": PROBABILITY, "agreement": SHARE, "min_area": SHARE}
)  # of a type, where the training anomalies taught it
ASKED = st.fixed_dictionaries(
    {}, optional={"threshold": PROBABILITY, "min_agreement": SHARE, "min_area": st.integers(1, 99)}
)  # on the command line
TYPES = {"crack": {"threshold": 0.45, "min_area": 0.6, "agreement": 0.2}, "stain": {"threshold": 0.55}}


def with_types(manifest, known):
    """The manifest, with what it knows of each of its types."""
    found = [Defect(name=name, prompt=name, **more) for name, more in zip(DEFECTS, known, strict=True)]
    return manifest.model_copy(update={"defects": tuple(found)})


def first(*values):
    return next(value for value in values if value is not None)


@given(st.tuples(KNOWN, KNOWN, KNOWN), ASKED, st.sets(st.sampled_from(DEFECTS)))
def test_the_command_line_goes_before_the_type_and_the_type_before_the_bundle(bundle, known, asked, chosen):
    manifest = with_types(bundle.manifest, known)
    found = resolve(manifest, "cpu", Options(count=3, defects=tuple(sorted(chosen)), **asked))
    rules = found.sampling(manifest).rules
    assert set(rules) == (chosen or set(DEFECTS))
    for name, of_type in zip(DEFECTS, known, strict=True):
        if name not in rules:
            continue
        rule, pixels = rules[name], round(of_type.get("min_area", 0) * IMAGE * IMAGE)
        assert rule.threshold == first(asked.get("threshold"), of_type.get("threshold"), 0.5)
        assert rule.gate.min_area == first(asked.get("min_area"), max(pixels, 1))
        assert rule.gate.agreement == first(asked.get("min_agreement"), of_type.get("agreement"), 0.0)
        assert (rule.gate.max_area, rule.smallest) == (0.8, 0)
    for name in ("threshold", "min_area", "min_agreement"):
        held = getattr(found, name)  # one value for all where they are the same
        assert not isinstance(held, dict) or len(set(held.values())) > 1
    assert Settings.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("threshold", 0),
        ("threshold", 1),
        ("threshold", float("nan")),
        ("threshold", {}),
        ("agreement", -0.1),
        ("agreement", 1.1),
        ("min_area", 2),
        ("min_area", "small"),
        ("max_area", 0.5),
    ],
)
def test_what_a_manifest_cannot_know_of_a_type(field, value):
    with pytest.raises(ValueError, match=field):
        Defect(name="crack", prompt="x", **{field: value})


@pytest.fixture
def typed(plan_folder):
    seal(plan_folder, defects=defects(**TYPES))
    return plan_folder


def test_a_run_judges_each_type_by_its_own_limits(gen, typed, tmp_path):
    words = ("--count", 24, "--retries", 0, "--seed", 1)
    gen(*words, plan=typed, code=6)
    held = settings(tmp_path / "out")
    assert held["threshold"] == {"crack": 0.45, "hole": 0.5, "stain": 0.55}
    assert held["min_area"] == {"crack": 38, "hole": 1, "stain": 1}  # 0.6 * 64 = 38.4
    assert held["min_agreement"] == {"crack": 0.2, "hole": 0.0, "stain": 0.0}
    areas = of_types(tmp_path / "out")
    for name, threshold, least in (("crack", 0.45, 38), ("hole", 0.5, 1), ("stain", 0.55, 1)):
        gen(*words, "--threshold", threshold, out=name, code=6)
        expected = of_types(tmp_path / name)[name]
        assert areas[name] == {index: area for index, area in expected.items() if area >= least}
        assert areas[name]
        assert (len(areas[name]) < len(expected)) == (name == "crack")


def of_types(out):
    """Type -> index -> area."""
    found = {name: {} for name in DEFECTS}
    for line in lines(out):
        found[line["defect"]][line["index"]] = line["area"]
    return found


def test_one_type_alone_has_one_value_and_so_has_what_is_asked_for(gen, typed, tmp_path):
    gen("--count", 2, "--defect", "stain", plan=typed, out="one")
    assert settings(tmp_path / "one")["threshold"] == 0.55
    gen("--count", 2, "--threshold", 0.5, "--min-area", 2, "--min-agreement", 0, plan=typed)
    held = settings(tmp_path / "out")
    assert (held["threshold"], held["min_area"], held["min_agreement"]) == (0.5, 2, 0.0)


def test_a_run_with_several_values_is_continued_and_others_are_refused(gen, typed, tmp_path):
    words = ("--batch", 2, "--min-area", 1, "--min-agreement", 0, "--max-area", 1)
    gen("--count", 4, *words, plan=typed)
    gen("--count", 10, *words, plan=typed)
    gen("--count", 10, *words, plan=typed, out="whole")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    said = gen("--count", 11, *words, "--threshold", 0.4, plan=typed, code=5)
    assert "threshold crack 0.45, hole 0.5, stain 0.55, not 0.4" in said


@pytest.fixture(scope="module")
def generator(bundle):
    return seas_runtime.open(bundle, "cpu", threads=1)


def test_unsure_masks_are_refused_with_their_number(gen, generator, tmp_path):
    words = {"count": 12, "seed": 1, "steps": 8, "mask_steps": 3}
    flags = [word for name, value in words.items() for word in ("--" + name.replace("_", "-"), value)]
    told = {pair.index: pair.agreement for pair in every(generator, **words) if pair.area}
    limit = sorted(told.values())[len(told) // 2]
    unsure = [index for index, agreement in told.items() if agreement < limit]
    assert 0 < len(unsure) < len(told)
    said = gen(*flags, "--retries", 0, "--max-area", 1, "--min-agreement", limit, code=6)
    refused = [json.loads(line) for line in (tmp_path / "out/refused.jsonl").read_text().splitlines()]
    assert [line["index"] for line in refused if line["verdict"] == "unsure"] == unsure
    assert f"unsure: {len(unsure)}" in said
    assert "take another --threshold, --min-area, --min-agreement or --seed" in said
    assert all(line["agreement"] == round(told[line["index"]], 4) for line in lines(tmp_path / "out"))
    again = every(generator, min_agreement=limit, retries=3, **words)
    assert any(pair.attempt and pair.verdict == "ok" for pair in again)
    assert all(pair.agreement >= limit for pair in again if pair.verdict == "ok")


def cleaned(mask, smallest):
    """A mask of bools without small pieces and holes, by SciPy's labels."""
    pieces, number = ndimage.label(mask, np.ones((3, 3)))
    sizes = [np.sum(pieces == piece) for piece in range(1, number + 1)]
    kept = np.isin(pieces, [piece for piece, size in enumerate(sizes, 1) if size >= min(smallest, max(sizes))])
    holes, number = ndimage.label(~kept)
    border = set(np.concatenate((holes[0], holes[-1], holes[:, 0], holes[:, -1])))
    small = [hole for hole in range(1, number + 1) if hole not in border and np.sum(holes == hole) < smallest]
    return kept | np.isin(holes, small)


def test_masks_are_cleaned_before_they_are_judged(generator):
    """The small bundle's masks are made of squares of 2 x 2 pixels, so lone ones go."""
    words = {"count": 30, "seed": 4, "batch": 5}
    found, clean = every(generator, **words), every(generator, clean=5, min_area=30, **words)
    for raw, pair in zip(found, clean, strict=True):
        expected = cleaned(raw.mask > 0, 5)
        np.testing.assert_array_equal(pair.mask > 0, expected)
        np.testing.assert_array_equal(pair.image, raw.image)
        verdict = "ok" if expected.sum() >= 30 else "too small" if expected.any() else "empty"
        assert pair.verdict == verdict
        assert pair.agreement == raw.agreement
    assert {(pair.area >= 30, raw.area >= 30) for raw, pair in zip(found, clean, strict=True)} >= {(True, True), (False, False)}
    assert any(raw.area != pair.area for raw, pair in zip(found, clean, strict=True))
