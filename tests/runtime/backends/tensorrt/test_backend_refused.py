"""Native engines that cannot run here, each with its hint, and what auto takes instead."""

import json
import sys

import numpy as np
import pytest

from seas_runtime.backends import open_backend
from seas_runtime.backends.registry import BACKENDS, OF_CORE
from seas_runtime.backends.tensorrt import backend, library
from seas_runtime.backends.tensorrt.cuda import CudaDevice
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.device import Gpu
from seas_runtime.errors import BackendError, BundleError, DeviceMemoryError
from tests.runtime import small_bundle
from tests.runtime.engine_sets import CONTENTS, VERSION, description, write_set
from tests.runtime.stand_in_gpu import feeds, refused


def test_without_a_gpu_both_the_module_and_cuda_say_so(engines):
    error = refused(BackendError, lambda: open_backend("rtx", engines), "no NVIDIA GPU", "nvidia-smi")
    assert error.exit_code == 4
    refused(BackendError, CudaDevice, "opening the GPU failed", "driver", "--backend cpu")


@pytest.mark.parametrize(("variant", "module"), [("rtx", "tensorrt_rtx"), ("tensorrt", "tensorrt")])
def test_a_missing_package_is_named_with_its_hint(engines, monkeypatch, variant, module):
    monkeypatch.setitem(sys.modules, module, None)
    library.load.cache_clear()
    try:
        refused(BackendError, lambda: open_backend(variant, engines), "is not installed", "pip install")
    finally:
        library.load.cache_clear()


def test_missing_cuda_packages_are_named_with_their_hint(engines, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("cuda.core")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cuda.core", None)
    refused(BackendError, lambda: open_backend("rtx", engines), "CUDA packages", "pip install", "cuda-core")
    refused(BackendError, CudaDevice, "pip install", "cuda-core")


def test_a_bundle_without_engines(machine, bundle):
    message = f"no rtx engines found, rtx-{VERSION} expected; run: seas-engine build {bundle.path} --variant rtx"
    assert refused(BackendError, lambda: open_backend("rtx", bundle), message).exit_code == 4


def test_engines_of_another_version(machine, engines):
    folder = engines.path / "engines" / f"rtx-{VERSION}"
    folder.rename(folder.with_name("rtx-1.6.0.5"))
    words = ("engines rtx-1.6.0.5 found", f"rtx-{VERSION} expected", "seas-engine build")
    refused(BackendError, lambda: open_backend("rtx", engines), *words)


def test_engines_for_another_gpu(machine, engines, monkeypatch):
    monkeypatch.setattr(backend, "current_gpu", lambda: Gpu("sm90", "NVIDIA H100"))
    words = ("for sm86 sm120 found", "sm90 (NVIDIA H100) expected", "--gpu sm90 --replace")
    refused(BackendError, lambda: open_backend("rtx", engines), *words)


def test_tensorrt_engines_for_another_device_of_the_same_generation(machine, plan_folder):
    bundle = read_bundle(plan_folder)
    facts = description(bundle) | {"flavour": "tensorrt", "gpus": ["sm120"], "device": "NVIDIA RTX PRO 6000"}
    write_set(bundle, facts, f"tensorrt-{VERSION}")
    words = ("sm120 (NVIDIA RTX PRO 6000) found", "RTX 5090) expected", "--variant tensorrt --replace")
    refused(BackendError, lambda: open_backend("tensorrt", bundle), *words)


def test_damaged_engines_are_a_bundle_error(machine, engines):
    file = engines.path / "engines" / f"rtx-{VERSION}" / "decoder.engine"
    file.write_bytes(b"other!!")
    error = refused(BundleError, lambda: open_backend("rtx", engines), "another hash")
    assert error.exit_code == 3


def test_an_engine_that_tensorrt_does_not_load(machine, engines, monkeypatch):
    monkeypatch.setitem(CONTENTS, "decoder", b"not this one")
    words = ("loading decoder.engine failed", "magic tag mismatch", "--backend cpu")
    refused(BackendError, lambda: open_backend("rtx", engines), *words)


def test_the_real_library_refuses_what_is_no_engine(machine, engines, monkeypatch):
    monkeypatch.setattr(backend, "load", library.load)
    words = ("loading unet.engine failed", "Error Code 1", "--backend cpu")
    error = refused(BackendError, lambda: open_backend("rtx", engines), *words)
    assert error.exit_code == 4


def test_an_engine_with_other_tensors_than_the_manifest(machine, plan_folder, monkeypatch):
    bundle = read_bundle(plan_folder)
    facts, original = description(bundle), description(bundle)["graphs"]
    folder = write_set(bundle, facts)
    for graph, other in {"unet": "decoder", "decoder": "unet"}.items():
        (folder / f"{graph}.engine").write_bytes(CONTENTS[other])
        facts["graphs"][graph] |= {key: original[other][key] for key in ("bytes", "sha256")}
    (folder / "engines.json").write_text(json.dumps(facts))
    refused(BackendError, lambda: open_backend("rtx", bundle), "tensors", "not those of the manifest")


def test_a_run_that_tensorrt_refuses(machine, engines, monkeypatch):
    rtx = open_backend("rtx", engines)
    rtx.run("unet", feeds(2), ("noise",))
    ready = rtx._session._ready["unet", 2]
    monkeypatch.setattr(ready, "_capturable", False)
    monkeypatch.setattr(ready._context.inner, "execute_async_v3", lambda _stream: False)
    refused(BackendError, lambda: rtx.run("unet", feeds(2), ("noise",)), "unet: running failed", "--backend cpu")


def test_too_little_memory_is_an_error_of_its_own_and_leaves_the_backend_usable(machine, engines):
    rtx = open_backend("rtx", engines)
    rtx.run("unet", feeds(2), ("noise",))
    machine.limit = 5000
    error = refused(DeviceMemoryError, lambda: rtx.run("unet", feeds(8), ("noise",)), "out_of_memory".upper())
    assert error.exit_code == 4
    given = feeds(2, 3)
    (noise,) = rtx.run("unet", given, ("noise",)).values()
    np.testing.assert_allclose(noise, small_bundle.unet(*given.values())[0], rtol=1e-6)


# What auto takes.


def test_auto_takes_the_best_that_works_and_says_why(machine, engines):
    said = []
    assert open_backend("auto", engines, log=said.append).name == "rtx"
    (line,) = said
    assert line.startswith("backend rtx (not tensorrt: ")
    assert f"tensorrt-{VERSION} expected" in line


def test_auto_passes_over_what_does_not_fit_or_is_damaged(machine, engines):
    (engines.path / "engines" / f"rtx-{VERSION}" / "decoder.engine").write_bytes(b"other!!")
    said = []
    assert open_backend("auto", engines, 1, ("rtx", "cuda", "cpu"), said.append).name == "cpu"
    assert "another hash" in said[0]
    assert "cuda: " in said[0]
    assert "\n" not in said[0]


def test_auto_with_a_digest_keeps_to_what_the_digest_covers(machine, engines):
    said = []
    assert set(BACKENDS) - set(OF_CORE) == {"tensorrt", "rtx", "openvino+mnn", "cpu+mnn", "mnn"}
    assert open_backend("auto", engines, 1, OF_CORE, said.append).name not in ("tensorrt", "rtx")
    assert "rtx" not in said[0]
    assert open_backend("rtx", engines, candidates=OF_CORE).name == "rtx"
