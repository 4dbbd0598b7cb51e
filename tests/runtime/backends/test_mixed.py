import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from seas_runtime.backends import mixed, open_backend, workers
from seas_runtime.backends.mixed import ON_MNN, REST
from seas_runtime.backends.registry import BACKENDS
from seas_runtime.bundle.graphs import REQUIRED_GRAPHS, SAMPLED
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.errors import BackendError
from tests.runtime.engine_checks import MNN, check_graphs, check_missing, check_parity, inputs, pairs

ROOT = Path(__file__).parents[3]
MIXES = ("openvino+mnn", "cpu+mnn")


@pytest.fixture(params=MIXES)
def mix(request):
    if request.param.startswith("openvino"):
        pytest.importorskip("openvino")
    return request.param


def test_each_graph_has_one_engine_and_gives_its_arithmetic(bundle, cache, mix):
    assert sorted(REST + ON_MNN) == sorted(set().union(*SAMPLED.values()))
    backend = open_backend(mix, bundle, 1)
    assert backend.name == mix
    assert list(backend._engines["unet"]._graphs) == list(REST)
    assert list(backend._engines["decoder"]._sessions) == ["decoder", "mask_branch"]
    check_graphs(backend)


def test_the_table_follows_the_measurement():
    """A graph is on MNN only where that is faster at every size measured, and never where it is slower."""
    presets = json.loads((ROOT / "benchmarks/results/cpu_engines.json").read_text())["presets"]
    shares = [(graph, part[graph]["mnn"]["share"]) for part in presets.values() for graph in REQUIRED_GRAPHS if graph in part]
    assert {graph for graph, _ in shares} == set(REQUIRED_GRAPHS)
    assert all(share < 1 for graph, share in shares if graph in ON_MNN)
    assert any(share >= 1 for graph, share in shares if graph in REST)


def test_the_unet_of_a_large_model_runs_where_it_is_fastest():
    """Of the two engines that take it, by the figures for which this order is."""
    (entries,) = json.loads((ROOT / "benchmarks/results/latency_sd14.json").read_text())["batches"].values()
    steps = {name: min(entries[name]["seconds"]["unet"]) for name in ("openvino", "cpu")}
    assert steps["openvino"] < steps["cpu"]
    order = [name for name in BACKENDS if name in {*MIXES, "openvino", "cpu"}]
    assert order == ["openvino+mnn", "openvino", "cpu+mnn", "cpu"]


FEW = {"count": 2, "steps": 6, "mask_steps": 2}


@pytest.fixture(scope="module")
def shipped():
    """The shipped bundle, and its pairs by ONNX Runtime."""
    bundle = read_bundle(ROOT / "engines/bottle.plan")
    return bundle, pairs(bundle, "cpu", **FEW)


def test_pairs_of_the_shipped_bundle_are_those_of_onnxruntime(cache, mix, shipped):
    bundle, expected = shipped
    check_parity(pairs(bundle, mix, **FEW), expected)
    assert any(sample.mask.any() for sample in expected)


def test_the_same_bytes_again(bundle, cache, mix):
    first, second = pairs(bundle, mix), pairs(bundle, mix)
    for one, other in zip(first, second, strict=True):
        assert (one.image == other.image).all()
        assert (one.mask == other.mask).all()


@pytest.fixture
def large(monkeypatch):
    """Every bundle counts as a large one."""
    monkeypatch.setattr(workers, "SMALL", 0)


@pytest.mark.usefixtures("large")
def test_auto_mixes_and_says_what_runs_where(bundle, cache):
    said = []
    backend = open_backend("auto", bundle, 1, candidates=("cpu+mnn", "cpu"), log=said.append)
    assert backend.name == "cpu+mnn"
    assert said == [
        f"backend cpu+mnn: unet on onnxruntime {onnxruntime.__version__}; "
        f"decoder, mask_branch on MNN {MNN}, whose Winograd convolutions are faster there"
    ]


def test_auto_leaves_the_mix_alone_for_a_small_model(bundle, cache):
    said = []
    candidates = ("openvino+mnn", "openvino", "cpu+mnn", "cpu", "mnn")
    assert open_backend("auto", bundle, 1, candidates, said.append).name == "cpu"
    assert said == ["backend cpu"]
    assert not cache.exists()  # nothing was converted


@pytest.mark.usefixtures("large")
def test_auto_prefers_openvino_for_the_unet_of_a_large_model(bundle, cache):
    openvino, said = pytest.importorskip("openvino"), []
    on_cpu = [name for name in BACKENDS if name in {*MIXES, "openvino", "cpu"}]
    backend = open_backend("auto", bundle, 1, on_cpu, said.append)
    assert backend.name == "openvino+mnn"
    assert f"unet on OpenVINO {openvino.__version__}; decoder, mask_branch on MNN {MNN}" in said[0]


@pytest.mark.usefixtures("large")
def test_auto_without_mnn_takes_onnxruntime_alone(bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "MNN", None)
    said = []
    backend = open_backend("auto", bundle, 1, candidates=("cpu+mnn", "cpu"), log=said.append)
    assert backend.name == "cpu"
    assert said[0].startswith("backend cpu (not cpu+mnn: MNN is not installed")


@pytest.mark.usefixtures("large")
@pytest.mark.usefixtures("any_operator")
def test_auto_where_a_graph_cannot_be_converted(plan_folder, edit_graph, cache):
    """ONNX Runtime knows the operator, MNN does not."""

    def change(model):
        model.opset_import.add(domain="com.microsoft", version=1)
        model.graph.node[-1].op_type, model.graph.node[-1].domain = "QuickGelu", "com.microsoft"

    edit_graph(change, "decoder.onnx")
    bundle, said = read_bundle(plan_folder), []
    backend = open_backend("auto", bundle, 1, candidates=("cpu+mnn", "cpu"), log=said.append)
    assert backend.name == "cpu"
    assert "MNN cannot convert it" in said[0]


def test_one_engine_does_not_continue_the_others_run(gen, cache):
    gen("--count", 2, "--backend", "cpu+mnn")
    record = json.loads((cache.parent / "out/run.json").read_text())
    assert record["settings"]["backend"] == record["backend"]["name"] == "cpu+mnn"
    assert "mask_branch on MNN" in record["backend"]["graphs"]
    assert "cpu+mnn" in gen("--count", 2, "--backend", "cpu", code=5)


@pytest.mark.parametrize(
    ("name", "module", "hint"),
    [
        ("cpu+mnn", "MNN", "pip install MNN"),
        ("cpu+mnn", "onnxruntime", "pip install onnxruntime"),
        ("openvino+mnn", "openvino", "pip install openvino"),
    ],
)
def test_without_a_package(name, module, hint, bundle, cache, monkeypatch):
    pytest.importorskip(module)
    assert mixed.missing(name) is None
    check_missing(name, module, hint, bundle, monkeypatch)
    assert hint in mixed.missing(name)


@pytest.mark.parametrize(("graph", "engine"), [("decoder", "mnn"), ("unet", "cpu")])
def test_a_failure_names_its_engine(graph, engine, bundle, cache):
    wrong = np.zeros((1, 7, 4, 4), np.float32)
    feeds = {**inputs(1), "timestep": np.zeros(1, np.int64), "sample": wrong, "latent": wrong}
    with pytest.raises(BackendError, match=f"{graph} failed on backend {engine}"):
        open_backend("cpu+mnn", bundle, 1).run(graph, feeds, ("image" if graph == "decoder" else "noise",))
