"""Parts of a run side by side: the same pairs, in order, few in memory, and nothing left behind."""

import itertools
import threading
import time
from concurrent.futures import CancelledError

import numpy as np
import pytest

from seas_runtime import Generator, Options
from seas_runtime.backends import open_backend, workers
from seas_runtime.backends.workers import CoreSplit, Workers, split_cores
from seas_runtime.errors import BackendError, DeviceMemoryError
from seas_runtime.sampling.recipe import Plan
from seas_runtime.sampling.sampler import cut
from tests.runtime.engine_checks import Wide, inputs
from tests.runtime.written import check_pairs, lines, tree


@pytest.fixture
def cores(monkeypatch):
    """A machine of three cores."""
    monkeypatch.setattr(workers, "usable_cores", lambda: 3)
    monkeypatch.setattr(workers.os, "cpu_count", lambda: 3)


def own_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("worker")]


def made(backend, bundle, count, batch, *, log=None, chosen=None, **options):
    """The batches of a run with a seed of 1, every mask kept where nothing else is asked for."""
    generator = Generator(bundle, backend, log)
    usual = {"steps": 6, "guidance": 2.5, "mask_steps": 3, "max_area": 1.0, "retries": 0}
    plan, sampling = generator.recipe(Options(count=count, batch=batch, seed=1, **{**usual, **options}))
    return generator.batches(plan, sampling, chosen)


@pytest.mark.parametrize(
    ("threads", "expected"), [(0, CoreSplit(3, 1)), (2, CoreSplit(2, 1)), (9, CoreSplit(3, 1)), (1, CoreSplit(1, 1))]
)
@pytest.mark.usefixtures("cores")
def test_a_small_model_has_a_lane_for_each_core_that_it_may_use(bundle, threads, expected):
    assert split_cores(bundle.manifest, threads) == expected
    for name in ("cpu", "openvino"):
        backend = open_backend(name, bundle, threads)
        assert backend.workers == expected.workers
        assert backend.describe().get("lanes") == (f"{expected.workers}, one thread each" if expected.workers > 1 else None)


@pytest.mark.parametrize(("there", "threads"), [(1, 0), (8, 1)])
def test_one_core_has_one_lane_and_no_thread_on_a_core_of_others(bundle, monkeypatch, there, threads):
    monkeypatch.setattr(workers, "usable_cores", lambda: 1)
    monkeypatch.setattr(workers.os, "cpu_count", lambda: there)
    assert split_cores(bundle.manifest, 0) == CoreSplit(1, threads)


@pytest.mark.usefixtures("cores")
def test_stable_diffusion_has_one_lane_over_all_threads(bundle):
    """Bytes and latent side of the full-size export, see benchmarks/results/export_sd14.md."""
    manifest = bundle.manifest
    weights = manifest.files["weights.bin"].model_copy(update={"bytes": 1_830_500_000})
    large = manifest.model_copy(
        update={
            "files": {**manifest.files, "weights.bin": weights},
            "geometry": manifest.geometry.model_copy(update={"latent_size": 64}),
        }
    )
    assert split_cores(large, 0) == CoreSplit(1, 0)
    assert split_cores(large, 2) == CoreSplit(1, 2)


@pytest.mark.usefixtures("cores")
def test_auto_says_how_many_workers_there_are(bundle):
    said = []
    open_backend("auto", bundle, candidates=("cpu",), log=said.append)
    assert said == ["backend cpu, workers: 3, one thread each"]


@pytest.mark.parametrize(
    ("length", "parts", "expected"),
    [(4, 2, [2, 2]), (5, 2, [2, 3]), (1, 3, [1]), (3, 8, [1, 1, 1]), (7, 1, [7])],
)
def test_a_batch_is_cut_in_parts_of_nearly_equal_length(length, parts, expected):
    batch = tuple(range(10, 10 + length))
    found = cut(batch, parts)
    assert [len(part) for part in found] == expected
    assert sum(found, ()) == batch


@pytest.mark.parametrize("batch", [1, 2, 4, 8])
@pytest.mark.parametrize("shard", [(0, 1), (1, 2)])
def test_the_pairs_are_those_of_one_lane(bundle, batch, shard):
    words = {"shard": shard, "min_area": 49, "retries": 2}  # so that some are made again
    one, three, again = (list(made(Wide(bundle, n), bundle, 13, batch, **words)) for n in (1, 3, 3))
    assert [tuple(s.index for s in samples) for samples in three] == list(Plan((), 1, 13, batch, shard).batches())
    assert any(sample.attempt for samples in one for sample in samples)
    for samples, theirs, repeated in zip(three, one, again, strict=True):
        for ours, other, repeat in zip(samples, theirs, repeated, strict=True):
            assert (ours.draw, ours.verdict) == (other.draw, other.verdict)
            assert np.abs(ours.image.astype(int) - other.image).max() <= 1
            assert np.array_equal(ours.image, repeat.image)
            assert np.array_equal(ours.mask, repeat.mask)


@pytest.mark.parametrize(("batch", "rows"), [(1, 2), (6, 4)])
def test_all_lanes_work_at_the_same_time_and_on_no_more_than_their_parts(bundle, batch, rows):
    """Each graph call waits until another two are at work; with fewer workers than three this would never end."""
    meeting, sizes = threading.Barrier(3, timeout=20), set()

    def watch(graph, feeds):
        if graph == "unet":
            meeting.wait()
            sizes.add(len(feeds["sample"]))

    total = sum(map(len, made(Wide(bundle, 3, watch), bundle, 6, batch)))
    assert (total, sizes) == (6, {rows})


@pytest.mark.parametrize(("batch", "ahead"), [(1, 6), (6, 12)])
def test_few_pairs_are_in_memory_however_many_are_asked_for(bundle, batch, ahead):
    taken = []

    def batches():
        for indices in Plan((), 1, 6000, batch).batches():
            taken.extend(indices)
            yield indices

    stream = made(Wide(bundle), bundle, 6000, batch, chosen=batches())
    for number in range(1, 4):
        next(stream)
        assert len(taken) <= ahead + (number - 1) * batch
    stream.close()
    assert own_threads() == []


def test_leaving_stops_the_lanes_within_a_step(bundle):
    calls = []

    def watch(graph, _feeds):
        calls.append(graph)
        time.sleep(0.01)

    stream = made(Wide(bundle, 3, watch), bundle, 60, 1, steps=90)
    next(stream)
    under_way = len(calls)
    stream.close()
    assert len(calls) - under_way <= 2 * 3  # each worker ends the step it is in, and may have begun one since
    assert own_threads() == []
    before = len(calls)
    time.sleep(0.05)
    assert len(calls) == before


def test_an_error_of_a_lane_comes_after_the_pairs_before_it(bundle):
    decoded = itertools.count(1)

    class Broken(Wide):
        def run(self, graph, feeds, outputs):
            results = super().run(graph, feeds, outputs)
            if graph == "decoder" and next(decoded) == 5:
                results["image"].flat[0] = np.nan
            return results

    found, stream = [], made(Broken(bundle, 2), bundle, 40, 1)
    with pytest.raises(BackendError, match="decoder on backend cpu gave NaN"):
        found.extend(sample.index for samples in stream for sample in samples)
    assert found == list(range(len(found)))
    assert 1 <= len(found) < 9  # the fifth decoded is pair 4, or one near it
    assert own_threads() == []


@pytest.mark.parametrize(("batch", "limit"), [(4, 2), (8, 4)])
def test_a_part_that_does_not_fit_is_made_in_halves(bundle, batch, limit):
    """`limit` U-Net rows fit, half of what a part has."""

    def watch(graph, feeds):
        if graph == "unet" and len(feeds["sample"]) > limit:
            raise DeviceMemoryError("no room")

    said, narrow = [], Wide(bundle, 2, watch)
    found = [s for samples in made(narrow, bundle, 16, batch, log=said.append) for s in samples]
    whole = [s for samples in made(Wide(bundle, 1), bundle, 16, batch) for s in samples]
    assert [s.draw for s in found] == [s.draw for s in whole]
    assert all(np.abs(a.image.astype(int) - b.image).max() <= 1 for a, b in zip(found, whole, strict=True))
    assert 1 <= len(said) <= 2  # the parts that were under way
    assert said[0] == f"{limit} pairs at once do not fit, {limit // 2} at once from here on: no room"
    limit //= 4
    with pytest.raises(DeviceMemoryError, match="no room"):
        list(made(narrow, bundle, 16, batch))


def test_an_idle_lane_makes_the_masks_of_a_lone_pair(bundle):
    """The U-Net of the step after the first mask waits until that mask is being made."""
    masking, threads = threading.Event(), {}

    def watch(graph, _feeds):
        threads.setdefault(graph, []).append(threading.get_ident())
        if graph == "mask_branch":
            masking.set()
        elif len(threads["unet"]) == 6:
            assert masking.wait(20)

    ((sample,),) = made(Wide(bundle, 2, watch), bundle, 1, 1, mask_steps=2)
    ((alone,),) = made(Wide(bundle, 1), bundle, 1, 1, mask_steps=2)
    assert np.array_equal(sample.mask, alone.mask)
    assert len(threads["mask_branch"]) == 2
    assert threads["mask_branch"][0] not in threads["unet"]


def test_a_call_that_no_lane_takes_is_made_by_who_needs_it():
    def nested(value):
        later = [workers.beside(square, value + i) for i in range(3)]
        return [result() for result in later]

    def square(value):
        time.sleep(0.001)
        return value * value

    with Workers(2) as workers:
        ((found),) = workers.in_order(nested, [list(range(20))])
    assert found == [[value**2, (value + 1) ** 2, (value + 2) ** 2] for value in range(20)]


@pytest.mark.parametrize("number", [1, 2])
def test_a_call_is_made_once_however_often_its_result_is_asked_for(number):
    made = []

    def nested(value):
        result = workers.beside(lambda: made.append(value) or value)
        return [result() for _ in range(4)]

    with Workers(number) as workers:
        ((*found,),) = workers.in_order(nested, [list(range(6))])
    assert found == [[value] * 4 for value in range(6)]
    assert sorted(made) == list(range(6))


def test_workers_that_were_left_end_the_work_in_them():
    with Workers(2) as workers:
        workers.check()
    with pytest.raises(CancelledError):
        workers.check()


@pytest.mark.parametrize("name", ["cpu", "openvino", "mnn", "cpu+mnn", "openvino+mnn"])
@pytest.mark.usefixtures("cores", "cache")
def test_an_engine_gives_the_same_from_three_threads(mnn_bundle, name):
    backend = open_backend(name, mnn_bundle)
    assert backend.workers == 3
    given = [{**inputs(rows, rows), "timestep": np.arange(rows)} for rows in (1, 2, 3)]

    def call(feeds):
        noise = backend.run("unet", feeds, ("noise",))["noise"]
        return noise, backend.run("decoder", {"latent": noise}, ("image",))["image"]

    expected = [call(feeds) for feeds in given]
    with Workers(3) as workers:
        ((found),) = workers.in_order(call, [given * 30])
    for i, (noise, image) in enumerate(found):
        assert np.array_equal(noise, expected[i % 3][0])
        assert np.array_equal(image, expected[i % 3][1])


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize("batch", [1, 4])
def test_runs_in_lanes_are_extended_and_repeated_to_the_same_bytes(gen, tmp_path, batch):
    words = ("--threads", 0, "--batch", batch, "--min-area", 31)
    gen("--count", 13, *words, out="whole")
    for count in (1, 6, 13):
        gen("--count", count, *words)
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    check_pairs(tmp_path / "out")
    assert [line["index"] for line in lines(tmp_path / "out")] == list(range(13))
