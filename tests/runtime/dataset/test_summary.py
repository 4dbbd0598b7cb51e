"""What seas-gen says of masks that repeat and of pairs that were refused, against masks drawn by hand."""

import json

import numpy as np
import pytest

from seas_runtime.dataset.repeats import repeats
from seas_runtime.dataset.summary import agreements, summarise
from seas_runtime.errors import GateError, OutputError
from seas_runtime.settings import Settings
from tests.runtime.dataset.exporters.out_folder import SETTINGS, save, write


def marked(*places):
    """Masks (8, 8) bool of a single pixel each."""
    masks = np.zeros((len(places), 8, 8), bool)
    for mask, place in zip(masks, places, strict=True):
        mask[place] = True
    return list(masks)


def journal(out):
    return [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]


def summary(out, refused=0):
    lines = ({"index": 100 + i, "defect": "crack", "seed": 0, "attempt": 3, "verdict": "empty"} for i in range(refused))
    (out / "refused.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return summarise(out, Settings(**SETTINGS), 0, 1.0)


def test_repeats_are_those_of_a_type_to_the_pixel(tmp_path):
    """Types take turns: crack has the even pairs. All lines of this writer have one box, so areas alone tell masks apart."""
    out = write(tmp_path / "out", marked((1, 1), (2, 2), (1, 1), (3, 3), (4, 4), (2, 2), (1, 1), (1, 1)))
    assert repeats(out, journal(out)) == {"crack": [2, 6], "stain": [5]}
    told = summary(out)
    assert "masks that repeat another's to the pixel: 3 (pairs 2, 5, 6)" in told.line()
    assert told.alike() == []
    told.raise_if_poor()


def test_masks_that_repeat_since_composites_do_say_what_helps(tmp_path):
    out = write(tmp_path / "out", marked((1, 1), (2, 2), (1, 1), (3, 3)))
    settings = Settings(**{**SETTINGS, "init": "composite", "mask": "composite"})
    told = summarise(out, settings, 0, 1.0).line()
    assert (
        "masks that repeat another's to the pixel: 1 (pairs 2), for the engine has few composites (seas-export --composites N)"
        in told
    )
    assert "composites" not in summary(out).line()


def test_other_areas_and_boxes_are_not_opened(tmp_path):
    out = write(tmp_path / "out", marked((1, 1), (2, 2), (3, 3), (4, 4)))
    lines = [line | {"bbox": [i, i, 1, 1]} for i, line in enumerate(journal(out))]
    for file in out.glob("*/ground_truth/*/*"):
        file.write_bytes(b"")
    assert repeats(out, lines) == {}
    with pytest.raises(OutputError, match=r"0000\d\d_mask\.png"):
        repeats(out, journal(out))


def test_a_type_of_one_mask_is_no_data_set(tmp_path):
    out = write(tmp_path / "out", marked(*[(1, 1), (2, 2)] * 3, (1, 1), (5, 5)))
    told = summary(out)
    assert told.alike() == ["crack"]
    with pytest.raises(GateError, match=r"all 4 masks of crack are the same\. .* train masks longer") as error:
        told.raise_if_poor()
    assert (error.value.exit_code, "\n" in error.value.message) == (6, False)


def test_three_equal_masks_may_be_chance(tmp_path):
    summary(write(tmp_path / "out", marked(*[(1, 1), (2, 2)] * 3))).raise_if_poor()


@pytest.mark.parametrize(("refused", "advised"), [(1, False), (2, True)])
def test_more_than_a_tenth_refused_is_told_what_to_do(tmp_path, refused, advised):
    """1 of 10 is a tenth and not more, 2 of 11 are more."""
    places = [(i, j) for i in range(3) for j in range(3)]
    out = write(tmp_path / "out", marked(*places))
    with pytest.raises(GateError, match="refused all 4 masks of pairs 100") as error:
        summary(out, refused).raise_if_poor()
    assert ("train masks longer" in error.value.message) == advised
    assert "--threshold" in error.value.message


def test_agreements_are_those_of_the_lines_that_have_one(tmp_path):
    out = write(tmp_path / "out", marked((1, 1), (2, 2)))
    first, second = journal(out)
    (out / "metadata.jsonl").write_text(f"{json.dumps(first | {'agreement': 0.5})}\n{json.dumps(second)}\n")
    assert agreements(out) == {"tile/test/crack/000000.png": 0.5}


def test_a_name_with_spaces_can_be_copied(tmp_path):
    out = write(tmp_path / "my out", marked((1, 1)))
    save(out / "x.png", np.zeros((2, 2), np.uint8))
    assert summary(out).next().startswith(f"next: seas-data review '{out}', then ")


def test_tiles_go_back_onto_photographs_before_the_export(tmp_path):
    out = write(tmp_path / "out", marked((1, 1)))
    told = summarise(out, Settings(**SETTINGS), 0, 1.0, tiles=True).next()
    assert told == (
        f"next: seas-data review {out}, then seas-data place {out} --on PHOTOGRAPHS --into {out}-whole, "
        f"then seas-data export {out}-whole --to coco --into {out}-coco"
    )
