import subprocess
import sys

import numpy as np
import pytest

from seas_runtime.backends import backend_module, open_backend
from seas_runtime.backends.openvino import NO_BF16, OpenvinoBackend
from seas_runtime.backends.workers import CoreSplit
from seas_runtime.bundle.graphs import REQUIRED_GRAPHS
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.errors import BackendError
from tests.runtime.engine_checks import (
    TIMES,
    check_graphs,
    check_missing,
    check_parity,
    check_refuses_wrong_shapes,
    inputs,
    pairs,
)

openvino = pytest.importorskip("openvino")


def test_graphs_give_their_arithmetic(bundle):
    check_graphs(open_backend("openvino", bundle, 1))


def test_pairs_are_those_of_onnxruntime(bundle):
    check_parity(pairs(bundle, "openvino"), pairs(bundle, "cpu"))


def test_it_computes_in_fp32_with_the_threads_given(bundle):
    backend = open_backend("openvino", bundle, 1)
    model = backend._models["unet"]
    assert model.get_property("INFERENCE_NUM_THREADS") == 1
    assert model.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32
    assert backend.describe() == {
        "name": "openvino",
        "engine": f"OpenVINO {openvino.__version__}",
        "precision": "fp32",
        "device": "CPU",
    }


@pytest.mark.parametrize("workers", [1, 2])
def test_one_lane_gives_memory_back_before_another_graph(bundle, workers, monkeypatch):
    """With several another worker may be running the graph."""
    backend, released = OpenvinoBackend(bundle, CoreSplit(workers, 1)), []

    class Model:
        def __init__(self, graph):
            self.release_memory = lambda: released.append(graph)

    monkeypatch.setattr(backend, "_models", {graph: Model(graph) for graph in REQUIRED_GRAPHS})
    feeds = {**inputs(1), "timestep": TIMES[:1]}
    feeds["latent"] = feeds["sample"]
    for graph, output in (("unet", "noise"), ("unet", "noise"), ("decoder", "image"), ("unet", "noise")):
        backend.run(graph, feeds, (output,))
    assert released == (["unet", "decoder"] if workers == 1 else [])


def test_bf16_rounds_and_says_so(bundle):
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor does not compute in bf16")
    backend, plain = (open_backend(name, bundle, 1) for name in ("openvino-bf16", "openvino"))
    assert backend._models["unet"].get_property("INFERENCE_PRECISION_HINT") == openvino.Type.bf16
    assert (backend.name, backend.describe()["precision"]) == ("openvino-bf16", "bf16")
    feeds = {**inputs(3), "timestep": TIMES}
    found, exact = (one.run("unet", feeds, ("noise",))["noise"] for one in (backend, plain))
    assert found.dtype == np.float32
    assert 0 < np.linalg.norm(found - exact) / np.linalg.norm(exact) < 2**-6


def test_a_run_in_bf16_goes_on_in_it_and_never_begins_by_itself(gen, bundle, monkeypatch):
    """OpenVINO takes the hint of bf16 on every processor, and computes in fp32 where it has to."""
    monkeypatch.setattr("seas_runtime.backends.openvino._computes", lambda _core, _precision: True)
    gen("--count", 2, "--batch", 2, "--backend", "openvino-bf16")
    assert "backend openvino-bf16, as the run in this folder was begun with" in gen("--count", 4, "--batch", 2, "--backend", "auto")
    with pytest.raises(BackendError, match="no backend works here"):
        open_backend("auto", bundle, 1, candidates=("openvino-bf16",))


def test_bf16_on_a_processor_without_it(bundle, monkeypatch):
    monkeypatch.setattr("seas_runtime.backends.openvino._computes", lambda _core, precision: precision == "f32")
    assert backend_module("openvino").missing("openvino-bf16") == NO_BF16
    assert backend_module("openvino").missing("openvino") is None
    with pytest.raises(BackendError, match=r"does not compute in bf16 .*; use --backend openvino"):
        open_backend("openvino-bf16", bundle, 1)


FIRST_CALLS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np

from seas_runtime.backends.openvino import OpenvinoBackend
from seas_runtime.backends.workers import CoreSplit
from seas_runtime.bundle.reader import read_bundle

bundle = read_bundle(Path(sys.argv[1]))
backend, meeting = OpenvinoBackend(bundle, CoreSplit(4, 1), ("unet",)), Barrier(4)
specs = bundle.manifest.graphs["unet"].inputs
feeds = {spec.name: np.ones([n if isinstance(n, int) else 2 for n in spec.shape], spec.dtype) for spec in specs}
sys.setswitchinterval(1e-6)

def call(_):
    meeting.wait()
    return backend.run("unet", feeds, ("noise",))

with ThreadPoolExecutor(4) as pool:
    list(pool.map(call, range(4)))
"""


def test_first_calls_of_several_workers_do_not_wait_for_each_other(bundle):
    subprocess.run([sys.executable, "-c", FIRST_CALLS, bundle.path], check=True, timeout=100)


def test_wrong_shapes_are_refused(bundle):
    check_refuses_wrong_shapes(open_backend("openvino", bundle, 1))


@pytest.mark.usefixtures("any_operator")
def test_a_graph_that_it_does_not_know(plan_folder, edit_graph):
    def change(model):
        model.graph.node[0].op_type = "NoSuchOperator"

    edit_graph(change)
    with pytest.raises(BackendError, match=r"unet\.onnx: backend openvino cannot load it.*NoSuchOperator") as caught:
        open_backend("openvino", read_bundle(plan_folder))
    assert "\n" not in caught.value.message


def test_without_the_package(bundle, monkeypatch):
    assert backend_module("openvino").missing("openvino") is None
    check_missing("openvino", "openvino", "pip install openvino", bundle, monkeypatch)
    assert "pip install openvino" in backend_module("openvino").missing("openvino")
