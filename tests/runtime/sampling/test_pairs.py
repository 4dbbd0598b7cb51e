import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seas_runtime.bundle.manifest import Start
from seas_runtime.sampling.noise import NORMAL_IMAGE, POSTERIOR, START, Stream
from seas_runtime.sampling.pairs import draw_pair, start_latent
from seas_runtime.sampling.recipe import Plan


@given(count=st.integers(1, 200), batch=st.integers(1, 20), parts=st.integers(1, 6))
def test_shards_share_out_the_batches(count, batch, parts):
    whole = list(Plan(("a",), 0, count, batch).batches())
    assert [index for indices in whole for index in indices] == list(range(count))
    assert all(index // batch == number for number, indices in enumerate(whole) for index in indices)
    for part in range(parts):
        shard = Plan(("a",), 0, count, batch, (part, parts))
        assert list(shard.batches()) == whole[part::parts]
        assert shard.size() == sum(map(len, whole[part::parts]))


@given(count=st.integers(1, 60), batch=st.integers(1, 9), parts=st.integers(1, 4), start=st.integers(0, 70))
def test_a_later_start_leaves_pairs_out_and_moves_none_to_another_shard(count, batch, parts, start):
    for part in range(parts):
        whole = Plan(("a",), 0, count, batch, (part, parts)).batches()
        expected = [kept for indices in whole if (kept := tuple(i for i in indices if i >= start))]
        assert list(Plan(("a",), 0, count, batch, (part, parts), start).batches()) == expected


def test_a_plan_without_end_is_made_as_it_is_asked_for():
    batches = Plan(("a",), 0, 1 << 64, 4, (1, 2), (1 << 63) + 5).batches()
    assert next(batches) == tuple((1 << 63) + i for i in (5, 6, 7))
    assert next(batches) == tuple((1 << 63) + i for i in (12, 13, 14, 15))


def test_types_take_turns_and_normal_images_are_all_drawn():
    plan = Plan(("crack", "hole"), 5, 400, 4)
    pairs = [draw_pair(plan, index, 0, 6) for index in range(400)]
    assert [pair.defect for pair in pairs[:4]] == ["crack", "hole", "crack", "hole"]
    assert {pair.normal for pair in pairs} == set(range(6))


def test_a_pair_depends_on_seed_index_and_attempt_alone():
    small, large = Plan(("a", "b"), 5, 10, 3), Plan(("a", "b"), 5, 99, 8, (1, 2))
    assert draw_pair(small, 9, 1, 6) == draw_pair(large, 9, 1, 6)
    assert draw_pair(small, 9, 1, 6).stream == Stream(5, 9, 1)


def test_the_start_is_a_noised_draw_of_the_normal_image(bundle):
    pair = draw_pair(Plan(("crack",), 2, 50, 4), 17, 1, 6)
    assert pair.normal == Stream(2, 17, 1).integer(NORMAL_IMAGE, 6)
    held = bundle.conditioning
    shape = held.mean.shape[1:]
    drawn = held.mean[pair.normal] + held.std[pair.normal] * Stream(2, 17, 1).normals(POSTERIOR, shape)
    expected = 0.3 * drawn + 0.9 * Stream(2, 17, 1).normals(START, shape)
    got = start_latent(pair, held, Start(signal=0.3, noise=0.9))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)
