"""Native engines of the shipped bundle on a GPU against the CPU; run with -m gpu."""

import shutil
import subprocess

import numpy as np
import pytest

import seas_runtime
from seas_runtime.backends import BatchBackend, open_backend
from seas_runtime.backends.tensorrt import backend, library
from seas_runtime.backends.tensorrt.build import build
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.device import Gpu, current_gpu
from seas_runtime.errors import BackendError
from tests.runtime.building import BOTTLE
from tests.runtime.engine_checks import every

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def variant():
    device = current_gpu()
    assert device is not None, "-m gpu needs a GPU with a driver"
    return "rtx" if device.capability in library.load("rtx").gpus else "tensorrt"


@pytest.fixture(scope="module")
def bundle(variant, tmp_path_factory):
    """The shipped bundle with engines for this GPU; TensorRT's builder may keep timings in a cache of its own."""
    folder = tmp_path_factory.mktemp("gpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        plan = shutil.copytree(BOTTLE, folder / "bottle.plan")
        build(plan, variant, [current_gpu().capability], [1, 4])
        yield read_bundle(plan)


def test_the_gpu_is_the_one_that_nvidia_smi_names():
    query = ["nvidia-smi", "--query-gpu=compute_cap,name", "--format=csv,noheader"]
    said = subprocess.run(query, capture_output=True, check=True, text=True).stdout
    capability, name = said.splitlines()[0].split(", ")
    assert current_gpu() == Gpu("sm" + capability.replace(".", ""), name)


def relative_error(got, expected):
    return np.linalg.norm(got - expected) / np.linalg.norm(expected)


def test_every_graph_agrees_with_the_cpu_at_every_number_of_rows(bundle, variant):
    ours, cpu = open_backend(variant, bundle), open_backend("cpu", bundle)
    geometry, rng = bundle.manifest.geometry, np.random.default_rng(0)
    side = (geometry.latent_channels, geometry.latent_size, geometry.latent_size)
    for rows in (2, 4, 3, 4, 4):
        latents = rng.normal(size=(rows, *side)).astype(np.float32)
        given = {
            "sample": latents,
            "timestep": np.full(rows, 300),
            "prompt": np.repeat(bundle.conditioning.empty[None], rows, axis=0),
        }
        names = ("noise", "up2", "up3")
        expected = cpu.run("unet", given, names)
        taps = {"latent": latents, "up2": expected["up2"], "up3": expected["up3"]}
        wanted = {"unet": (given, names), "decoder": ({"latent": latents}, ("image",))}
        wanted["mask_branch"] = (taps, ("probability",))
        for graph, (feeds, outputs) in wanted.items():
            got, right = ours.run(graph, feeds, outputs), cpu.run(graph, feeds, outputs)
            for name in outputs:
                assert relative_error(got[name], right[name]) < 2e-2, (graph, name, rows)
    assert all(engine._graph is not None for key, engine in ours._session._ready.items() if key[1] == 4)


def pairs(bundle, name, loop=None):
    generator = seas_runtime.open(bundle, name)
    assert loop is None or isinstance(generator.backend, BatchBackend) == (loop == "device")
    return every(generator, count=6, seed=1, mask_steps=3)


def test_pairs_are_the_same_bits_on_both_loops_and_starts_and_close_to_the_cpus(bundle, variant, monkeypatch):
    device, again = pairs(bundle, variant, "device"), pairs(bundle, variant, "device")

    def none(_storage):
        raise BackendError("no kernels")

    monkeypatch.setattr(backend, "load_kernels", none)
    host, cpu = pairs(bundle, variant, "host"), pairs(bundle, "cpu")
    for one, *others in zip(device, again, host, strict=True):
        for other in others:
            np.testing.assert_array_equal(one.image, other.image)
            np.testing.assert_array_equal(one.mask, other.mask)
    errors = [np.mean((a.image.astype(float) - b.image) ** 2) for a, b in zip(device, cpu, strict=True)]
    assert np.median(10 * np.log10(255**2 / np.maximum(errors, 1e-9))) > 30
    masks = [(a.mask > 0, b.mask > 0) for a, b in zip(device, cpu, strict=True)]
    overlaps = [(a & b).sum() / max(1, (a | b).sum()) for a, b in masks if (a | b).any()]
    assert np.median(overlaps) > 0.95
