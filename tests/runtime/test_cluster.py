"""Pairs of a Ray cluster of several nodes: the bytes of one process, also when nodes and the driver are killed."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from seas_runtime import cluster, cluster_worker
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.cluster import Pool
from seas_runtime.cluster_worker import Asked, Worker
from seas_runtime.errors import BackendError, BundleError
from seas_runtime.versions import own_version
from tests.runtime.written import check_pairs, tree

ray = pytest.importorskip("ray")
STORE = 100 << 20
WORDS = ("--count", 200, "--batch", 4, "--seed", 3, "--max-area", 1)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """A head that runs nothing, and two nodes of one core."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=head)
    made.several = [made.add_node(num_cpus=1, object_store_memory=STORE) for _ in range(2)]
    made.wait_for_nodes()
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.mark.slow
def test_the_bytes_are_those_of_one_process(nodes, gen, tmp_path):
    gen(*WORDS, out="one")
    said = gen(*WORDS, "--normals", 0, "--ray", nodes.address, out="many")
    assert "pairs in" in said
    assert tree(tmp_path / "many") == tree(tmp_path / "one")
    check_pairs(tmp_path / "many")


@pytest.mark.slow
def test_a_node_that_is_killed_costs_its_batches_in_flight_and_nothing_else(nodes, pristine, tmp_path, gen, monkeypatch):
    gen(*WORDS, out="one")
    killed = []

    def slow_make(self, plan, sampling, batch, make=Worker.make):
        time.sleep(0.2)
        return make(self, plan, sampling, batch)

    monkeypatch.setattr(Worker, "make", slow_make)
    bundle = read_bundle(pristine)
    lines = []
    from seas_runtime.options import Options
    from seas_runtime.settings import resolve

    settings = resolve(bundle.manifest, "cpu", Options(count=200, batch=4, seed=3, max_area=1.0))
    extra = nodes.add_node(num_cpus=1, object_store_memory=STORE)
    with cluster.Cluster(bundle, "cpu", Pool(nodes.address, 3, patience=20), None, lines.append) as pool:
        found = {}
        for pairs in pool.batches(settings.plan(), settings.sampling(bundle.manifest)):
            found[pairs[0].index] = pairs
            if len(found) == 4 and not killed:
                killed.append(extra)
                nodes.remove_node(extra, allow_graceful=False)
    assert killed
    assert sorted(found) == list(range(0, 200, 4))
    assert any("an actor was lost" in line for line in lines)
    import seas_runtime

    with seas_runtime.open(bundle, "cpu", threads=1) as one:
        for batch in one.batches(settings.plan(), settings.sampling(bundle.manifest)):
            for mine, theirs in zip(batch, found[batch[0].index], strict=True):
                np.testing.assert_array_equal(mine.image, theirs.image)
                np.testing.assert_array_equal(mine.mask, theirs.mask)


@pytest.mark.slow
def test_a_killed_driver_goes_on(nodes, gen, pristine, tmp_path):
    gen(*WORDS, out="one")
    program = "from seas_runtime.cli import generate; generate()"
    words = ["--engine", pristine, "--out", tmp_path / "many", "--backend", "cpu", *WORDS, "--ray", nodes.address, "--quiet"]
    command = [sys.executable, "-c", program, *map(str, words)]
    process = subprocess.Popen(command)
    journal = tmp_path / "many" / "metadata.jsonl"
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None and not journal.exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert subprocess.run(command, check=False).returncode in (0, 6)
    assert tree(tmp_path / "many") == tree(tmp_path / "one")


@pytest.mark.slow
def test_more_than_there_is_room_for_is_waited_for_and_told(nodes, pristine):
    lines = []
    with pytest.raises(BackendError, match=r"room for \d+ actors of 1 cores, 40 asked for"):
        cluster.Cluster(read_bundle(pristine), "cpu", Pool(nodes.address, 40, patience=1), None, lines.append)
    assert "waiting up to 1 s" in lines[0]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nowhere.invalid:6379"])
def test_no_cluster_at_the_address(gen, address):
    said = gen("--count", 1, "--ray", address, code=4)
    assert f"--ray {address}: no cluster answers" in said
    assert "start one with ray start --head" in said
    assert len(said.strip().splitlines()) == 1


@pytest.fixture
def asked(pristine):
    digest = read_bundle(pristine).manifest.digest
    return Asked(pristine, digest, "cpu", 1, own_version(), None)


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    monkeypatch.setattr(cluster_worker, "_node", lambda: "10.0.0.7")


def core_of(folder):
    names = ("manifest.json", *read_bundle(folder).manifest.files)
    return {name: (folder / name).read_bytes() for name in names}


def test_a_worker_opens_the_bundle_at_its_path_or_the_one_that_was_sent(asked, pristine, tmp_path):
    from dataclasses import replace

    assert Worker(asked, {}).begin()["name"] == "cpu"
    elsewhere = replace(asked, bundle=tmp_path / "nowhere" / "tile.plan")
    sent = Worker(elsewhere, core_of(pristine))
    assert sent.begin()["node"] == "10.0.0.7"


@pytest.mark.parametrize(
    ("change", "kind", "reason"),
    [
        ({"version": "0.0.1"}, BackendError, "node 10.0.0.7: seas .* found, 0.0.1 expected; install the same everywhere"),
        ({"digest": "f" * 64}, BundleError, "node 10.0.0.7: the bundle .* expected; give the same bundle everywhere"),
        ({"backend": "strange"}, Exception, "node 10.0.0.7: .*strange"),
    ],
)
def test_a_worker_that_differs_is_refused_by_name(asked, change, kind, reason):
    from dataclasses import replace

    error = Worker(replace(asked, **change), {}).begin()["error"]
    assert isinstance(error, kind)
    with pytest.raises(kind, match=reason):
        raise error


def test_bytes_that_were_changed_on_the_way_are_refused(asked, pristine, tmp_path):
    from dataclasses import replace

    core = core_of(pristine)
    name = next(name for name in core if name.endswith(".onnx"))
    core[name] = core[name][:-1] + bytes([core[name][-1] ^ 1])
    error = Worker(replace(asked, bundle=tmp_path / "nowhere.plan"), core).begin()["error"]
    assert isinstance(error, BundleError)
    assert "node 10.0.0.7" in error.message


def test_ray_flags_without_ray(gen):
    assert "found without --ray; add --ray" in gen("--count", 1, "--ray-cores", 2, code=2)


def test_what_ray_does_not_do_is_told(gen):
    assert "--estimate found with --ray" in gen("--count", 1, "--ray", "--estimate", code=2)
    assert "--threads 2 found with --ray and actors of 1 cores; give --ray-cores 2" in gen(
        "--count", 1, "--ray", "--threads", 2, code=2
    )


def test_without_ray_the_package_is_named(gen, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert 'pip install "seas-gen[ray]"' in gen("--count", 1, "--ray", code=4)


def test_room_is_the_smaller_of_cores_and_gpus():
    assert cluster._room({"CPU": 7.0}, Pool(cores=2)) == 3
    assert cluster._room({"CPU": 64.0, "GPU": 4.0}, Pool(cores=8, gpus=0.5)) == 8
    assert cluster._room({"CPU": 64.0}, Pool(gpus=1)) == 0
