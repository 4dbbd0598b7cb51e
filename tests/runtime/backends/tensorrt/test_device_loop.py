"""`seas-gen --backend rtx` on the stand-in GPU: the same pairs as on the CPU, and what happens when the GPU gives up."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import seas_runtime
from seas_runtime.backends import BatchBackend
from seas_runtime.backends.tensorrt import backend
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.errors import BackendError
from tests.runtime import stand_in_gpu
from tests.runtime.engine_checks import every
from tests.runtime.stand_in_gpu import Context


@pytest.fixture(params=["device", "host"])
def machine(request, monkeypatch, tmp_path):
    """The sampler's loop runs on the GPU, or on the host where there are no kernels."""
    it = stand_in_gpu.install(monkeypatch, tmp_path / "cache")
    if request.param == "host":
        monkeypatch.setattr(backend, "load_kernels", no_kernels)
    it.loop = request.param
    return it


def no_kernels(_storage):
    raise BackendError("NVRTC is not installed; run: pip install it")


@pytest.fixture
def plan(plan_folder, machine):
    stand_in_gpu.with_engines(plan_folder)
    return plan_folder


def pictures(folder):
    return {str(path.relative_to(folder)): np.asarray(Image.open(path)).astype(int) for path in sorted(Path(folder).rglob("*.png"))}


def same_pictures(folder, other):
    """Within one grey level: the two engines round differently."""
    ours, theirs = pictures(folder), pictures(other)
    assert list(ours) == list(theirs)
    assert max(np.abs(ours[name] - theirs[name]).max() for name in ours) <= 1


@pytest.mark.parametrize(
    ("guidance", "interval", "mask_steps"),
    [(2.5, None, 3), (1.0, None, 1), (4.0, None, 6), (2.5, (0.4, 0.7), 3), (3.0, (0.2, 0.4), 6)],
)
def test_both_loops_give_the_same_bits(plan, machine, monkeypatch, guidance, interval, mask_steps):
    bundle = read_bundle(plan)
    made = []
    for _ in range(2):
        rtx = seas_runtime.open(bundle, "rtx")
        assert isinstance(rtx.backend, BatchBackend) == (rtx.backend.describe()["loop"] == "device")
        made.append(
            every(rtx, count=7, seed=3, batch=3, steps=6, guidance=guidance, guidance_interval=interval, mask_steps=mask_steps)
        )
        monkeypatch.setattr(backend, "load_kernels", no_kernels)
    for one, other in zip(*made, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.mask, other.mask)
    assert {sample.mask.max() for sample in made[0]} == {255}


@pytest.mark.parametrize("machine", ["device"], indirect=True)
def test_nothing_leaves_the_gpu_before_the_pixels(plan, machine):
    every(seas_runtime.open(plan, "rtx"), count=2, seed=3, steps=5, guidance=2.0, mask_steps=2)
    up = [2 * 2 * 2 * 4 * 4 * 4, 2 * 2 * 3 * 5 * 4, 5 * 6 * 4, 5 * 8]  # sample, prompts, table, timesteps
    down = [2 * 8 * 8 * 3, (1 + 2) * 2 * 8 * 8, 4]  # pixels, masks of both steps together and of each, the flag
    assert machine.copied == up + down


def test_the_pairs_are_those_of_the_cpu(gen, plan, machine, tmp_path):
    gen("--count", 7, "--backend", "rtx", plan=plan, out="rtx")
    gen("--count", 7, plan=plan, out="cpu")
    same_pictures(tmp_path / "rtx", tmp_path / "cpu")
    record = json.loads((tmp_path / "rtx" / "run.json").read_text())
    assert record["settings"]["backend"] == "rtx"
    assert record["backend"]["loop"].startswith(machine.loop)
    assert record["backend"]["device"] == "NVIDIA GeForce RTX 5090 (sm120)"


def test_auto_is_explained_and_quiet_is_quiet(gen, plan):
    assert "backend rtx\n" in gen("--count", 1, "--backend", "auto", plan=plan)
    assert "backend rtx (not tensorrt: " in gen("--count", 2, "--backend", "auto", "--verbose", plan=plan, out="verbose")
    assert gen("--count", 4, "--backend", "auto", "--quiet", plan=plan) == ""


def test_with_a_digest_auto_leaves_engines_alone_and_their_name_does_not(gen, plan):
    digest = read_bundle(plan).manifest.digest
    said = gen("--count", 2, "--backend", "auto", "--expect", digest, plan=plan, out="auto")
    (line,) = (line for line in said.splitlines() if line.startswith("backend "))
    assert "rtx" not in line
    gen("--count", 2, "--backend", "rtx", "--expect", digest, plan=plan, out="named")


@pytest.mark.parametrize("limit", [8000, 9500])
def test_a_gpu_too_small_for_the_batch_makes_halves_of_the_same_noise(gen, plan, machine, tmp_path, limit):
    machine.limit = limit
    said = gen("--count", 8, "--guidance", 1, "--batch", 4, "--backend", "rtx", plan=plan, out="rtx")
    assert said.count("4 pairs at once do not fit, 2 at once from here on") == 1
    gen("--count", 8, "--guidance", 1, "--batch", 4, plan=plan, out="cpu")
    same_pictures(tmp_path / "rtx", tmp_path / "cpu")


def test_a_gpu_too_small_for_half_a_batch_ends_in_one_line(gen, plan, machine):
    machine.limit = 900
    said = gen("--count", 8, "--batch", 4, "--backend", "rtx", plan=plan, code=4)
    assert "OUT_OF_MEMORY" in said
    assert "smaller --batch" in said


def test_a_batch_above_the_engines_names_the_hint(gen, plan):
    said = gen("--count", 9, "--batch", 5, "--backend", "rtx", plan=plan, code=4)
    assert "unet.engine: 10 rows asked for, at most 8 built" in said
    assert "smaller --batch" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("failure", ["refuses", "gives NaN"])
def test_pairs_finished_before_a_failure_are_kept(gen, plan, monkeypatch, tmp_path, failure):
    runs = []
    original = Context.compute

    def compute(self):
        runs.append(self.graph)
        if self.graph != "unet" or runs.count("unet") <= 10:  # two batches of five steps
            return original(self)
        if failure == "refuses":
            raise RuntimeError("CUDA_ERROR_ILLEGAL_ADDRESS: something went wrong")
        stand_in_gpu.at(self.addresses["noise"], self.shapes["sample"], np.float32)[...] = np.nan
        return None

    monkeypatch.setattr(Context, "compute", compute)
    words = ("--count", 12, "--batch", 2, "--backend", "rtx", "--retries", 0, "--max-area", 1)
    said = gen(*words, plan=plan, out="rtx", code=4)
    assert ("ILLEGAL_ADDRESS" if failure == "refuses" else "NaN or infinity") in said
    monkeypatch.setattr(Context, "compute", original)
    kept = len(pictures(tmp_path / "rtx"))
    assert kept == 8
    gen(*words, plan=plan, out="rtx")
    assert len(pictures(tmp_path / "rtx")) == 24
