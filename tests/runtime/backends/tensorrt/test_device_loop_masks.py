"""The loop on the stand-in GPU: each pair's own threshold, the masks of each step, normal images, kept backgrounds."""

import numpy as np
import pytest

import seas_runtime
from seas_runtime import Options
from seas_runtime.backends import BatchBackend
from seas_runtime.backends.tensorrt import backend
from seas_runtime.backends.workers import Workers
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.errors import BackendError
from seas_runtime.sampling.pairs import draw_pair
from seas_runtime.sampling.recipe import Plan
from seas_runtime.sampling.sampler import Model, sample_batch
from seas_runtime.settings import resolve
from tests.runtime import stand_in_gpu
from tests.runtime.engine_checks import every
from tests.runtime.small_bundle import DEFECTS, defects, seal, write_photographs

TYPES = {
    "crack": {"threshold": 0.45, "agreement": 0.6},
    "hole": {"threshold": 0.55, "min_area": 0.4},
    "stain": {"threshold": 0.51, "agreement": 0.9},
}
USUAL = {"steps": 8, "guidance": 2.5, "mask_steps": 6}


@pytest.fixture
def plan(plan_folder, monkeypatch, tmp_path):
    """A bundle with limits of its own for each type, photographs, and engines."""
    machine = stand_in_gpu.install(monkeypatch, tmp_path / "cache")
    seal(plan_folder, defects=defects(**TYPES), photographs=write_photographs(plan_folder))
    stand_in_gpu.with_engines(plan_folder)
    return plan_folder, machine


@pytest.fixture
def both(plan, monkeypatch):
    """The bundle with its loop on the GPU, and on the host."""
    bundle = read_bundle(plan[0])
    device = seas_runtime.open(bundle, "rtx")

    def no_kernels(_storage):
        raise BackendError("NVRTC is not installed; run: pip install it")

    monkeypatch.setattr(backend, "load_kernels", no_kernels)
    host = seas_runtime.open(bundle, "rtx")
    assert (isinstance(device.backend, BatchBackend), isinstance(host.backend, BatchBackend)) == (True, False)
    return device, host


def the_same_bits(ours, theirs):
    assert len(ours) == len(theirs) > 0
    for one, two in zip(ours, theirs, strict=True):
        assert one.draw == two.draw
        np.testing.assert_array_equal(one.image, two.image)
        np.testing.assert_array_equal(one.mask, two.mask)
        assert (one.verdict, one.agreement) == (two.verdict, two.agreement)


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_each_type_has_its_threshold_and_the_gate_the_masks_of_each_step(both, batch):
    """Types take turns, so that a batch holds several."""
    device, host = (every(generator, count=12, seed=3, batch=batch, **USUAL) for generator in both)
    the_same_bits(device, host)
    assert {pair.verdict for pair in device} >= {"ok", "unsure"}
    assert 0 < min(pair.agreement for pair in device) < 1
    for pair in device:
        threshold = TYPES[pair.defect]["threshold"]
        (alone,) = every(both[1], count=pair.index + 1, seed=3, batch=batch, threshold=threshold, **USUAL)[pair.index :]
        np.testing.assert_array_equal(pair.mask, alone.mask)
    (other,) = every(both[0], count=1, seed=3, threshold=0.55, **USUAL)
    assert not np.array_equal(other.mask, device[0].mask)


@pytest.mark.parametrize("mask_steps", [1, 3, 8])
def test_however_many_steps_give_masks(both, mask_steps):
    words = {**USUAL, "mask_steps": mask_steps}
    device, host = (every(generator, count=5, seed=3, batch=3, clean=5, **words) for generator in both)
    the_same_bits(device, host)
    assert (min(pair.agreement for pair in device) == 1) == (mask_steps < 8)


def test_pairs_refused_are_made_again_alike(both):
    device, host = (every(generator, count=8, seed=3, batch=4, retries=3, **USUAL) for generator in both)
    the_same_bits(device, host)
    assert {pair.attempt for pair in device} > {0}


def test_normal_images_have_empty_masks_and_ask_for_none(both, plan):
    plan[1].copied.clear()
    words = {"seed": 3, "batch": 3, "steps": 8, "guidance": 2.5}
    device = list(both[0].normals(3, **words))
    assert plan[1].copied[-3:] == [3 * 8 * 8 * 3, 3 * 8 * 8, 4]  # pixels, one empty mask each, the flag
    the_same_bits(device, list(both[1].normals(3, **words)))
    assert {(normal.mask.max(), normal.verdict) for normal in device} == {(0, "ok")}


def test_a_normal_image_among_pairs_has_an_empty_mask_too(both):
    """No plan mixes them, but nothing would break."""
    manifest = both[0].bundle.manifest
    sampling = resolve(manifest, "rtx", Options(count=1, **USUAL)).sampling(manifest)
    pairs, good = Plan(DEFECTS, 3, 3, 3), Plan(("good",), 3, 3, 3)
    draws = [draw_pair(plan, index, 0, 6) for index, plan in enumerate((pairs, good, pairs))]
    with Workers(1) as workers:
        device, host = (
            sample_batch(Model(generator.backend, generator.bundle.conditioning, manifest.start), sampling, draws, workers)
            for generator in both
        )
    the_same_bits(device, host)
    assert [pair.mask.any() for pair in device] == [True, False, True]
    expected = every(both[0], count=3, seed=3, batch=3, **USUAL)
    np.testing.assert_array_equal(device[0].mask, expected[0].mask)
    np.testing.assert_array_equal(device[2].image, expected[2].image)


def test_kept_backgrounds_fall_back_to_the_loop_on_the_host(gen, both, plan, tmp_path):
    words = {"seed": 3, "background": "real", "strength": 0.6}
    device, host = (every(generator, count=6, batch=4, **words, **USUAL) for generator in both)
    the_same_bits(device, host)
    the_same_bits(*(list(generator.normals(5, batch=4, steps=8, **words)) for generator in both))
    cpu = every(seas_runtime.open(plan[0], "cpu", threads=1), count=6, batch=4, **words, **USUAL)
    for one, two in zip(device, cpu, strict=True):
        assert np.abs(one.image.astype(int) - two.image).max() <= 1
        assert one.verdict == two.verdict
    flags = ("--background", "real", "--min-agreement", 0, "--min-area", 1, "--max-area", 1, "--normals", 2)
    assert "3 pairs and 2 normal images" in gen("--count", 3, "--backend", "rtx", *flags, plan=plan[0])
