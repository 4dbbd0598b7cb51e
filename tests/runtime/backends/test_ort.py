import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from seas_runtime.backends import open_backend, ort
from seas_runtime.bundle.reader import read_bundle, write_manifest
from seas_runtime.errors import BackendError, DeviceMemoryError
from tests.runtime import small_bundle


def test_graphs_give_their_arithmetic(bundle):
    backend = open_backend("cpu", bundle, 1)
    rng = np.random.default_rng(0)
    sample, prompt = (
        rng.normal(size=(3, 2, 4, 4)).astype(np.float32),
        rng.normal(size=(3, 3, 5)).astype(np.float32),
    )
    time = np.array([0, 50, 99])
    taps = backend.run("unet", {"sample": sample, "timestep": time, "prompt": prompt}, ("noise", "up2", "up3"))
    for name, expected in zip(("noise", "up2", "up3"), small_bundle.unet(sample, time, prompt), strict=True):
        np.testing.assert_allclose(taps[name], expected, rtol=1e-5, atol=1e-6)
    (image,) = backend.run("decoder", {"latent": sample}, ("image",)).values()
    np.testing.assert_allclose(image, small_bundle.decoder(sample), rtol=1e-5, atol=1e-6)
    feeds = {"latent": sample, "up2": taps["up2"], "up3": taps["up3"]}
    (probability,) = backend.run("mask_branch", feeds, ("probability",)).values()
    np.testing.assert_allclose(probability, small_bundle.mask_branch(*feeds.values()), rtol=1e-5, atol=1e-6)


def test_only_what_is_asked_for_comes_back(bundle):
    feeds = {
        "sample": np.zeros((1, 2, 4, 4), np.float32),
        "timestep": np.zeros(1, np.int64),
        "prompt": np.zeros((1, 3, 5), np.float32),
    }
    assert list(open_backend("cpu", bundle, 1).run("unet", feeds, ("up3", "noise"))) == ["up3", "noise"]


def test_auto_without_a_gpu_takes_the_cpu_and_says_so(bundle):
    backend = open_backend("auto", bundle, 1, candidates=("cuda", "cpu"))
    assert backend.name == "cpu"
    assert backend.describe() == {
        "name": "cpu",
        "engine": f"onnxruntime {onnxruntime.__version__}",
        "precision": "fp32",
        "provider": "CPUExecutionProvider",
    }


def test_cuda_without_its_provider_or_device_names_the_hint(bundle, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(BackendError, match=r"pip install \"onnxruntime-gpu\[cuda,cudnn\]\"") as caught:
        open_backend("cuda", bundle)
    assert caught.value.exit_code == 4


@pytest.mark.usefixtures("any_operator")
def test_a_graph_that_the_engine_cannot_load(plan_folder, edit_graph):
    def change(model):
        model.graph.node[0].op_type = "NoSuchOperator"

    edit_graph(change)
    with pytest.raises(BackendError, match=r"unet\.onnx: backend cpu cannot load it") as caught:
        open_backend("cpu", read_bundle(plan_folder))
    assert "\n" not in caught.value.message


def test_a_graph_that_fails_at_work(plan_folder, edit_graph):
    def change(model):
        model.graph.node.insert(0, helper.make_node("Reshape", ["sample", "wrong"], ["unused"]))
        model.graph.node.append(helper.make_node("ReduceSum", ["unused"], ["zero"], keepdims=0))
        model.graph.node.append(helper.make_node("Add", ["noise", "zero"], ["sum"]))
        model.graph.initializer.append(small_bundle.ints("wrong", 7, 11))
        for node in model.graph.node:
            if node.op_type == "Sum":
                node.output[0] = "noise_before"
        model.graph.node[-1].input[0], model.graph.node[-1].output[0] = "noise_before", "noise"

    edit_graph(change)
    feeds = {
        "sample": np.zeros((1, 2, 4, 4), np.float32),
        "timestep": np.zeros(1, np.int64),
        "prompt": np.zeros((1, 3, 5), np.float32),
    }
    backend = open_backend("cpu", read_bundle(plan_folder))
    with pytest.raises(BackendError, match="unet failed on backend cpu") as caught:
        backend.run("unet", feeds, ("noise",))
    assert "\n" not in caught.value.message


class OutOfMemory:
    """A session on a device that is full, as ONNX Runtime words it."""

    def run(self, _names, _feeds):
        raise RuntimeError("BFCArena::AllocateRawInternal: Failed to allocate memory for requested buffer of size 9")


def test_a_full_device_is_an_error_of_its_own(bundle, monkeypatch):
    backend = open_backend("cpu", bundle, 1)
    monkeypatch.setitem(backend._sessions, "decoder", OutOfMemory())
    with pytest.raises(DeviceMemoryError, match="decoder failed on backend cpu") as caught:
        backend.run("decoder", {"latent": np.zeros((1, 2, 4, 4), np.float32)}, ("image",))
    assert caught.value.exit_code == 4


def test_cuda_runs_the_fp16_graphs_that_there_are(plan_folder, monkeypatch):
    """The CPU provider stands in for CUDA's; the "fp16" decoder is one that negates, so that it can be told apart."""
    monkeypatch.setitem(ort.PROVIDERS, "cuda", "CPUExecutionProvider")
    model = onnx.load(plan_folder / "decoder.onnx", load_external_data=False)
    model.graph.node[-1].op_type = "Neg"
    (plan_folder / "decoder16.onnx").write_bytes(model.SerializeToString())
    (plan_folder / "manifest.json").unlink()
    fields = small_bundle.manifest_fields()
    fields["graphs"]["decoder"]["files"]["fp16"] = "decoder16.onnx"
    write_manifest(plan_folder, fields)
    bundle = read_bundle(plan_folder)
    latent = np.random.default_rng(0).normal(size=(2, 2, 4, 4)).astype(np.float32)
    for name, sign, precision in (("cuda", -1, "fp16 fp32"), ("cpu", 1, "fp32")):
        backend = open_backend(name, bundle, 1)
        (image,) = backend.run("decoder", {"latent": latent}, ("image",)).values()
        np.testing.assert_allclose(image, sign * small_bundle.decoder(latent), rtol=1e-5, atol=1e-6)
        assert backend.describe()["precision"] == precision
