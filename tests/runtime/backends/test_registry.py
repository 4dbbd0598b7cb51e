"""What is said of backends before they are loaded is true, and said elsewhere in the same words."""

import re
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from seas_runtime.backends import open_backend
from seas_runtime.backends.registry import BACKENDS, CUDA, OF_CORE, PACKAGES, BackendSpec, install
from seas_runtime.errors import SettingsError

ROOT = Path(__file__).parents[3]


def extras():
    """The requirements of every extra of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {requirement.split(";")[0] for group in project["optional-dependencies"].values() for requirement in group}


def name_of(requirement):
    return re.split(r"[\[<>=~!]", requirement)[0]


@pytest.mark.parametrize("spec", BACKENDS.values(), ids=BACKENDS)
def test_a_backend_has_its_module_and_its_packages_are_in_an_extra(spec):
    assert find_spec(f"seas_runtime.backends.{spec.module}") is not None
    given = {name_of(requirement): requirement for requirement in extras()}
    for requirement, package in zip(spec.requires, spec.packages, strict=True):
        assert package == name_of(requirement)
        assert package in given
        if re.search(r"[<>]", requirement):  # a range is that of pyproject.toml
            assert requirement == given[package]


def test_names_are_those_of_the_keys_and_lists_are_made_of_them():
    assert all(name == spec.name for name, spec in BACKENDS.items())
    assert OF_CORE == ("cuda", "openvino", "cpu", "openvino-bf16")
    assert len(PACKAGES) == len(set(PACKAGES)) == 9


def test_hints_are_commands():
    assert BACKENDS["cpu"].hint == "pip install onnxruntime"
    assert BACKENDS["openvino+mnn"].hint == "pip install openvino MNN"
    assert BACKENDS["cuda"].hint == 'pip uninstall -y onnxruntime && pip install "onnxruntime-gpu[cuda,cudnn]"'
    assert install(*CUDA) == 'pip install "cuda-core>=1.2,<2" "cuda-bindings>=13,<14" "nvidia-cuda-nvrtc>=13,<14"'
    assert BackendSpec("x", "x", ("a-b[c,d]>=1", "e")).packages == ("a-b", "e")


def test_a_name_that_no_backend_has(bundle):
    with pytest.raises(SettingsError, match="backend 'tpu' found, one of auto, tensorrt, "):
        open_backend("tpu", bundle)
