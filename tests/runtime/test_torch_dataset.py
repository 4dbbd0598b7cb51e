"""Pairs in a real DataLoader: all of them, none twice, whatever the workers and processes."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import distributed
from torch.utils.data import DataLoader

import seas_runtime
from seas_runtime import Options
from seas_runtime.errors import BundleError, SettingsError
from seas_runtime.sampling.recipe import Plan
from seas_runtime.torch_dataset import PairDataset, share_of, to_tensors

OPTIONS = Options(count=23, batch=3, seed=4, steps=3, max_area=1.0)


def number(pair):
    return pair.index


@pytest.fixture(scope="module")
def made(pristine):
    with seas_runtime.open(pristine, "cpu", threads=1) as generator:
        return {pair.index: pair for pair in generator.pairs(23, batch=3, seed=4, steps=3, max_area=1.0)}


def test_two_workers_make_the_pairs_of_the_front_door(pristine, made):
    """Batches of eight of a data set whose own batches are of three; the order is that of the workers."""
    loader = DataLoader(PairDataset(pristine, OPTIONS, backend="cpu"), batch_size=8, num_workers=2)
    seen = {}
    for batch in loader:
        assert batch["image"].dtype == batch["mask"].dtype == torch.float32
        assert batch["image"].shape[1:] == (3, 8, 8)
        assert batch["mask"].shape[1:] == (1, 8, 8)
        for image, mask, defect, index in zip(*(batch[key] for key in ("image", "mask", "defect", "index")), strict=True):
            assert int(index) not in seen
            pair = seen[int(index)] = made[int(index)]
            assert defect == pair.defect
            assert np.array_equal((image * 255).round().numpy().transpose(1, 2, 0), pair.image)
            assert np.array_equal(mask[0].numpy() * 255, pair.mask)
    assert seen.keys() == made.keys()


@pytest.mark.parametrize("workers", [0, 2])
def test_ranks_and_their_workers_make_each_pair_once(pristine, made, workers):
    found = []
    for rank in range(2):
        part = PairDataset(pristine, OPTIONS, backend="cpu", transform=number, rank=rank, world_size=2)
        found += [int(index) for index in DataLoader(part, batch_size=None, num_workers=workers)]
    assert sorted(found) == sorted(made)


@given(
    count=st.integers(1, 60),
    batch=st.integers(1, 5),
    start=st.integers(0, 20),
    shard=st.sampled_from([(0, 1), (1, 2), (2, 3)]),
    ranks=st.integers(1, 4),
    workers=st.integers(1, 4),
)
def test_shares_of_shares_are_without_doubles_and_holes(count, batch, start, shard, ranks, workers):
    plan = Plan(("a",), 0, count, batch, shard, start)
    parts = [share_of(share_of(plan, (rank, ranks)), (worker, workers)) for rank in range(ranks) for worker in range(workers)]
    found = [index for part in parts for indices in part.batches() for index in indices]
    assert sorted(found) == [index for indices in plan.batches() for index in indices]
    sizes = [len(list(part.batches())) for part in parts]
    assert max(sizes) - min(sizes) <= 1


def test_the_rank_is_that_of_torch_distributed_when_it_is_made(pristine, made, monkeypatch):
    whole = PairDataset(pristine, OPTIONS, backend="cpu", transform=number)
    with monkeypatch.context() as patch:
        patch.setattr(distributed, "is_initialized", lambda: True)
        patch.setattr(distributed, "get_world_size", lambda: 2)
        parts = []
        for rank in range(2):
            patch.setattr(distributed, "get_rank", lambda rank=rank: rank)
            parts.append(PairDataset(pristine, OPTIONS, backend="cpu", transform=number))
    assert list(whole) == sorted(made)
    assert sorted([*parts[0], *parts[1]]) == sorted(made)  # as in a worker process, where torch.distributed knows nothing
    assert list(parts[1])[:3] == [3, 4, 5]


def test_a_pass_is_like_the_one_before_and_a_copy_like_the_original(pristine):
    data = PairDataset(pristine, Options(count=3, steps=2, max_area=1.0), backend="cpu", start=7)
    first, second, copied = list(data), list(data), list(pickle.loads(pickle.dumps(data)))
    assert [sample["index"] for sample in first] == [7, 8, 9]
    for other in (second, copied):
        assert all(torch.equal(a["image"], b["image"]) for a, b in zip(first, other, strict=True))


def test_without_a_count_it_goes_on(pristine):
    loader = DataLoader(PairDataset(pristine, Options(steps=1, batch=1, max_area=1.0), backend="cpu"), batch_size=4, num_workers=2)
    batches = iter(loader)
    seen = torch.cat([next(batches)["index"] for _ in range(4)]).tolist()
    assert len(set(seen)) == 16


def test_tensors_share_no_memory_with_the_pair(made):
    pair = made[0]
    before = pair.image.copy()
    to_tensors(pair)["image"].zero_()
    assert np.array_equal(pair.image, before)


@pytest.mark.parametrize("process", [{"rank": 0}, {"world_size": 2}, {"rank": 2, "world_size": 2}, {"rank": -1, "world_size": 2}])
def test_a_rank_that_is_none(pristine, process):
    with pytest.raises(SettingsError, match="0 <= rank < world_size expected"):
        PairDataset(pristine, **process)


def test_mistakes_are_told_before_a_worker_begins(pristine, tmp_path):
    with pytest.raises(SettingsError, match="'dent' found"):
        PairDataset(pristine, Options(defects=("dent",)))
    with pytest.raises(BundleError, match="no such bundle folder"):
        PairDataset(tmp_path / "none.plan")
