"""`seas-gen --backend rtx` on the stand-in GPU: the same pairs as on the CPU, and what happens when the GPU gives up."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seas_runtime.bundle import read_bundle

from . import stand_in_gpu
from .stand_in_gpu import Context


@pytest.fixture
def machine(monkeypatch, tmp_path):
    return stand_in_gpu.install(monkeypatch, tmp_path / "cache")


@pytest.fixture
def plan(plan_folder, machine):
    stand_in_gpu.with_engines(plan_folder)
    return plan_folder


def pictures(folder):
    return {
        str(path.relative_to(folder)): np.asarray(Image.open(path)).astype(int)
        for path in sorted(Path(folder).rglob("*.png"))
    }


def same_pictures(folder, other):
    """Within one grey level: the two engines round differently."""
    ours, theirs = pictures(folder), pictures(other)
    assert list(ours) == list(theirs)
    assert max(np.abs(ours[name] - theirs[name]).max() for name in ours) <= 1


def test_the_pairs_are_those_of_the_cpu(gen, plan, tmp_path):
    gen("--count", 7, "--backend", "rtx", plan=plan, out="rtx")
    gen("--count", 7, plan=plan, out="cpu")
    same_pictures(tmp_path / "rtx", tmp_path / "cpu")
    record = json.loads((tmp_path / "rtx" / "run.json").read_text())
    assert record["settings"]["backend"] == "rtx"
    assert record["backend"]["device"] == "NVIDIA GeForce RTX 5090 (sm120)"


def test_auto_is_explained_and_quiet_is_quiet(gen, plan):
    assert "backend rtx (not tensorrt: " in gen("--count", 2, "--backend", "auto", plan=plan)
    assert gen("--count", 4, "--backend", "auto", "--quiet", plan=plan) == ""


def test_with_a_digest_auto_leaves_engines_alone_and_their_name_does_not(gen, plan):
    digest = read_bundle(plan).manifest.digest
    said = gen("--count", 2, "--backend", "auto", "--expect", digest, plan=plan, out="auto")
    (line,) = (line for line in said.splitlines() if line.startswith("backend "))
    assert "rtx" not in line
    gen("--count", 2, "--backend", "rtx", "--expect", digest, plan=plan, out="named")


@pytest.mark.parametrize("limit", [4100, 5200])
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


def test_a_batch_above_the_engines_names_the_mend(gen, plan):
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
        if runs.count("unet") <= 10:  # two batches of five steps
            return original(self)
        if failure == "refuses":
            raise RuntimeError("CUDA_ERROR_ILLEGAL_ADDRESS: something went wrong")
        stand_in_gpu.at(self.addresses["noise"], self.shapes["sample"], np.float32)[...] = np.nan
        return None

    monkeypatch.setattr(Context, "compute", compute)
    words = ("--count", 12, "--batch", 2, "--backend", "rtx", "--retries", 0, "--max-area", 1)
    said = gen(*words, plan=plan, out="rtx", code=4)
    assert ("ILLEGAL_ADDRESS" if failure == "refuses" else "NaN or infinity in 'noise'") in said
    monkeypatch.setattr(Context, "compute", original)
    kept = len(pictures(tmp_path / "rtx"))
    assert kept == 8
    gen(*words, plan=plan, out="rtx")
    assert len(pictures(tmp_path / "rtx")) == 24
