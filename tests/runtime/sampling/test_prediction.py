"""U-Nets that predict v: tables and the kernels' twin against diffusers' own solver, down to no signal at all."""

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler
from pydantic import ValidationError

from seas_runtime.bundle.manifest import Schedule
from seas_runtime.kernels.reference import guided_update
from seas_runtime.sampling.solver import begun_at, solver_table, step_table

SD14 = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "train_steps": 1000, "final": "zero"}
PLAIN = {**SD14, "spacing": "linspace", "prediction": "v_prediction"}
ZERO_SNR = {**SD14, "spacing": "trailing", "prediction": "v_prediction", "zero_snr": True}


def theirs(fields, steps):
    scheduler = DPMSolverMultistepScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=fields.get("zero_snr", False),
        timestep_spacing=fields["spacing"],
        algorithm_type="dpmsolver++",
        final_sigmas_type="zero",
    )
    scheduler.set_timesteps(steps)
    return scheduler


def predicted(x, t):
    """Some network's v."""
    return np.tanh(0.7 * x) + np.float32(0.1 * np.sin(t / 100.0))


@pytest.mark.parametrize("fields", [PLAIN, ZERO_SNR])
@pytest.mark.parametrize("steps", [1, 2, 7, 15, 25, 50])
def test_a_run_in_single_precision_agrees_with_diffusers(fields, steps):
    table, scheduler = solver_table(Schedule(**fields), steps), theirs(fields, steps)
    assert table.timesteps.tolist() == scheduler.timesteps.tolist()
    x = np.random.default_rng(steps).normal(size=(2, 4, 8, 8)).astype(np.float32)
    y, before = torch.from_numpy(x.astype(np.float64)), np.zeros_like(x)
    for t, step in zip(table.timesteps.tolist(), step_table(table, 1.0), strict=True):
        x, before = guided_update(predicted(x, t), x, before, step)
        y = scheduler.step(torch.from_numpy(predicted(y.numpy(), t)), t, y).prev_sample
        assert np.abs(x - y.numpy()).max() < 1e-4 * np.abs(y.numpy()).max()


@pytest.mark.parametrize("fields", [PLAIN, ZERO_SNR])
def test_the_image_is_read_off_v_by_its_definition(fields):
    """One step of first order down to sigma 0 gives x0, of a v that is made by hand."""
    for first in (0, 12, 24):
        table = begun_at(solver_table(Schedule(**fields), 25), first)
        alpha, sigma = table.alpha[0], table.sigma[0]
        x0, noise = np.random.default_rng(1).normal(size=(2, 1, 4, 8, 8))
        x, v = (value.astype(np.float32) for value in (alpha * x0 + sigma * noise, alpha * noise - sigma * x0))
        _, clean = guided_update(v, x, np.zeros_like(x), step_table(table, 1.0)[0])
        np.testing.assert_allclose(clean, x0, atol=1e-5)


def test_guidance_of_v_is_guidance_of_the_noise():
    table = solver_table(Schedule(**PLAIN), 25)
    epsilon = solver_table(Schedule(**{**PLAIN, "prediction": None}), 25)
    x, conditional, empty = np.random.default_rng(2).normal(size=(3, 1, 4, 8, 8))
    alpha, sigma = table.alpha[3], table.sigma[3]
    noises = [(alpha * v + sigma * x).astype(np.float32) for v in (conditional, empty)]
    vs = [v.astype(np.float32) for v in (conditional, empty)]
    found = guided_update(np.concatenate(vs), x.astype(np.float32), np.zeros_like(x), step_table(table, 8.0)[3])
    expected = guided_update(np.concatenate(noises), x.astype(np.float32), np.zeros_like(x), step_table(epsilon, 8.0)[3])
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-4, atol=1e-3)


def test_a_schedule_says_nothing_of_what_it_has_not():
    old = Schedule(**SD14, spacing="linspace")
    assert old.model_dump() == {**SD14, "spacing": "linspace"}
    assert not solver_table(old, 5).predicts_v
    assert Schedule(**ZERO_SNR).model_dump() == ZERO_SNR
    assert not solver_table(Schedule(**{**PLAIN, "prediction": "epsilon"}), 5).predicts_v


@pytest.mark.parametrize("wrong", [{"prediction": "sample"}, {"zero_snr": True}, {"spacing": "leading"}])
def test_schedules_that_nothing_is_made_from(wrong):
    with pytest.raises(ValidationError):
        Schedule(**{**SD14, "spacing": "linspace", **wrong})
