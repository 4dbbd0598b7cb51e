"""Which pairs a network learns from: real ones that mark something, generated ones of the product's types, the lost counted."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from benchmarks.quality import real
from benchmarks.quality.downstream import scores, sources
from benchmarks.quality.downstream.trials import Result, Trial
from benchmarks.quality.pairs import by_type, read_pairs
from seas_runtime.errors import DataError
from seas_train.config import TuneSettings

SIDE = 64
EMPTY = {"index": 0, "defect": "scratch", "seed": 0, "attempt": 0, "verdict": "empty"}


def divided(data, product="nut"):
    return {product: real.divide(real.read_products(data / product)[product], TuneSettings())}


def collected(data, folder, few_real=None):
    return sources.collect(divided(data), SIDE, {"ours": folder}, few_real=few_real)[1]


@pytest.fixture
def made(generated, tmp_path):
    """What `seas-gen` may have left of 16 pairs: 12 files, 4 refused."""
    shutil.copytree(generated / "nut", tmp_path / "out" / "nut")
    lines = [EMPTY | {"index": i, "verdict": verdict} for i, verdict in enumerate(("empty", "empty", "too small", "too large"))]
    (tmp_path / "out" / "refused.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path / "out"


@pytest.mark.parametrize("part", ["few", "held_out"])
def test_a_real_anomaly_without_a_marked_pixel_is_refused(data, tmp_path, part):
    shutil.copytree(data / "nut", tmp_path / "nut")
    found = divided(tmp_path)["nut"]
    path = getattr(found, part)[-1].mask
    Image.new("L", (SIDE, SIDE), 0).save(path)
    with pytest.raises(DataError) as caught:
        real.load(found, SIDE)
    assert caught.value.message.startswith(f"{path}: the mask is empty, expected a pixel of 255")


@pytest.mark.parametrize("part", ["", "nut"])
def test_refused_pairs_are_lost_like_empty_ones(data, made, part):
    Image.new("L", (SIDE, SIDE), 0).save(next((made / "nut" / "ground_truth" / "scratch").iterdir()))
    first, second = collected(data, made / part, few_real=0.5)
    assert first.limit == 11
    assert first.left_out == second.left_out == 5 / 16
    (note,) = first.notes
    assert note.startswith("ours: 31.2% of its pairs had an empty mask or were refused by seas-gen")


def test_pairs_of_other_systems_have_none_refused(data, made):
    flat = made / "theirs"
    for defect, records in by_type(read_pairs(made / "nut")["nut"]).items():
        (flat / defect).mkdir(parents=True)
        for record in records:
            shutil.copy(record.image, flat / defect / record.image.name)
            shutil.copy(record.mask, flat / defect / f"{record.image.stem}_mask.png")
    (method,) = collected(data, flat)
    assert (method.limit, method.left_out, method.notes) == (12, 0, ())


def test_pairs_of_another_product_are_refused(data, generated):
    with pytest.raises(DataError, match=r"nut: found generated images of 'broken_large', expected a defect type of the product"):
        collected(data, generated / "bottle")


def test_a_type_without_pairs_is_told_below_the_table(data, generated, tmp_path):
    shutil.copytree(generated / "nut", tmp_path / "nut")
    for part in ("test", "ground_truth"):
        shutil.rmtree(tmp_path / "nut" / part / "scratch")
    (method,) = collected(data, tmp_path / "nut")
    reached = dict.fromkeys((*scores.PIXEL.values(), *scores.IMAGE.values()), 0.5)
    result = Result(Trial("ours", "small", "unified", 6, 0), {"nut": reached}, 0.0)
    materials = {"nut": real.load(divided(data)["nut"], 32)}
    assert "ours: has no pairs of nut, scratch." in scores.tables([result], [method], materials)[0].notes


def test_enlarged_pairs_are_told_below_the_table(data, generated):
    (small,) = sources.collect(divided(data), 64, {"ours": generated / "nut"})[1]
    (large,) = sources.collect(divided(data), 256, {"ours": generated / "nut"})[1]
    native = min(min(Image.open(path).size) for path in (generated / "nut" / "test").rglob("*.png"))
    assert native < 256
    assert large.notes == (f"ours: images of {native} pixels a side were enlarged to 256, and real ones were not.",)
    assert (native < 64) == bool(small.notes)


def test_chance_by_hand():
    half, eighth = np.zeros((2, 4, 4), bool), np.zeros((2, 4, 4), bool)
    half[0], eighth[0, :2, :2] = True, True
    found = scores.chance([half, eighth], {"AUROC": "pixel_auroc", "AP": "pixel_ap", "F1-max": "pixel_f1_max"})
    assert f"AUROC 50.00, AP {(50 + 12.5) / 2:.2f}, F1-max {(100 * 2 / 3 + 100 * 2 / 9) / 2:.2f}." in found
    assert "AP 50.00." in scores.chance([half], {"AP": "image_ap"})


def test_a_flat_folder_is_of_all_types(data, generated):
    found = divided(data)["nut"]
    (records,) = read_pairs(generated / "nut" / "test" / "scratch").values()
    assert real.match({"nut": found}, {"pairs": records}) == {"nut": "pairs"}
    assert real.missing_types(found, records) == ()
