"""The packages of TensorRT and the GPU: missing, or there as far as this machine goes."""

import ctypes
import sys

import pytest
import tensorrt_rtx

from seas_runtime import device
from seas_runtime.backends.tensorrt import library
from seas_runtime.backends.tensorrt.build import build
from seas_runtime.device import Gpu
from seas_runtime.errors import BackendError, SettingsError
from tests.runtime.building import RTX, build_refused, seas_engine


@pytest.fixture
def module(monkeypatch):
    """Put something in the place of an installed module."""

    def put(name, stand_in):
        monkeypatch.setitem(sys.modules, name, stand_in)
        library.load.cache_clear()

    yield put
    library.load.cache_clear()


@pytest.mark.parametrize(("variant", "hint"), [("rtx", 'pip install "tensorrt-rtx-cu13'), ("tensorrt", 'pip install "tensorrt>=')])
def test_a_package_that_is_missing(plan_folder, module, variant, hint):
    module(library.PACKAGES[variant].module, None)
    build_refused(BackendError, plan_folder, "is not installed", hint, variant=variant)
    result = seas_engine("build", plan_folder, "--variant", variant)
    assert (result.exit_code, hint in result.output) == (4, True)
    (line,) = [line for line in seas_engine("doctor").output.splitlines() if line.startswith(variant)]
    assert hint in line


def test_tensorrt_wants_the_gpu_itself(plan_folder, module, monkeypatch):
    module("tensorrt", tensorrt_rtx)
    monkeypatch.setattr("seas_runtime.backends.tensorrt.build.current_gpu", lambda: None)
    build_refused(BackendError, plan_folder, "there is none here", "build --variant rtx", variant="tensorrt")
    monkeypatch.setattr("seas_runtime.backends.tensorrt.build.current_gpu", lambda: Gpu("sm90", "NVIDIA H100"))
    words = ("sm90 (NVIDIA H100)", "on a machine with sm80")
    build_refused(BackendError, plan_folder, *words, variant="tensorrt", gpus=["sm90", "sm80"])
    build_refused(SettingsError, plan_folder, "'foo'", "sm80 or sm90 expected", variant="tensorrt", gpus=["foo"])


@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX")
def test_a_tensorrt_build_as_far_as_its_sibling_stands_in(plan_folder, module, monkeypatch, tmp_path):
    """TensorRT-RTX has TensorRT's interface, with a timing cache that holds nothing."""
    module("tensorrt", tensorrt_rtx)
    monkeypatch.setattr("seas_runtime.backends.tensorrt.build.current_gpu", lambda: Gpu("sm90", "NVIDIA H100 80GB"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for _ in range(2):  # the second time with a timing cache to read
        engines = build(plan_folder, "tensorrt", batches=[1], replace=True)
        (cache,) = (tmp_path / "cache" / "seas").iterdir()
        assert cache.name == f"tensorrt-{RTX}-sm90-NVIDIA-H100-80GB.timing"
    facts = engines.facts
    assert (facts.name, facts.gpus, facts.device) == (f"tensorrt-{RTX}", ("sm90",), "NVIDIA H100 80GB")
    assert facts.graphs["unet"].settings.timing_cache
    assert "(NVIDIA H100 80GB)" in seas_engine("inspect", plan_folder).output


class Driver:
    """A CUDA driver with one GPU of compute capability 12.0; numbers as in cuda.h."""

    def __init__(self, status=0):
        self.status = status

    def __getattr__(self, name):
        def call(*arguments):
            if name == "cuDeviceGetAttribute":
                arguments[0]._obj.value = {75: 12, 76: 0}[arguments[1]]
            if name == "cuDeviceGetName":
                arguments[0].value = b"NVIDIA GeForce RTX 5090"
            return self.status

        return call


def test_what_a_driver_says(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: Driver())
    assert device.current_gpu() == Gpu("sm120", "NVIDIA GeForce RTX 5090")
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: Driver(100))
    assert device.current_gpu() is None


def test_a_machine_without_a_driver(monkeypatch):
    monkeypatch.setattr(device, "_DRIVER", "libno-driver.so.1")
    assert device.current_gpu() is None
