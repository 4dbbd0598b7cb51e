"""What a decomposition trains, what each case learns from, and what its tables say: on cases worked by hand."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from benchmarks.demo.oracle import Pieces
from benchmarks.quality.decomposition import cases, gains, marks, trainings
from benchmarks.quality.decomposition.cases import Axes, Case
from benchmarks.quality.decomposition.stock import Shots, Stock
from benchmarks.quality.downstream import segmentation
from benchmarks.quality.downstream.comparators import COMPARATORS
from benchmarks.quality.downstream.segmentation import SegmenterSettings
from benchmarks.quality.pairs import LoadedPairs
from benchmarks.quality.real import Material
from benchmarks.quality.tables import Seeds, origin

SIDE = 32
HALF, QUARTER = Fraction(1, 2), Fraction(1, 4)


def squares(count, value, side=SIDE):
    """Images of one value with a square of 4 x 4 in each mask, every one at another place."""
    images, masks = np.full((count, side, side, 3), value, np.uint8), np.zeros((count, side, side), bool)
    for i in range(count):
        masks[i, i : i + 4, 2 * i : 2 * i + 4] = True
    return LoadedPairs(images, masks)


class Judge:
    """Sees what it is told to."""

    def types(self, labels):
        return labels.max(axis=(1, 2))


@pytest.fixture
def stock():
    """Two real anomalies, six generated pairs of types 1 and 2 in turn, of which the judge sees half, a normal image of value 9."""
    few, ours, test = squares(2, 10), squares(6, 20), squares(4, 30)
    test.masks[2:] = False
    types = np.array([1, 2] * 3, np.uint8)
    labels = ours.masks * types[:, None, None]
    labels[1] = 0  # unseen
    labels[2] = np.roll(labels[2], 16, axis=0)  # elsewhere
    labels[3] = np.minimum(labels[3], 1)  # another type
    labels[4, :, :10] = 0  # half of the mask, which is enough
    normals = np.full((3, SIDE, SIDE, 3), 9, np.uint8)
    shots = Shots(Material(few, normals, test, ()), np.array([1, 2], np.uint8), squares(3, 40), Pieces(*ours, types), labels)
    other = np.full((2, SIDE, SIDE, 3), 8, np.uint8)
    return Stock({1: shots}, count=5, blends=4, judge=Judge(), drawn="bottle", normals={"generated": other})


def test_every_method_is_trained_and_one_is_varied_in_one_thing_at_a_time():
    axes = Axes(("few-real", "crop-paste", "ours"), ("real", "generated"))
    found = cases.cases((3, 5), axes)
    base = {"normals": "real", "share": HALF, "order": "mixed"}
    assert found[:6] == [
        Case(3, "few-real", **base),
        Case(3, "crop-paste", **base),
        Case(3, "ours", **base),
        Case(3, "ours", **base | {"normals": "generated"}),
        Case(3, "ours", **base | {"share": QUARTER}),
        Case(3, "ours", **base | {"order": "in-turn"}),
    ]
    assert [replace(case, shots=3) for case in found[6:]] == found[:6]
    assert len({case.name for case in found}) == 12


def test_what_has_one_origin_is_varied_in_its_normal_images_alone():
    found = cases.cases((3,), Axes(("few-real", "ours-alone"), ("real", "generated"), varied=("few-real", "ours-alone")))
    assert [(case.method, case.normals) for case in found] == [
        ("few-real", "real"), ("few-real", "generated"), ("ours-alone", "real"), ("ours-alone", "generated"),
    ]  # fmt: skip


def test_a_case_learns_from_its_share_of_both_origins(stock):
    made, real = stock.sources(Case(1, "ours", share=QUARTER), seed=0)
    assert (made.weight, real.weight) == (0.25, 0.75)
    assert set(np.unique(made.images)) == {20}
    assert len(made.images) == 5  # at most `count`
    assert set(np.unique(real.images)) == {10}
    (alone,) = stock.sources(Case(1, "ours-alone"), seed=0)
    assert set(np.unique(alone.images)) == {20}
    (few,) = stock.sources(Case(1, "few-real"), seed=0)
    assert set(np.unique(few.images)) == {10}
    assert len(stock.sources(Case(1, "crop-paste"), seed=0)[0].images) == 4  # `blends`
    more, _ = stock.sources(Case(1, "more-real"), seed=0)
    assert (len(more.images), set(np.unique(more.images))) == (3, {40})


def test_the_judges_masks_are_what_it_sees_and_pairs_without_any_are_left_out(stock):
    made, _ = stock.sources(Case(1, "ours-judge-masks"), seed=0)
    own = stock.shots[1]
    seen = [own.labels[i] > 0 for i in (0, 2, 3, 4, 5)]
    assert {mask.tobytes() for mask in made.masks} == {mask.tobytes() for mask in seen}


def test_agreed_pairs_have_the_asked_type_and_at_least_half_of_the_mask(stock):
    made, _ = stock.sources(Case(1, "ours-agreed"), seed=0)
    own = stock.shots[1].ours
    assert {mask.tobytes() for mask in made.masks} == {own.masks[i].tobytes() for i in (0, 4, 5)}


def test_half_of_the_normal_images_are_the_others(stock):
    assert (stock.normals_of(Case(1, "ours"))[:, 0, 0, 0] == 9).all()
    assert stock.normals_of(Case(1, "ours", normals="generated"))[:, 0, 0, 0].tolist() == [9, 9, 9, 8, 8, 8]


@pytest.mark.parametrize(("lacking", "method"), [({"judge": None}, "perfect"), ({"judge": None}, "ours-agreed")])
def test_what_needs_a_judge_is_not_had_without(stock, lacking, method):
    assert stock.has(Case(1, method))
    assert not replace(stock, **lacking).has(Case(1, method))


def test_what_needs_pairs_is_not_had_without(stock):
    bare = replace(stock, shots={1: replace(stock.shots[1], ours=None, more=None)})
    assert [name for name in cases.METHODS if not bare.has(Case(1, name))] == [
        "ours", "ours-judge-masks", "ours-agreed", "ours-alone", "more-real",
    ]  # fmt: skip


@pytest.mark.parametrize("part", [0.0, 0.2, 0.249, 0.251, 0.999])
def test_origins_take_their_turn_for_their_share_of_the_steps(part):
    now = segmentation.in_turn(torch.tensor([0.5, 1.5]), part)
    assert now.tolist() == ([1, 0] if part < 0.25 else [0, 1])


def test_generated_pairs_come_first_where_origins_take_turns(stock, monkeypatch):
    drawn = []

    def remember(images):
        drawn.append({int(value) for value in images[:, 0, 0, 0].unique()})
        return (images.float() / 255).contiguous()

    monkeypatch.setattr(segmentation, "normalise", remember)
    settings = SegmenterSettings(steps=8, batch=4, jitter=0, order="in-turn")
    case = Case(1, "ours", share=QUARTER, order="in-turn")
    segmentation.train(stock.sources(case, 0), stock.normals_of(case), settings, 0)
    assert drawn == [{9, 20}] * 2 + [{9, 10}] * 6


def test_a_kept_training_is_never_that_of_other_pairs_data_or_settings(stock, tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(segmentation, "train", lambda *_: trained.append(1))
    rng = np.random.default_rng(0)
    monkeypatch.setattr(trainings, "predict", lambda _, images: rng.random(images.shape[:3], np.float32))
    case, settings = Case(1, "ours"), SegmenterSettings()

    def train(stock=stock, case=case, settings=settings, seed=0):
        return trainings.run([case], seed, stock, settings, tmp_path, lambda _line: None)[case][seed]

    assert train() == train()
    assert len(trained) == 1
    own = stock.shots[1]
    other = replace(own, ours=replace(own.ours, images=own.ours.images + np.uint8(1)))
    more = replace(own, material=replace(own.material, few=squares(2, 11)))
    dark = replace(own, material=replace(own.material, normals=own.material.normals // 2))
    tested = replace(own, material=replace(own.material, test=own.material.few))
    for changed in (other, more, dark, tested):
        train(replace(stock, shots={1: changed}))
    train(case=replace(case, share=QUARTER))
    train(case=replace(case, order="in-turn"))
    train(case=replace(case, normals="generated"))
    train(settings=SegmenterSettings(steps=7))
    train(seed=1)
    assert len(trained) == 10
    train(replace(stock, shots={1: other}))
    assert len(trained) == 10


def test_a_comparator_that_changes_is_trained_anew(stock, monkeypatch):
    case = Case(1, "crop-paste")
    before = stock.known(case, 0)
    assert stock.known(case, 0) == before
    assert replace(stock, blends=5).known(case, 0) != before
    monkeypatch.setitem(COMPARATORS, "crop-paste", lambda normals, *_: (normals[:1], np.ones((1, SIDE, SIDE), bool)))
    assert stock.known(case, 0) != before


def test_pairs_alone_are_the_same_whatever_the_number_of_real_ones(stock):
    other = replace(stock.shots[1], material=replace(stock.shots[1].material, few=squares(3, 50)))
    both = replace(stock, shots={**stock.shots, 5: other})
    alone, mixed = ([Case(shots, method) for shots in (1, 5)] for method in ("ours-alone", "ours"))
    assert len({(case.name, both.known(case, 0)) for case in alone}) == 1
    assert len({both.known(case, 0) for case in mixed}) == 2


def found_of(**methods):
    """What trainings of 5 shots reached: pixel IoU of each seed by method; AP is half of it, PRO one half."""

    def kept(iou):
        return {"pairs": 7, "seconds": 1.0, "scores": {"pixel_iou_half": iou, "pixel_ap": iou / 2, "pixel_pro": 0.5}}

    return {Case(5, name.replace("_", "-")): dict(enumerate(map(kept, values))) for name, values in methods.items()}


def test_gains_by_hand():
    """Few real 0.5 in the mean, perfect pairs 0.7: ours gains 0.05, 0.15 and 0.1 of these 0.2, so half of it and 80 % never."""
    found = found_of(few_real=(0.4, 0.5, 0.6), crop_paste=(0.5, 0.6, 0.8), ours=(0.45, 0.65, 0.7), perfect=(0.6, 0.7, 0.8))
    table = gains.table(found)
    rows = {row["learns from"]: row for row in (dict(zip(table.columns, row, strict=True)) for row in table.rows)}
    ours, crop, few, perfect = (rows[name] for name in ("ours", "crop-paste", "few-real", "perfect"))
    assert ours["IoU"] == Seeds(pytest.approx((45, 65, 70)))
    assert (ours["IoU above few real"], ours["IoU above Crop&Paste"]) == ("3 of 3", "1 of 3")
    assert ours["IoU: % of headroom"] == pytest.approx(100 * (0.05 + 0.15 + 0.1) / 3 / 0.2)
    assert ours["IoU at 80%"] == "0 of 3"
    assert crop["IoU: % of headroom"] == pytest.approx(100 * (0.1 + 0.1 + 0.2) / 3 / 0.2)
    assert crop["IoU at 80%"] == "1 of 3"
    assert crop["IoU above Crop&Paste"] is None
    assert (few["IoU above few real"], few["IoU: % of headroom"]) == (None, None)
    assert perfect["IoU: % of headroom"] == pytest.approx(100)
    assert ours["AP: % of headroom"] == pytest.approx(ours["IoU: % of headroom"])
    assert (ours["PRO"], ours["image AUROC"]) == (Seeds((50, 50, 50)), None)


def test_without_a_judge_the_headroom_is_that_of_other_real_anomalies():
    found = found_of(few_real=(0.4, 0.5), ours=(0.5, 0.5), more_real=(0.6, 0.7))
    assert gains.headroom(found, Case(5, "ours"), "pixel_iou_half") == pytest.approx(20)


@pytest.mark.parametrize("perfect", [(0.4, 0.5), (0.3, 0.3), None])
def test_there_is_no_share_where_there_is_no_headroom(perfect):
    found = found_of(few_real=(0.4, 0.5), ours=(0.5, 0.5), **({"perfect": perfect} if perfect else {}))
    row = dict(zip(gains.table(found).columns, gains.table(found).rows[1], strict=True))
    assert (row["IoU above few real"], row["IoU: % of headroom"], row["IoU at 80%"]) == ("1 of 2", None, None)


def test_seeds_that_are_not_finished_are_not_compared():
    found = found_of(few_real=(0.4,), ours=(0.5, 0.6))
    row = dict(zip(gains.table(found).columns, gains.table(found).rows[1], strict=True))
    assert row["IoU above few real"] == "1 of 1"


def test_seeds_are_merged_by_case():
    first, second = ({Case(5, "ours"): {seed: {"pairs": seed}}} for seed in (0, 1))
    assert trainings.merge(first, second) == {Case(5, "ours"): {0: {"pairs": 0}, 1: {"pairs": 1}}}


def test_pixels_of_whole_pieces_count_for_images_alone():
    maps = np.zeros((2, 4, 4), np.float32)
    masks = np.zeros((2, 4, 4), bool)
    masks[0, :2], maps[0, :2] = True, 0.9
    maps[1] = 0.8  # a whole piece, marked all over
    alone, together = trainings.scored(maps, masks, True), trainings.scored(maps, masks, False)
    assert (alone["pixel_iou_half"], together["pixel_iou_half"]) == (1, 8 / 24)
    assert alone["image_auroc"] == together["image_auroc"] == 1
    assert "image_auroc" not in trainings.scored(maps[:1], masks[:1], True)


def test_sizes_numbers_and_places_by_hand():
    """Of the real ones one is a quarter of the image, upper left; of the others one of two parts, and one empty."""
    real, made = np.zeros((1, 16, 16), bool), np.zeros((2, 16, 16), bool)
    real[0, :8, :8] = True
    made[0, :4, :8] = True  # the upper half of the real place
    made[0, 15, 15] = made[0, 14, 14] = True  # touching at a corner: one part
    x, y = marks.centres(real)
    assert (x[0], y[0]) == (0.25, 0.25)
    assert marks.numbers(made).tolist() == [2, 0]
    blank = np.zeros((2, 16, 16, 3), np.uint8)
    sets = {"real": Pieces(blank[:1], real, np.array([1], np.uint8)), "made": Pieces(blank, made, np.array([1, 1], np.uint8))}
    table = marks.table(sets, ("dent",), "real")
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [(row["type"], row["pairs"], row["number"]) for row in rows] == [
        ("all", "real", 1), ("all", "made", 1), ("dent", "real", 1), ("dent", "made", 1),
    ]  # fmt: skip
    assert rows[0]["area, %"] == 25
    assert rows[1]["median"] == pytest.approx(100 * 34 / 256)
    assert (rows[0]["defects an image"], rows[1]["defects an image"]) == (1, 2)
    assert rows[0]["same places, %"] is None
    assert rows[1]["same places, %"] == pytest.approx(100 * 8 / 16)  # of 16 cells with a sixteenth each it has 8
    assert rows[1]["x"].startswith("0.29")  # (32 * 0.25 + 0.96875 + 0.90625) / 34


def test_of_paths_in_a_command_the_last_part_is_kept_and_shares_stay_whole():
    words = ["decompose", "--data", "/a/b/bottle", "--pairs", "5=/a/h0.4", "--shares", "1/2,1/4"]
    told = "python -m benchmarks.quality decompose --data bottle --pairs 5=h0.4 --shares 1/2,1/4"
    assert origin(words)["command"] == told
