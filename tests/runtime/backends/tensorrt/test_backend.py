"""Native engines: what is called, in which order, with which memory; what is chosen and refused.

`machine` stands in for a GPU (see `stand_in_gpu`); test_backend_gpu.py runs on a real one.
"""

import shutil

import numpy as np
import pytest
import tensorrt_rtx

from seas_runtime.backends import open_backend
from seas_runtime.backends.tensorrt import library as variants
from seas_runtime.backends.tensorrt.compiler import Source, compile_graph
from seas_runtime.backends.tensorrt.engine_set import BuildSettings, Profile
from seas_runtime.backends.tensorrt.jit_cache import JitCache, cache_file
from seas_runtime.errors import BackendError
from tests.runtime import small_bundle
from tests.runtime.stand_in_gpu import SCRATCH, feeds, refused
from tests.runtime.strict import Strict

PREPARE = [
    "create_execution_context",
    "set_optimization_profile_async",
    "set_device_memory",
    *["set_input_shape"] * 3,
    *["set_tensor_address"] * 6,
    "infer_shapes",
    *["get_tensor_shape"] * 3,
]
CAPTURE = [
    "is_stream_capturable",
    "create_graph_builder",
    "begin_building",
    "execute_async_v3",
    "end_building",
    "complete",
    "close",
]


def test_graphs_give_their_arithmetic_at_every_number_of_rows(machine, engines):
    rtx = open_backend("rtx", engines)
    for seed, rows in enumerate((2, 8, 1, 5, 8, 8, 3)):  # memory grows, captured runs are replayed
        given = feeds(rows, seed)
        taps = rtx.run("unet", given, ("noise", "up2", "up3"))
        for name, expected in zip(("noise", "up2", "up3"), small_bundle.unet(*given.values()), strict=True):
            np.testing.assert_allclose(taps[name], expected, rtol=1e-6)
    latent = feeds(3, 9)["sample"]
    (image,) = rtx.run("decoder", {"latent": latent}, ("image",)).values()
    np.testing.assert_allclose(image, small_bundle.decoder(latent), rtol=1e-6)
    branch = {"latent": latent, "up2": taps["up2"], "up3": taps["up3"]}
    (probability,) = rtx.run("mask_branch", branch, ("probability",)).values()
    np.testing.assert_allclose(probability, small_bundle.mask_branch(*branch.values()), rtol=1e-6)
    assert probability.dtype == np.float32


def test_one_shape_is_set_up_once_run_plainly_once_then_captured_and_replayed(machine, engines):
    rtx = open_backend("rtx", engines)
    runs = []
    for _ in range(4):
        machine.calls.clear()
        rtx.run("unet", feeds(4), ("noise",))
        memory = {"allocate", "sync", "copy_to", "get_device_memory_size_for_profile_v2"}
        runs.append([name for name in machine.calls if name not in memory])
    stored = ["serialize"]
    assert runs == [[*PREPARE, "execute_async_v3", *stored], [*CAPTURE, "launch"], ["launch"], ["launch"]]


@pytest.mark.parametrize("lever", ["capturable", "refuse_capture"])
def test_runs_stay_plain_where_capture_is_refused(machine, engines, lever):
    setattr(machine, lever, lever == "refuse_capture")
    rtx = open_backend("rtx", engines)
    for seed in range(4):
        given = feeds(2, seed)
        (noise,) = rtx.run("unet", given, ("noise",)).values()
        np.testing.assert_allclose(noise, small_bundle.unet(*given.values())[0], rtol=1e-6)
    assert machine.calls.count("execute_async_v3") == 4
    assert "launch" not in machine.calls
    asked = "is_stream_capturable" if lever == "capturable" else "begin_building"
    assert machine.calls.count(asked) == 1


def test_memory_is_taken_once_for_the_largest_batch_and_shared(machine, engines):
    rtx = open_backend("rtx", engines)
    rtx.run("unet", feeds(8), ("noise",))
    latent = 4 * 2 * 4 * 4  # bytes of one row, float32
    unet = [8 * latent, 8 * 8, 8 * 4 * 3 * 5, 8 * latent, 8 * 4 * 2 * 2 * 2, 8 * latent, SCRATCH["unet"][1]]
    assert sorted(machine.allocated) == sorted(unet)
    taken = len(machine.allocated)
    rtx.run("unet", feeds(2), ("noise",))
    latents = feeds(4)["sample"]
    branch = {"latent": latents, "up2": np.zeros((4, 2, 2, 2), np.float32), "up3": latents}
    rtx.run("mask_branch", branch, ("probability",))
    assert machine.allocated[taken:] == [4 * 4 * 8 * 8]  # the probability; the rest is the U-Net's
    rtx.run("decoder", {"latent": latents}, ("image",))
    assert machine.allocated[taken + 1 :] == [4 * 4 * 3 * 8 * 8]


def test_outputs_nobody_asked_for_stay_on_the_gpu(machine, engines):
    rtx = open_backend("rtx", engines)
    given = feeds(2)
    assert list(rtx.run("unet", given, ("up2",))) == ["up2"]
    up = [values.nbytes for values in given.values()]
    assert machine.copied == [*up, 4 * 2 * 2 * 2 * 2]


def test_the_profile_is_the_one_that_takes_the_rows(machine, engines, monkeypatch):
    chosen = []
    original = Strict.__getattr__

    def spy(self, name):
        value = original(self, name)
        if name != "set_optimization_profile_async":
            return value
        return lambda index, stream: (chosen.append(index), value(index, stream))[1]

    monkeypatch.setattr(Strict, "__getattr__", spy)
    rtx = open_backend("rtx", engines)
    for rows in (1, 2, 3, 8):
        rtx.run("unet", feeds(rows), ("noise",))
    assert chosen == [0, 0, 1, 1]
    error = refused(BackendError, lambda: rtx.run("unet", feeds(9), ("noise",)), "at most 8", "smaller --batch")
    assert error.exit_code == 4


def test_what_it_says_of_itself(machine, engines):
    assert open_backend("rtx", engines).describe() == {
        "name": "rtx",
        "engine": f"TensorRT-RTX {tensorrt_rtx.__version__}",
        "precision": "fp32",
        "device": "NVIDIA GeForce RTX 5090 (sm120)",
        "loop": "device",
    }


def test_jit_strategy_never_changes_kernels_between_runs(machine, engines):
    rtx = open_backend("rtx", engines)
    config = rtx._session._engines["unet"]._config.inner
    strategies = tensorrt_rtx.DynamicShapesKernelSpecializationStrategy
    assert config.dynamic_shapes_kernel_specialization_strategy == strategies.EAGER
    assert config.cuda_graph_strategy == tensorrt_rtx.CudaGraphStrategy.DISABLED


def stored(engines):
    return cache_file(tensorrt_rtx.__version__, "sm120", engines.manifest.digest)


def test_compiled_kernels_serve_the_next_start(machine, engines):
    open_backend("rtx", engines).run("unet", feeds(2), ("noise",))
    assert stored(engines).read_bytes() == b"jitunet"
    assert engines.path not in stored(engines).parents
    rtx = open_backend("rtx", engines)
    assert machine.caches[-1].content == b"jitunet"
    rtx.run("decoder", {"latent": feeds(1)["sample"]}, ("image",))
    assert stored(engines).read_bytes().startswith(b"jitunet")
    assert len(machine.caches) == 2  # one for all graphs of a start


def test_a_cache_that_is_damaged_or_cannot_be_written_only_costs_time(machine, engines):
    stored(engines).parent.mkdir(parents=True)
    stored(engines).write_bytes(b"nonsense")
    open_backend("rtx", engines).run("unet", feeds(2), ("noise",))
    assert stored(engines).read_bytes() == b"jitunet"
    shutil.rmtree(stored(engines).parent)
    stored(engines).parent.write_text("a file where the folder should be")
    open_backend("rtx", engines).run("unet", feeds(2), ("noise",))


def test_a_user_without_a_home_has_no_cache(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pathlib.Path.home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert cache_file("1", "sm86", "ab") is None
    JitCache(None).save()


def test_engines_are_built_so_that_their_runs_can_be_captured(engines):
    """The flag is asked of the configuration that the real builder was given."""
    real, used = variants.load("rtx"), []

    class Builder:
        def __init__(self, log):
            self.real = real.trt.Builder(log)

        def __getattr__(self, name):
            return getattr(self.real, name)

        def build_serialized_network(self, network, config):
            used.append(config.get_flag(real.trt.BuilderFlag.REQUIRE_USER_ALLOCATION))
            return self.real.build_serialized_network(network, config)

    class Module:
        def __getattr__(self, name):
            return Builder if name == "Builder" else getattr(real.trt, name)

    graph = engines.manifest.graphs["decoder"]
    source = Source("decoder", engines.graph_path("decoder"), graph.inputs)
    settings = BuildSettings(strongly_typed=True, refit=False, tf32=False, timing_cache=False)
    library = variants.Library("rtx", Module(), real.logger)
    assert compile_graph(library, source, [Profile(min=1, opt=1, max=1)], ["sm89"], settings) is not None
    assert used == [True]
