"""No run tells anybody of itself: no network, and nothing in the user's home but what is documented."""

import sys
from pathlib import Path

import pytest

from seas_runtime import telemetry
from tests.runtime.building import BOTTLE
from tests.runtime.traces import run

GENERATE = "from seas_runtime.cli import generate; generate()"
DOCTOR = "from seas_runtime.engine_cli import engine; engine(['doctor'])"


@pytest.mark.parametrize("backend", ["cpu", "openvino"])
def test_generating_leaves_no_trace(pristine, tmp_path, backend):
    words = ("--engine", pristine, "--count", 1, "--backend", backend, "--out", tmp_path / "out")
    assert run(tmp_path, GENERATE, *words) == ([], [])


def test_a_converted_model_is_all_that_is_kept(tmp_path):
    words = ("--engine", BOTTLE, "--count", 1, "--steps", 1, "--backend", "cpu+mnn", "--out", tmp_path / "out")
    files, calls = run(tmp_path, GENERATE, *words)
    assert calls == []
    assert {str(Path(file).parent.parent.parent) for file in files} == {".cache/seas"}
    assert {Path(file).suffix for file in files} == {".mnn"}


def test_the_doctor_leaves_no_trace(tmp_path):
    assert run(tmp_path, DOCTOR) == ([], [])


@pytest.mark.parametrize("package", ["seas_runtime", "seas_train", "seas_export"])
def test_importing_a_package_is_enough_for_an_engine_that_is_loaded_after_it(tmp_path, package):
    assert run(tmp_path, f"import {package}, onnxruntime, openvino") == ([], [])


def test_a_program_that_has_loaded_the_reporting_package_keeps_it(monkeypatch):
    loaded = object()
    monkeypatch.setitem(sys.modules, "openvino_telemetry", loaded)
    telemetry.switch_off()
    assert sys.modules["openvino_telemetry"] is loaded
