import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from seas_runtime.bundle.manifest import Schedule
from seas_runtime.errors import SettingsError
from seas_runtime.sampling.solver import begun_at, solver_table

FINAL = {"zero": "zero", "published": "sigma_min"}


def sd14(final="zero", beta_schedule="scaled_linear", train_steps=1000):
    return Schedule(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule=beta_schedule,
        train_steps=train_steps,
        spacing="linspace",
        final=final,
    )


def published(schedule, steps):
    scheduler = DPMSolverMultistepScheduler(
        num_train_timesteps=schedule.train_steps,
        beta_start=schedule.beta_start,
        beta_end=schedule.beta_end,
        beta_schedule=schedule.beta_schedule,
        algorithm_type="dpmsolver++",
        solver_order=2,
        solver_type="midpoint",
        lower_order_final=True,
        timestep_spacing="linspace",
        final_sigmas_type=FINAL[schedule.final],
    )
    scheduler.set_timesteps(steps)
    return scheduler


def fixed_noise(x, t):
    return np.tanh(0.3 * x) + 0.1 * np.sin(t / 100.0)


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 10, 14, 15, 25, 50])
@pytest.mark.parametrize("final", ["zero", "published"])
@pytest.mark.parametrize("beta_schedule", ["scaled_linear", "linear"])
def test_table_agrees_with_diffusers(steps, final, beta_schedule):
    schedule = sd14(final, beta_schedule)
    table, scheduler = solver_table(schedule, steps), published(schedule, steps)
    assert table.timesteps.tolist() == scheduler.timesteps.tolist()
    np.testing.assert_allclose(table.sigma / table.alpha, scheduler.sigmas.numpy(), rtol=5e-5)
    np.testing.assert_allclose(table.alpha**2 + table.sigma**2, 1, rtol=1e-12)

    x = np.random.default_rng(steps).normal(size=(2, 4, 8, 8))
    theirs, before = torch.from_numpy(x), 0.0
    for i, t in enumerate(table.timesteps.tolist()):
        clean = (x - table.sigma[i] * fixed_noise(x, t)) / table.alpha[i]
        x, before = table.a[i] * x + table.b[i] * clean + table.c[i] * before, clean
        noise = torch.from_numpy(fixed_noise(theirs.numpy(), t))
        theirs = scheduler.step(noise, t, theirs).prev_sample
        assert np.linalg.norm(x - theirs.numpy()) <= 1e-4 * np.linalg.norm(x)


@pytest.mark.parametrize("steps", [-1, 0, 100, 5000])
def test_steps_that_the_schedule_does_not_have_are_refused(steps):
    with pytest.raises(SettingsError, match="1 to 99 expected"):
        solver_table(sd14(train_steps=100), steps)


@pytest.mark.parametrize("final", ["zero", "published"])
def test_the_longest_run_is_finite(final):
    table = solver_table(sd14(final, train_steps=100), 99)
    assert all(np.isfinite(values).all() for values in (table.a, table.b, table.c))
    assert (np.diff(table.timesteps) < 0).all()


def test_a_perfect_prediction_is_reached_exactly():
    """With noise = (x - alpha y) / sigma for a fixed y every order lands on y."""
    table, y = solver_table(sd14(), 7), np.array([0.3, -1.2])
    x, before = np.array([1.0, 2.0]), 0.0
    for i in range(7):
        noise = (x - table.alpha[i] * y) / table.sigma[i]
        clean = (x - table.sigma[i] * noise) / table.alpha[i]
        x, before = table.a[i] * x + table.b[i] * clean + table.c[i] * before, clean
    np.testing.assert_allclose(x, y, rtol=1e-9)


@pytest.mark.parametrize("first", [0, 1, 7, 18, 19])
@pytest.mark.parametrize("final", ["zero", "published"])
def test_a_run_begun_later_agrees_with_diffusers(first, final):
    schedule = sd14(final)
    table, scheduler = begun_at(solver_table(schedule, 20), first), published(schedule, 20)
    scheduler.set_begin_index(first)
    assert table.timesteps.tolist() == scheduler.timesteps.tolist()[first:]
    x = np.random.default_rng(first).normal(size=(2, 4, 8, 8))
    theirs, before = torch.from_numpy(x), np.nan  # which the first step must not touch
    for i, t in enumerate(table.timesteps.tolist()):
        clean = (x - table.sigma[i] * fixed_noise(x, t)) / table.alpha[i]
        x = table.a[i] * x + table.b[i] * clean + (table.c[i] * before if table.c[i] else 0)
        theirs = scheduler.step(torch.from_numpy(fixed_noise(theirs.numpy(), t)), t, theirs).prev_sample
        before = clean
        np.testing.assert_allclose(x, theirs, rtol=1e-4, atol=1e-4)
