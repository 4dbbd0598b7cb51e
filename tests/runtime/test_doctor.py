"""`seas-engine doctor`: what it says of this machine, and of one with a stand-in GPU."""

import ctypes
import sys

import pytest

from seas_runtime import device
from seas_runtime.backends.registry import BACKENDS
from seas_runtime.backends.tensorrt import backend, library
from seas_runtime.device import Gpu
from tests.runtime import stand_in_gpu
from tests.runtime.building import RTX, seas_engine
from tests.runtime.engine_sets import VERSION


def lines(*words):
    """The lines, by their first word."""
    result = seas_engine("doctor", *words)
    assert result.exit_code == 0, result.output
    found = {}
    for line in result.output.splitlines():
        key, _, rest = line.partition(" ")
        found.setdefault(key, []).append(rest.strip())
    return found


@pytest.fixture
def machine(monkeypatch, tmp_path):
    monkeypatch.setattr("seas_runtime.doctor.current_gpu", lambda: stand_in_gpu.DEVICE)
    monkeypatch.setattr("seas_runtime.doctor.driver_version", lambda: (13, 1))
    monkeypatch.setattr("seas_runtime.doctor.load", library.load)
    return stand_in_gpu.install(monkeypatch, tmp_path / "cache")


def test_a_machine_without_a_gpu(pristine, monkeypatch):
    monkeypatch.setattr(device, "_DRIVER", "libno-driver.so.1")
    told = lines(pristine)
    assert told["gpu"] == ["none, or no NVIDIA driver"]
    assert told["driver"] == ["none"]
    assert told["cpu"] == ["ready"]
    for name in ("rtx", "cuda"):
        assert told[name] == [device.NO_GPU]
    assert "pip install" in told["tensorrt"][0]
    assert f"rtx: TensorRT-RTX {RTX}, needs no GPU" in told["build"]
    assert f"tensorrt-rtx-cu13 {RTX}" in told["package"]
    assert told["engines"] == [f"none in {pristine}"]
    assert "fit" not in told
    assert set(BACKENDS) <= set(told)


def test_a_machine_with_a_gpu_and_engines_that_fit(machine, plan_folder):
    stand_in_gpu.with_engines(plan_folder)
    told = lines(plan_folder)
    assert told["gpu"] == ["sm120, NVIDIA GeForce RTX 5090"]
    assert told["driver"] == ["CUDA 13.1"]
    assert told["rtx"] == ["ready"]
    assert f"rtx: rtx-{VERSION} fits" in told["fit"]
    assert told["engines"][0].startswith(f"rtx-{VERSION}: sm86 sm120, fp32, batches 1 4")


def test_engines_that_do_not_fit_have_a_hint(machine, plan_folder, monkeypatch):
    bundle = stand_in_gpu.with_engines(plan_folder)
    monkeypatch.setattr("seas_runtime.doctor.current_gpu", lambda: Gpu("sm89", "NVIDIA L4"))
    (fit,) = [line for line in lines(plan_folder)["fit"] if line.startswith("rtx")]
    assert f"run: seas-engine build {bundle.path} --variant rtx --gpu sm89 --replace" in fit
    (plan_folder / "engines" / f"rtx-{VERSION}" / "unet.engine").write_bytes(b"x")
    told = lines(plan_folder)
    assert "unfit: unet.engine has 1 bytes, 700 expected" in told["engines"][0]
    (fit,) = [line for line in told["fit"] if line.startswith("rtx")]
    assert "700 expected" in fit


def test_a_driver_too_old_for_the_packages(machine, monkeypatch):
    monkeypatch.setattr(backend, "driver_version", lambda: (12, 8))
    (told,) = lines()["rtx"]
    assert "CUDA up to 12.8, 13.0 expected; update it to 580" in told


def test_a_package_that_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    library.load.cache_clear()
    try:
        told = lines()
    finally:
        library.load.cache_clear()
    assert 'pip install "tensorrt-rtx-cu13' in told["rtx"][0]
    assert any("is not installed" in line for line in told["build"] if line.startswith("rtx"))


def test_a_bad_bundle(tmp_path):
    result = seas_engine("doctor", tmp_path / "none.plan")
    assert result.exit_code == 3
    assert "no such bundle folder" in result.output


class Driver:
    def __init__(self, status):
        self.status = status

    def cuDriverGetVersion(self, version):  # noqa: N802  # the driver's name
        version._obj.value = 12080
        return self.status


def test_the_version_that_a_driver_says(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: Driver(0))
    assert device.driver_version() == (12, 8)
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: Driver(3))
    assert device.driver_version() is None

    def none(_name):
        raise OSError("not found")

    monkeypatch.setattr(ctypes, "CDLL", none)
    assert device.driver_version() is None
