"""How many pairs a plan has, without counting them one by one."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from seas_runtime.sampling.recipe import Plan


@given(
    st.integers(1, 5), st.integers(0, 60), st.integers(0, 60), st.integers(1, 7), st.integers(1, 4).flatmap(
        lambda parts: st.tuples(st.integers(0, parts - 1), st.just(parts))
    )
)  # fmt: skip
def test_sizes_are_those_of_its_batches(types, start, more, batch, shard):
    plan = Plan(tuple("abcde"[:types]), 0, start + more, batch, shard, start)
    indices = [index for batch in plan.batches() for index in batch]
    assert plan.size() == len(indices)
    counted = Counter(plan.defects[index % types] for index in indices)
    assert plan.sizes() == {name: counted[name] for name in plan.defects}


def test_a_billion_is_told_at_once():
    plan = Plan(("a", "b", "c"), 0, 10**9, 4)
    assert plan.size() == 10**9
    assert plan.sizes() == {"a": 333333334, "b": 333333333, "c": 333333333}
