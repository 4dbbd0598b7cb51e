"""Anomalies placed on normal images: they stay whole and inside, and keep their pixels."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from seas_train.data import placing
from seas_train.data.dataset import step_generator

SIDE = 32


def marked(top, left, height, width):
    mask = torch.zeros(1, SIDE, SIDE)
    mask[:, top : top + height, left : left + width] = 1
    return mask


@settings(max_examples=150, deadline=None)
@example(1, 1, 1, 19, False, 139)
@given(st.integers(0, 25), st.integers(0, 25), st.integers(1, 32), st.integers(1, 32), st.booleans(), st.integers(0, 999))
def test_the_normal_image_is_kept_where_no_anomaly_lies_and_the_anomaly_keeps_its_size(top, left, height, width, turned, seed):
    mask = marked(top, left, height, width)
    placed = placing.place(torch.ones(3, SIDE, SIDE), mask, -torch.ones(3, SIDE, SIDE), turned, step_generator(seed, 0))
    area, before = float(placed.mask.sum()), float(mask.sum())
    assert area >= 1
    assert set(placed.mask.unique().tolist()) <= {0.0, 1.0}
    assert (placed.image[:, placed.mask[0] == 1] > 0.9).any()  # the anomaly's own pixels
    near = torch.nn.functional.max_pool2d(placed.mask, 5, stride=1, padding=2)
    assert (placed.image[:, near[0] == 0] == -1).all()  # the normal image, to the bit
    rows, columns = placed.mask[0].nonzero(as_tuple=True)
    if before >= 60 and min(height, width) >= 6 and max(height, width) <= 20:  # small ones are counted in whole pixels
        assert 0.4 <= area / before <= 2.2
        assert int(rows.max()) < SIDE
        assert int(columns.max()) < SIDE


def test_a_product_in_any_pose_has_its_anomalies_turned_anyhow_and_one_in_a_fixed_pose_hardly():
    mask = marked(14, 6, 3, 20)
    for turned in (True, False):
        placed = [
            placing.place(torch.zeros(3, SIDE, SIDE), mask, torch.zeros(3, SIDE, SIDE), turned, step_generator(1, k))
            for k in range(30)
        ]
        tall = [int(each.mask[0].any(dim=1).sum()) for each in placed]
        assert (max(tall) > 15) == turned  # 15 degrees make 5 pixels of 20


def test_composites_take_turns_and_each_depends_on_its_number_alone():
    normals = [torch.full((3, SIDE, SIDE), value) for value in (-1.0, -0.5)]
    anomalies = [(torch.full((3, SIDE, SIDE), value), marked(10, 10, 6, 6)) for value in (0.5, 0.75, 1.0)]
    many = list(placing.composites(normals, anomalies, 6, True, 3, an_image=1))
    few = list(placing.composites(normals, anomalies, 4, True, 3, an_image=1))
    for one, other in zip(few, many, strict=False):
        assert torch.equal(one.image, other.image)
    for k, placed in enumerate(many):
        assert placed.image.min() == (-1.0, -0.5)[k % 2]
        assert placed.image.max() == pytest.approx((0.5, 0.75, 1.0)[k % 3], abs=0.01)


@pytest.mark.parametrize("an_image", [1, 1.5, 2, 3])
def test_more_anomalies_come_to_the_first_one_as_often_as_asked_and_all_are_marked(an_image):
    normal = torch.full((3, SIDE, SIDE), -1.0)
    anomalies = [(torch.full((3, SIDE, SIDE), value), marked(10, 10, 2, 2)) for value in (0.25, 0.5, 0.75)]
    places = list(placing.composites([normal], anomalies, 400, True, 5, an_image=an_image))
    one = placing.place(*anomalies[0], normal, True, step_generator(5, 0))
    assert (one.mask <= places[0].mask).all()  # those that come leave the first one where it was
    seen = [int(ndimage.label(each.mask[0].numpy(), np.ones((3, 3)))[1]) for each in places]
    assert max(seen) <= 3
    assert np.mean(seen) == pytest.approx(an_image, abs=0.15)  # some touch
    for each in places:
        assert (each.image[:, each.mask[0] == 0] < 0).all()
        assert (each.image[:, each.mask[0] > 0] > -1).all()


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["top", "bottom", "left", "right"]),
    st.integers(3, 9),
    st.integers(4, 20),
    st.integers(2, 8),
    st.booleans(),
    st.integers(0, 999),
)
def test_what_reaches_an_edge_reaches_one_again(edge, length, place, depth, turned, seed):
    mask = {
        "top": marked(0, place, depth, length),
        "bottom": marked(SIDE - depth, place, depth, length),
        "left": marked(place, 0, length, depth),
        "right": marked(place, SIDE - depth, length, depth),
    }[edge]
    placed = (
        placing.place(torch.zeros(3, SIDE, SIDE), mask, torch.zeros(3, SIDE, SIDE), turned, step_generator(seed, 0)).mask[0] > 0
    )
    reached = {"top": placed[0], "bottom": placed[-1], "left": placed[:, 0], "right": placed[:, -1]}
    reached = {name for name, pixels in reached.items() if pixels.any()}
    if turned:
        assert len(reached) >= 1
    elif edge in ("top", "bottom"):
        assert edge in reached
    else:
        assert reached & {"left", "right"}  # it may be mirrored


@pytest.mark.parametrize("turned", [False, True])
def test_what_goes_from_edge_to_edge_does_so_again(turned):
    """Half the image, as where a surface is uneven."""
    mask = marked(20, 0, 12, SIDE)
    for k in range(20):
        placed = placing.place(torch.zeros(3, SIDE, SIDE), mask, torch.zeros(3, SIDE, SIDE), turned, step_generator(0, k)).mask[0]
        assert float(placed.sum()) == float(mask.sum())
        if not turned:
            assert torch.equal(placed, mask[0])


@settings(max_examples=150, deadline=None)
@given(st.integers(2, 30), st.integers(4, 20), st.booleans(), st.integers(0, 9999))
def test_a_line_of_one_pixel_stays_in_one_piece(top, width, turned, seed):
    line = marked(top, 5, 1, width)
    placed = placing.place(line.expand(3, -1, -1), line, torch.zeros(3, SIDE, SIDE), turned, step_generator(seed, 0))
    assert ndimage.label(placed.mask[0].numpy(), np.ones((3, 3)))[1] == 1


@pytest.mark.parametrize("around", [0.9, -0.9])
def test_an_anomaly_keeps_its_brightness(around):
    mask = marked(12, 12, 6, 6)
    anomaly = torch.where(mask > 0, torch.tensor(0.3), torch.tensor(0.0)).expand(3, -1, -1)
    placed = placing.place(anomaly, mask, torch.full((3, SIDE, SIDE), around), False, step_generator(0, 0))
    values = placed.image[:, placed.mask[0] > 0]
    assert float(values.median()) == pytest.approx(0.3, abs=1e-4)


@pytest.mark.parametrize(("normals", "anomalies"), [(1, 3), (4, 2), (6, 3), (5, 5), (4, 6), (7, 3)])
def test_every_normal_image_meets_every_anomaly_once_before_any_again(monkeypatch, normals, anomalies):
    met = []
    monkeypatch.setattr(placing, "place", lambda anomaly, mask, normal, *_: met.append((float(normal), float(anomaly))))
    levels = [torch.tensor(float(n)) for n in range(normals)]
    levelled = [(torch.tensor(float(n)), None) for n in range(anomalies)]
    list(placing.composites(levels, levelled, 2 * normals * anomalies, True, 0, an_image=1))
    first, second = met[: normals * anomalies], met[normals * anomalies :]
    assert len(set(first)) == len(first)
    assert set(first) == set(second)
    assert [normal for normal, _ in met] == [k % normals for k in range(len(met))]


def test_what_a_tile_cuts_off_is_left_out_where_something_whole_is_left():
    whole, cut = [(None, marked(3, 3, 4, 4))], [(None, marked(0, 5, 3, 3)), (None, marked(9, SIDE - 2, 3, 2))]
    assert placing.uncut([*cut, *whole]) == whole
    assert placing.uncut(cut) == cut
