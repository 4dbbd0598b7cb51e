"""NVRTC for every supported GPU, launches against the real cuda.core, and every way to have no kernels."""

import inspect
import re
import sys
from unittest.mock import Mock, create_autospec

import numpy as np
import pytest

from seas_runtime.device import Gpu
from seas_runtime.errors import BackendError
from seas_runtime.kernels import loader

core = pytest.importorskip("cuda.core", reason="needs cuda-core")
GPUS = ("sm75", "sm80", "sm86", "sm89", "sm90", "sm100", "sm120")
STORAGES = ("float32", "float16")
EM_CUDA = 190  # the machine of a CUDA ELF file


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("gpu", GPUS)
def test_nvrtc_compiles_for(gpu, storage):
    code = loader.compile_kernels(gpu, storage)
    assert code.code_type == "cubin"
    assert code.code[:4] == b"\x7fELF"
    assert int.from_bytes(code.code[18:20], "little") == EM_CUDA
    assert set(code.symbol_mapping) == set(loader.kernel_names(storage))
    assert loader.compile_kernels(gpu, storage) is code


def ptx_of(storage):
    """The kernels' PTX with the loader's own options; cuda.core makes PTX only beside a driver."""
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc")

    def call(function, *arguments):
        error, *results = function(*arguments)
        assert error == nvrtc.nvrtcResult.NVRTC_SUCCESS
        return results[0] if results else None

    program = call(nvrtc.nvrtcCreateProgram, loader.SOURCE.read_bytes(), b"sampler.cu", 0, [], [])
    for name in loader.kernel_names(storage):
        call(nvrtc.nvrtcAddNameExpression, program, name.encode())
    options = loader._options("compute_75").as_bytes("nvrtc")
    call(nvrtc.nvrtcCompileProgram, program, len(options), options)
    text = b" " * call(nvrtc.nvrtcGetPTXSize, program)
    call(nvrtc.nvrtcGetPTX, program, text)
    return text.decode()


@pytest.mark.parametrize("storage", STORAGES)
def test_loads_and_stores_are_of_16_bytes_and_nothing_is_fused(storage):
    entries = {part.split("(")[0].strip(): part for part in ptx_of(storage).split(".entry ")[1:]}
    assert len(entries) == len(loader.kernel_names(storage))
    for name, body in entries.items():
        assert "fma." not in body
        assert ".local" not in body
        if "begin_step" not in name:
            assert re.search(r"ld\.global\.v4\.[fu]32", body)
        if "update" in name:
            assert re.search(r"st\.global\.v4\.[fu]32", body)


def parameters_in_cpp():
    """{kernel: {parameter: its type}} as sampler.cu declares them."""
    source = loader.SOURCE.read_text()
    kernels = re.findall(r"__global__ void (\w+)\(([^)]*)\)", source)
    split = {name: [part.split() for part in parameters.split(",")] for name, parameters in kernels}
    return {name: {words[-1]: " ".join(words[:-1]) for words in parts} for name, parts in split.items()}


SIZES = {
    "begin_step": {"steps": 25, "rows": 6},
    "update": {"count": 3 * 4 * 64 * 64, "halves": 2, "copies": 2},
    "to_pixels": {"n": 3, "plane": 512 * 512},
    "accumulate": {"count": 3 * 512 * 512},
    "threshold": {"count": 3 * 512 * 512, "steps": 3, "limit": 0.2},
}
# (grid, block) by hand: a thread has 16 bytes, a block 256 threads.
SHAPES = {
    "float32": {
        "begin_step": ((1, 1, 1), 1),
        "update": ((48, 1, 1), 256),
        "to_pixels": ((256, 3, 1), 256),
        "accumulate": ((768, 1, 1), 256),
        "threshold": ((768, 1, 1), 256),
    },
    "float16": {
        "begin_step": ((1, 1, 1), 1),
        "update": ((24, 1, 1), 256),
        "to_pixels": ((128, 3, 1), 256),
        "accumulate": ((384, 1, 1), 256),
        "threshold": ((384, 1, 1), 256),
    },
}


@pytest.fixture
def launched(monkeypatch):
    """What reaches cuda.core.launch, with the real function's signature."""
    calls, signature = [], inspect.signature(core.launch)

    def launch(*arguments):
        bound = signature.bind(*arguments).arguments
        assert isinstance(bound["config"], core.LaunchConfig)
        calls.append(bound)

    monkeypatch.setattr(core, "launch", launch)
    return calls


def object_code():
    """An ObjectCode of the real class whose kernels are their names."""
    code = create_autospec(core.ObjectCode, instance=True)
    code.get_kernel.side_effect = lambda name: inspect.signature(core.ObjectCode.get_kernel).bind(code, name) and name
    return code


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("name", SIZES)
def test_a_launch_is_what_the_kernel_declares(launched, storage, name):
    """Argument by argument: the keyword of that name, in the type that cuda.core passes as the declared one."""
    kernels, stream = loader.Kernels(object_code(), storage), Mock()
    declared = parameters_in_cpp()[name]
    buffers = {key: number for number, key in enumerate(declared, 1000) if declared[key].endswith("*")}
    getattr(kernels, name)(stream, **buffers, **SIZES[name])
    (call,) = launched
    assert call["stream"] is stream
    kernel = call["kernel"]
    assert kernel in loader.kernel_names(storage)
    assert re.match(r"\w+", kernel)[0] == name
    assert "<" not in kernel or {"float32": "<float", "float16": "<Half"}[storage] in kernel
    assert name != "update" or kernel.endswith(", 2, 2>")
    types = {"int": np.int32, "Long": np.int64, "float": np.float32}
    assert len(call["kernel_args"]) == len(declared)
    for argument, (key, kind) in zip(call["kernel_args"], declared.items(), strict=True):
        if kind.endswith("*"):
            assert argument == buffers[key]
        else:
            assert type(argument) is types[kind]
            assert argument == types[kind](SIZES[name][key])
    grid, block = SHAPES[storage][name]
    assert call["config"].grid == grid
    assert call["config"].block == (block, 1, 1)


def test_without_guidance_the_other_update_runs_and_huge_grids_are_cut(launched):
    kernels = loader.Kernels(object_code(), "float32")
    words = ["noise", "latents", "before", "step", "next_latents", "clean", "broken"]
    kernels.update(Mock(), **dict.fromkeys(words, 0), count=10**9, halves=1, copies=1)
    kernels.update(Mock(), **dict.fromkeys(words, 0), count=10**9, halves=1, copies=2)
    assert [call["kernel"] for call in launched] == ["update<float, 1, 1>", "update<float, 1, 2>"]
    assert launched[0]["config"].grid == (65536, 1, 1)


def test_the_gpu_of_the_process_is_compiled_for(monkeypatch):
    compiled = Mock(return_value=object_code())
    monkeypatch.setattr(loader, "current_gpu", lambda: Gpu("sm86", "NVIDIA RTX A4000"))
    monkeypatch.setattr(loader, "compile_kernels", compiled)
    assert isinstance(loader.load_kernels.__wrapped__("float16"), loader.Kernels)
    compiled.assert_called_once_with("sm86", "float16")


def test_no_gpu(monkeypatch):
    monkeypatch.setattr(loader, "current_gpu", lambda: None)
    with pytest.raises(BackendError, match=r"no NVIDIA GPU with a driver found; check nvidia-smi") as caught:
        loader.load_kernels("float32")
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("module", ["cuda.core", "cuda.pathfinder"])
def test_missing_packages(monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BackendError, match=r"not installed .*pip install .*cuda-core.*nvidia-cuda-nvrtc") as caught:
        loader.compile_kernels.__wrapped__("sm90", "float32")
    assert "\n" not in caught.value.message


def test_missing_nvrtc(monkeypatch):
    from cuda.pathfinder import DynamicLibNotFoundError

    monkeypatch.setattr(core, "Program", Mock(side_effect=DynamicLibNotFoundError("libnvrtc.so.13: No such file")))
    with pytest.raises(BackendError, match=r"NVRTC, CUDA's run-time compiler, is not installed; run: pip install"):
        loader.compile_kernels.__wrapped__("sm90", "float32")


@pytest.mark.parametrize("gpu", ["sm50", "sm999"])
def test_a_gpu_that_nvrtc_does_not_know(gpu):
    with pytest.raises(BackendError, match=rf"cannot compile sampler.cu for {gpu}: .*--upgrade") as caught:
        loader.compile_kernels(gpu, "float32")
    assert "\n" not in caught.value.message
    assert "\0" not in caught.value.message
