"""Solvers as tables of numbers: DPM-Solver++ (2M) (Lu et al. 2022, algorithm 2) and multistep consistency sampling.

The loop on the host and the one on the GPU read tables alone, so another solver that takes a step from x, x0 and the x0 before, or
fresh noise, is another function from a schedule and a number of steps to a `Table`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from seas_runtime.bundle.manifest import Schedule
from seas_runtime.errors import SettingsError

TIMESTEP_SCALING, SIGMA_DATA = 10.0, 0.5
FIRST_ORDER_END_BELOW = 15  # shorter runs end with a first-order step, as diffusers' lower_order_final
ALMOST_ZERO = 2.0**-24  # alpha-bar of no signal, as diffusers has it: the solver divides by its root

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """What each of s steps needs; a latent at step i is alpha[i] * x0 + sigma[i] * noise.

    x0 = (x - sigma[i] * noise) / alpha[i], or alpha[i] * x - sigma[i] * v where v = alpha * noise - sigma * x0 is predicted;
    next x = a[i] * x + b[i] * x0 + c[i] * (x0 of the step before, or, if the table `renoises`, fresh standard normal noise).
    """

    timesteps: NDArray[np.int64]  # (s,), falling
    alpha: Floats  # (s + 1,), the last is where the run ends
    sigma: Floats  # (s + 1,)
    a: Floats  # (s,)
    b: Floats  # (s,)
    c: Floats  # (s,), 0 where the step is of first order
    renoises: bool = False
    predicts_v: bool = False


def boundary(timesteps: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """c_skip and c_out of a consistency function f = c_skip * x + c_out * x0 at timesteps, which is x where a run ends.

    Luo et al., "Latent consistency models", 2023, with their scaling of timesteps by 10 and sigma_data 0.5.
    """
    scaled = TIMESTEP_SCALING * np.asarray(timesteps, np.float64)
    total = scaled**2 + SIGMA_DATA**2
    return SIGMA_DATA**2 / total, scaled / np.sqrt(total)


def solver_table(schedule: Schedule, steps: int) -> Table:
    """The table of a run of `steps` steps, "linspace" or "trailing" timesteps, midpoint second-order steps.

    The first step is of first order; so is the last where it ends at sigma 0 (`final: zero`) or the run is short. Of a schedule
    whose solver is consistency sampling (Song et al. 2023, algorithm 1) each step goes to f and from there, by fresh noise, to the
    next level; the last one ends at f.

    Raises:
        SettingsError: steps below 1, or so many that timesteps would repeat.
    """
    if not 1 <= steps < schedule.train_steps:
        raise SettingsError(f"steps {steps} found, 1 to {schedule.train_steps - 1} expected")
    if schedule.spacing == "trailing":
        timesteps = np.arange(schedule.train_steps, 0, -schedule.train_steps / steps).round()[:steps].astype(np.int64) - 1
    else:
        timesteps = np.linspace(0, schedule.train_steps - 1, steps + 1).round()[::-1][:-1].astype(np.int64)
    signal, predicts_v = _alpha_bar(schedule), schedule.prediction == "v_prediction"
    ends = {"zero": 1.0, "published": signal[0]}  # published: down to t = 0
    alpha_bar = np.append(signal[timesteps], ends[schedule.final])
    alpha, sigma = np.sqrt(alpha_bar), np.sqrt(1.0 - alpha_bar)
    with np.errstate(divide="ignore"):
        log_snr = np.log(alpha) - np.log(sigma)  # lambda; infinite at sigma 0
    if schedule.consistency:
        skip, out = boundary(timesteps)
        onward = np.append(alpha[1:-1], 1.0)
        weights = onward * skip, onward * out, np.append(sigma[1:-1], 0.0)
        return Table(timesteps, alpha, sigma, *weights, renoises=True, predicts_v=predicts_v)
    a = sigma[1:] / sigma[:-1]
    b = alpha[1:] - a * alpha[:-1]  # = -alpha_t * (exp(-h) - 1)
    c = np.zeros(steps)
    first_order_end = schedule.final == "zero" or steps < FIRST_ORDER_END_BELOW
    for step in range(1, steps - 1 if first_order_end else steps):
        ratio = (log_snr[step] - log_snr[step - 1]) / (log_snr[step + 1] - log_snr[step])
        c[step] = -0.5 * b[step] / ratio
    return Table(timesteps, alpha, sigma, a, b - c, c, predicts_v=predicts_v)


def begun_at(table: Table, step: int) -> Table:
    """The table of a run that begins at a step of another; its first step is of first order, since no x0 comes before it."""
    b, c = table.b[step:].copy(), table.c[step:].copy()
    if not table.renoises:
        b[0], c[0] = b[0] + c[0], 0.0
    later = {name: getattr(table, name)[step:] for name in ("timesteps", "alpha", "sigma", "a")}
    return replace(table, **later, b=b, c=c)


def guided_steps(table: Table, guidance: float, interval: tuple[float, float], first: int = 0) -> NDArray[np.bool_]:
    """The steps (s,) of a whole run that guidance acts on, those with a noise level inside an interval.

    Kynkaanniemi et al., "Applying guidance in a limited interval", 2024. The levels are shares of the schedule, as those of
    `background.first_step`: 1 is that of the first step, 0 the clean picture.

    Args:
        table: of a run from its first step on.
        guidance: 1 is none, so no step is guided.
        interval: least and greatest share, both inside.
        first: the step that the run begins at.

    Raises:
        SettingsError: there is guidance, and no step for it.
    """
    shares = table.timesteps / table.timesteps[0]
    guided: NDArray[np.bool_] = (interval[0] <= shares) & (shares <= interval[1]) & (guidance != 1)
    if guidance != 1 and not guided[first:].any():
        found = ":".join(f"{share:g}" for share in interval)
        raise SettingsError(
            f"--guidance-interval {found} found, but no step is in it: they are at {shares[-1]:.3f} to {shares[first]:.3f} "
            "of the schedule; widen it, or give --guidance 1"
        )
    return guided


def step_table(table: Table, guidance: float) -> NDArray[np.float32]:
    """What `kernels.reference.guided_update` works from, (s, 6) float32: alpha, sigma, a, b, c of each step, and the guidance.

    It takes x0 = (x - sigma * predicted) / alpha. That of v, alpha * x - sigma * v, has this form with 1 / alpha and sigma / alpha,
    so loops and kernels need not know what a U-Net predicts; noise made of v would lose what tells the image at low alpha.
    """
    steps = len(table.timesteps)
    alpha, sigma = table.alpha[:steps], table.sigma[:steps]
    if table.predicts_v:
        alpha, sigma = 1 / alpha, sigma / alpha
    columns = (alpha, sigma, table.a, table.b, table.c, np.full(steps, guidance))
    return np.stack(columns, axis=1).astype(np.float32)


def _alpha_bar(schedule: Schedule) -> Floats:
    """Product of (1 - beta) up to each training step, (train_steps,) float64."""
    if schedule.beta_schedule == "linear":
        betas = np.linspace(schedule.beta_start, schedule.beta_end, schedule.train_steps)
    else:
        betas = np.linspace(schedule.beta_start**0.5, schedule.beta_end**0.5, schedule.train_steps) ** 2
    alpha_bar = np.cumprod(1.0 - betas, dtype=np.float64)
    if schedule.zero_snr:  # Lin et al. 2024, algorithm 1
        signal = np.sqrt(alpha_bar)
        alpha_bar = np.square((signal - signal[-1]) * signal[0] / (signal[0] - signal[-1]))
        alpha_bar[-1] = ALMOST_ZERO
    return alpha_bar
