"""Files that change between reading a bundle and opening it; results that are not what a bundle says."""

import numpy as np
import onnx
import pytest
from onnx import helper

from seas_runtime.backends import open_backend
from seas_runtime.backends.results import checked
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.bundle.verified import Weights
from seas_runtime.errors import BackendError, BundleError
from tests.runtime.small_bundle import CHANNELS, LENGTH, SIDE, WIDTH, unet

PATHS_ONLY = ["openvino", "mnn", "cpu+mnn", "openvino+mnn"]


def feeds():
    rng = np.random.default_rng(3)
    return {
        "sample": rng.normal(size=(2, CHANNELS, SIDE, SIDE)).astype(np.float32),
        "timestep": np.array([7, 90]),
        "prompt": rng.normal(size=(2, LENGTH, WIDTH)).astype(np.float32),
    }


def other_graph(folder, name="unet.onnx"):
    """A graph that computes something else, of the same tensors."""
    model = onnx.load(folder / name, load_external_data=False)
    model.graph.node[0].op_type = "Neg"
    del model.graph.node[0].input[1:]
    del model.graph.node[0].attribute[:]
    return model.SerializeToString()


def other_weights(folder):
    return bytes(len((folder / "weights.bin").read_bytes()))


SWAPS = {"unet.onnx": other_graph, "weights.bin": other_weights}


def swap(folder, name, *, in_place):
    data = SWAPS[name](folder)
    if in_place:
        (folder / name).write_bytes(data)
    else:
        (folder / "new").write_bytes(data)
        (folder / "new").replace(folder / name)


@pytest.mark.parametrize("in_place", [False, True])
def test_onnx_runtime_runs_the_graph_that_was_verified(plan_folder, in_place):
    bundle = read_bundle(plan_folder)
    swap(plan_folder, "unet.onnx", in_place=in_place)
    given = feeds()
    noise = open_backend("cpu", bundle, 1).run("unet", given, ("noise",))["noise"]
    np.testing.assert_allclose(noise, unet(**given)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("in_place", [False, True])
def test_weights_that_changed_are_refused(plan_folder, in_place):
    bundle = read_bundle(plan_folder)
    swap(plan_folder, "weights.bin", in_place=in_place)
    with pytest.raises(BundleError, match=r"weights\.bin: has changed since"):
        open_backend("cpu", bundle, 1)
    (plan_folder / "weights.bin").write_bytes(b"")
    with pytest.raises(BundleError, match=r"weights\.bin"):
        open_backend("cpu", bundle, 1)


def test_weights_replaced_while_graphs_are_opened_are_those_that_were_hashed(plan_folder):
    weights = Weights(read_bundle(plan_folder))
    before = {name: array.copy() for name, array in weights.arrays("unet", "fp32").items()}
    swap(plan_folder, "weights.bin", in_place=False)
    for name, array in weights.arrays("unet", "fp32").items():
        np.testing.assert_array_equal(array, before[name])
        assert not array.flags.writeable


@pytest.mark.parametrize(
    ("backend", "name"),
    [(backend, name) for backend in PATHS_ONLY for name in SWAPS if not (backend.startswith("cpu") and name == "unet.onnx")],
)  # ONNX Runtime opens the U-Net of cpu+mnn from memory
def test_an_engine_that_opens_paths_gets_files_that_were_hashed_again(plan_folder, cache, backend, name):
    bundle = read_bundle(plan_folder)
    swap(plan_folder, name, in_place=False)
    with pytest.raises(BundleError, match=r"another hash|has changed"):
        open_backend(backend, bundle, 1)
    assert not list(cache.rglob("*.mnn"))


@pytest.mark.parametrize("backend", ["cpu", "openvino"])
def test_a_result_of_another_shape_is_told_once_and_plainly(plan_folder, edit_graph, backend):
    """The file says nothing of an output's sides, and computes others than the manifest's."""

    def halve(model):
        for node in model.graph.node:
            node.output[:] = ["whole" if name == "up2" else name for name in node.output]
        model.graph.node.append(helper.make_node("AveragePool", ["whole"], ["up2"], kernel_shape=[2, 2], strides=[2, 2]))
        for dim in model.graph.output[1].type.tensor_type.shape.dim[2:]:
            dim.Clear()

    edit_graph(halve)
    opened = open_backend(backend, read_bundle(plan_folder), 1)
    with pytest.raises(BackendError, match=rf"unet on backend {backend} gives up2 another shape: \(2, 2, 1, 1\) found") as caught:
        opened.run("unet", feeds(), ("noise", "up2", "up3"))
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("result", "word"),
    [
        (np.zeros((3, CHANNELS, SIDE, SIDE), np.float32), "another shape"),
        (np.zeros((2, CHANNELS, SIDE), np.float32), "another shape"),
        (np.zeros((2, CHANNELS, SIDE, SIDE, 1), np.float32), "another shape"),
        (np.zeros((2, CHANNELS, SIDE, SIDE), np.int64), "int64, floats expected"),
        (np.zeros((), np.float32), "another shape"),
    ],
)
def test_results_are_compared_with_the_manifest(bundle, result, word):
    with pytest.raises(BackendError, match=word) as caught:
        checked("cpu", "unet", bundle.manifest.graphs["unet"], feeds(), {"noise": result})
    assert "\n" not in caught.value.message
    right = np.ones((2, CHANNELS, SIDE, SIDE), np.float16)
    assert checked("cpu", "unet", bundle.manifest.graphs["unet"], feeds(), {"noise": right})["noise"].dtype == np.float32
