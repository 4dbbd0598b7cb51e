"""Twins against other people's code, and the kernels' C++, run on the host, against the twins."""

import shutil

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from seas_runtime.kernels import reference
from seas_runtime.kernels.loader import UPDATES
from seas_runtime.sampling.masks import threshold_mask
from tests.runtime.kernels import on_host
from tests.runtime.kernels.cases import BITS, DTYPES, same_bits, table_of


def scheduler_of(steps, final):
    scheduler = DPMSolverMultistepScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        timestep_spacing="linspace",
        final_sigmas_type={"zero": "zero", "published": "sigma_min"}[final],
    )
    scheduler.set_timesteps(steps)
    return scheduler


def predict(x, t, prompt):
    return np.tanh(0.3 * x + prompt) + 0.1 * np.sin(t / 100.0 + prompt)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float16, 2e-3)])
@pytest.mark.parametrize("final", ["zero", "published"])
@pytest.mark.parametrize(("steps", "guidance"), [(1, 3.0), (2, 1.0), (8, 7.5), (25, 4.0)])
def test_a_run_of_updates_is_that_of_diffusers(dtype, tolerance, final, steps, guidance):
    table, timesteps = table_of(steps, guidance, final)
    scheduler = scheduler_of(steps, final)
    start = np.random.default_rng(steps).normal(size=(3, 4, 5, 7))
    theirs = torch.from_numpy(start)
    latents, before, counter = start.astype(dtype), np.full(start.shape, np.nan, dtype), 0
    for _ in range(steps):
        step, timestep, counter = reference.begin_step(table, timesteps, counter, 6)
        assert timestep.tolist() == [int(scheduler.timesteps[scheduler.step_index or 0])] * 6
        prompts = (0.4,) if guidance == 1 else (0.4, -0.2)
        noise = np.concatenate([predict(latents, timestep[0], prompt) for prompt in prompts]).astype(dtype)
        sample, before = reference.guided_update(noise, latents, before, step)
        assert np.array_equal(sample, np.concatenate([sample[:3]] * len(prompts)))
        latents = sample[:3]

        x, t = theirs.numpy(), timestep[0]
        guided = predict(x, t, -0.2) + guidance * (predict(x, t, 0.4) - predict(x, t, -0.2))
        theirs = scheduler.step(torch.from_numpy(guided), int(t), theirs).prev_sample
    assert counter == 0
    assert latents.dtype == before.dtype == dtype
    assert np.linalg.norm(latents - theirs.numpy()) <= tolerance * np.linalg.norm(theirs.numpy())


@pytest.mark.parametrize("dtype", DTYPES)
def test_pixels_are_those_of_torch(dtype):
    images = np.random.default_rng(0).normal(0, 0.8, (2, 3, 5, 9)).astype(dtype)
    images.flat[:256] = (np.arange(256) + 0.5) / 127.5 - 1  # the edges between two levels
    levels = torch.round((torch.from_numpy(images).float().clamp(-1, 1) + 1) * 127.5)
    expected = levels.to(torch.uint8).permute(0, 2, 3, 1).numpy()
    pixels = reference.to_pixels(images)
    assert np.array_equal(pixels, expected)
    assert pixels.flags.c_contiguous
    assert np.array_equal(reference.to_pixels(images[1]), expected[1])


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_masks_are_those_of_a_loop_and_of_the_sampler(steps):
    rng = np.random.default_rng(steps)
    probabilities = [(rng.integers(0, 9, (2, 1, 4, 6)) / 8).astype(np.float32) for _ in range(steps)]
    total = np.zeros((2, 1, 4, 6), np.float32)
    for probability in probabilities:
        total = reference.accumulate(probability, total)
    limit = float(sorted((total / steps).ravel().tolist())[20])  # one of the means: equal is not above
    mask = reference.threshold(total, steps, limit)
    for place in np.ndindex(total.shape):
        mean = sum(float(probability[place]) for probability in probabilities) / steps
        assert mask[place] == (255 if np.float32(mean) > np.float32(limit) else 0)
    assert np.array_equal(mask, threshold_mask(probabilities, limit))
    assert set(np.unique(mask)) == {0, 255}


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    return on_host.build(tmp_path_factory.mktemp("host"))


def any_values(rng, shape, dtype, wild):
    """Ordinary numbers; wild ones: any bit pattern, so also NaN, infinity, denormals and the largest."""
    values = rng.normal(0, 1.5, shape).astype(dtype)
    patterns = rng.integers(0, np.iinfo(BITS[values.dtype]).max, shape, BITS[values.dtype], endpoint=True)
    return np.where(rng.random(shape) < wild, patterns.view(dtype), values)


SHIFTS = st.sampled_from([0, 1, 4, 7])
# How an array lies and how many threads share it: sizes around the vector widths 4 and 8, any offsets from alignment.
PLACES = {
    "seed": st.integers(0, 2**32 - 1),
    "dtype": st.sampled_from(DTYPES),
    "count": st.integers(1, 70) | st.sampled_from([4, 8, 16, 64]),
    "offsets": st.just([0]) | st.lists(SHIFTS, min_size=1, max_size=5),
    "threads": st.integers(1, 5),
    "wild": st.sampled_from([0.0, 0.05, 1.0]),
}


@settings(deadline=None)
@given(**PLACES, form=st.sampled_from(UPDATES), in_place=st.booleans(), real=st.booleans())
def test_update_in_cpp(host, seed, dtype, count, offsets, threads, wild, form, in_place, real):
    rng, (halves, copies) = np.random.default_rng(seed), form
    noise = any_values(rng, (halves, count), dtype, wild)
    latents, before = (any_values(rng, (1, count), dtype, wild) for _ in range(2))
    step = table_of(6, 5.0)[0][rng.integers(6)] if real else any_values(rng, 6, np.float32, 0.3)
    with np.errstate(all="ignore"):
        expected = reference.guided_update(noise, latents, before, step, copies)
    assert len(expected[0]) == copies
    leaving, clean, broken = host.update(noise, latents, before, step, offsets, threads, in_place, copies)
    same_bits(leaving, expected[0])
    same_bits(clean, expected[1])
    assert broken == (not np.isfinite(noise).all())


@settings(deadline=None)
@given(**PLACES)
def test_to_pixels_in_cpp(host, seed, dtype, count, offsets, threads, wild):
    rng = np.random.default_rng(seed)
    images = any_values(rng, (3, count), dtype, wild)
    edges = (rng.integers(0, 256, images.shape) + 0.5) / 127.5 - 1
    images = np.where(rng.random(images.shape) < 0.3, edges, images).astype(dtype).reshape(3, 1, count)
    with np.errstate(invalid="ignore"):
        expected = reference.to_pixels(images)
    pixels, broken = host.to_pixels(images, offsets, threads)
    same_bits(pixels, expected)
    assert broken == (not np.isfinite(images).all())


@settings(deadline=None)
@given(**PLACES, steps=st.integers(1, 5))
def test_masks_in_cpp(host, seed, dtype, count, offsets, threads, wild, steps):
    rng = np.random.default_rng(seed)
    total = any_values(rng, count, np.float32, wild)
    probability = any_values(rng, count, dtype, wild)
    with np.errstate(all="ignore"):
        expected = reference.accumulate(probability, total)
        limit = (expected / np.float32(steps)).flat[0]  # a mean: equal is not above
        mask = reference.threshold(expected, steps, limit)
    found, broken = host.accumulate(probability, total, offsets, threads)
    same_bits(found, expected)
    assert broken == (not np.isfinite(probability).all())
    same_bits(host.threshold(expected, steps, limit, offsets, threads), mask)


@pytest.mark.parametrize("rows", [1, 6])
def test_begin_step_in_cpp(host, rows):
    table, timesteps = table_of(3, 2.0)
    counter = 0
    for visit in range(7):
        step, timestep, after = host.begin_step(table, timesteps, counter, rows)
        expected = reference.begin_step(table, timesteps, counter, rows)
        assert np.array_equal(step, table[visit % 3])
        assert timestep.tolist() == [timesteps[visit % 3]] * rows == expected[1].tolist()
        assert after == (visit + 1) % 3 == expected[2]
        counter = after


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 7, 17, 18, 35])  # of 18 values: in a pack, in the rest, in the empty half
def test_one_broken_value_is_seen(host, dtype, value, place):
    noise = np.zeros((2, 18), dtype)
    latents, step = np.zeros((1, 18), dtype), table_of(6, 5.0)[0][2]
    assert not host.update(noise, latents, latents, step)[2]
    noise.flat[place] = value
    assert host.update(noise, latents, latents, step)[2]
    images = np.zeros((3, 2, 6), dtype)
    assert not host.to_pixels(images)[1]
    images.flat[place] = value
    assert host.to_pixels(images)[1]


def test_a_broken_value_stays_seen(host):
    """The host reads the flag once a batch: a later clean call must not clear it."""
    flag = np.ones(1, np.int32)
    total = np.zeros(5, np.float32)
    host.call("accumulate_float32", np.ones(5, np.float32), total, flag, 5, 1)
    assert flag[0] == 1
    assert total.tolist() == [1] * 5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("place", range(5))
def test_one_array_off_the_16_byte_grid_is_enough_to_go_one_by_one(host, dtype, place):
    rng, offsets = np.random.default_rng(place), [0] * place + [1] + [0] * (4 - place)
    noise, latents, before = (any_values(rng, (rows, 64), dtype, 0) for rows in (2, 1, 1))
    step = table_of(6, 5.0)[0][2]
    same_bits(
        host.update(noise, latents, before, step, offsets)[0],
        reference.guided_update(noise, latents, before, step)[0],
    )
    images, total = any_values(rng, (3, 8, 8), dtype, 0), any_values(rng, 64, np.float32, 0)
    same_bits(host.to_pixels(images, offsets)[0], reference.to_pixels(images))
    same_bits(host.accumulate(noise[0], total, offsets)[0], reference.accumulate(noise[0], total))
    same_bits(host.threshold(total, 1, 0.2, offsets), reference.threshold(total, 1, 0.2))
