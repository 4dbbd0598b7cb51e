"""Guidance at some of the steps: what is computed, how much of it, and which intervals are refused."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import seas_runtime
from seas_runtime import Options
from seas_runtime.bundle.manifest import Schedule
from seas_runtime.errors import SettingsError
from seas_runtime.sampling.pairs import draw_pair, start_latent
from seas_runtime.sampling.recipe import Plan
from seas_runtime.sampling.solver import guided_steps, solver_table
from seas_runtime.settings import resolve
from tests.runtime import small_bundle
from tests.runtime.engine_checks import every
from tests.runtime.sampling.by_hand import levels, scheduler, solver_step
from tests.runtime.small_bundle import SCHEDULE, manifest_fields, seal
from tests.runtime.written import settings

GUIDANCE, STEPS = 2.5, 6  # at the timesteps 99, 82, 66, 50, 33 (32.5 rounded up or down), 16 of 99
LEVELS = np.array([99, 82, 66, 50, 33, 16]) / 99
SOME = (0.3, 0.7)  # the third, fourth and fifth step


@pytest.fixture(scope="module")
def generator(bundle):
    return seas_runtime.open(bundle, "cpu", threads=1)


def by_hand(bundle, draw):
    """Image (3, H, W) and mask probability (H, W) of the last two steps, guided inside SOME."""
    solver, held = scheduler(STEPS), bundle.conditioning
    x, probabilities = start_latent(draw, held, bundle.manifest.start)[None], []
    for step, t in enumerate(solver.timesteps.numpy()):
        weight = GUIDANCE if SOME[0] <= t / 99 <= SOME[1] else 1.0
        left, up2, up3 = solver_step(solver, x, t, held.prompts[draw.defect], held.empty, weight)
        if step >= STEPS - 2:
            probabilities.append(small_bundle.mask_branch(x, up2, up3))
        x = left
    return small_bundle.decoder(x)[0], np.mean(probabilities, axis=0)[0, 0]


def test_pairs_are_those_worked_by_hand(bundle, generator):
    words = {"count": 3, "seed": 3, "batch": 2, "steps": STEPS, "guidance": GUIDANCE, "mask_steps": 2}
    plan = Plan(small_bundle.DEFECTS, 3, 3, 2)
    found = every(generator, guidance_interval=SOME, **words)
    for pair in found:
        image, probability = by_hand(bundle, draw_pair(plan, pair.index, 0, 6))
        assert np.abs(pair.image - levels(image)).max() < 0.51
        clear = np.abs(probability - 0.5) > 1e-4
        assert (pair.mask == np.where(probability > 0.5, 255, 0))[clear].all()
    whole = every(generator, **words)
    assert all(not np.array_equal(one.image, other.image) for one, other in zip(found, whole, strict=True))
    same = every(generator, guidance_interval=(0, 1), **words)
    assert all(np.array_equal(one.image, other.image) for one, other in zip(same, whole, strict=True))


class Counting:
    """Counts the rows that the U-Net is given, and passes them on."""

    workers = 1

    def __init__(self, backend):
        self.backend, self.name, self.rows = backend, backend.name, []

    def run(self, graph, feeds, outputs):
        if graph == "unet":
            self.rows.append((len(feeds["sample"]), len(feeds["prompt"]), len(feeds["timestep"]), len(outputs)))
        return self.backend.run(graph, feeds, outputs)


def test_a_step_without_guidance_runs_half_the_batch(bundle, generator):
    counting = Counting(generator.backend)
    words = {"count": 3, "batch": 3, "steps": STEPS, "guidance": GUIDANCE, "mask_steps": 1}
    every(seas_runtime.Generator(bundle, counting), guidance_interval=SOME, **words)
    assert counting.rows == [
        (rows,) * 3 + (3 if last else 1,) for rows, last in zip((3, 3, 6, 6, 6, 3), (0, 0, 0, 0, 0, 1), strict=True)
    ]


@given(st.integers(1, 60), st.floats(0, 1), st.floats(0, 1), st.sampled_from([1.0, 3.0]))
def test_the_guided_steps_are_those_of_a_loop(steps, one, other, guidance):
    table, interval = solver_table(Schedule(**SCHEDULE), steps), (min(one, other), max(one, other))
    expected = [guidance > 1 and interval[0] <= int(t) / 99 <= interval[1] for t in table.timesteps]
    if guidance > 1 and not any(expected):
        with pytest.raises(SettingsError, match=r"but no step is in it.* widen it, or give --guidance 1"):
            guided_steps(table, guidance, interval)
    else:
        assert guided_steps(table, guidance, interval).tolist() == expected


@pytest.mark.parametrize("value", ["0.5", "0.5:0.5", "0.8:0.2", "-0.1:1", "0:1.1", "nan:1", "a:b", "0:1:2", ""])
def test_an_interval_that_is_none_is_a_usage_error(gen, value):
    said = gen("--count", 1, "--guidance-interval", value, code=2)
    assert "A:B with 0 <= A < B <= 1 expected" in said
    with pytest.raises(SettingsError, match="guidance_interval"):
        Options(guidance_interval=value)


def test_intervals_that_do_not_fit_the_run(gen, bundle):
    assert "no step is in it: they are at 0.202 to 1.000" in gen("--count", 1, "--guidance-interval", "0:0.1", code=2)
    assert "guidance 1, which guides no step" in gen("--count", 1, "--guidance", 1, "--guidance-interval", "0:0.5", code=2)
    manifest = bundle.manifest.model_copy(update={"photographs": ("x.png",)})
    with pytest.raises(SettingsError, match=r"0\.202 to 0\.596"):  # of a run that begins at the photograph's level
        resolve(manifest, "cpu", Options(count=1, background="real", strength=0.6, guidance_interval=(0.7, 1)))


def test_a_run_keeps_its_interval(gen, tmp_path):
    words = ("--count", 2, "--guidance-interval", "0.1:0.7", "--max-area", 1)
    gen(*words)
    assert settings(tmp_path / "out")["guidance_interval"] == [0.1, 0.7]
    gen("--count", 3, *words[2:])
    said = gen("--count", 4, "--max-area", 1, code=5)
    assert "holds a run with guidance_interval 0.1, 0.7, not 0.0, 1.0" in said
    record = json.loads((tmp_path / "out/run.json").read_text())
    del record["settings"]["guidance_interval"]  # as an earlier version wrote it: all steps were guided
    (tmp_path / "out/run.json").write_text(json.dumps(record))
    assert "guidance_interval 0.0, 1.0, not 0.1, 0.7" in gen("--count", 4, *words[2:], code=5)


def test_the_bundle_may_say_it(gen, plan_folder, tmp_path):
    before = seal(plan_folder)
    assert "guidance_interval" not in (plan_folder / "manifest.json").read_text()
    manifest = seal(plan_folder, defaults=manifest_fields()["defaults"] | {"guidance_interval": SOME})
    assert manifest.digest != before.digest
    gen("--count", 2, "--max-area", 1, plan=plan_folder)
    assert settings(tmp_path / "out")["guidance_interval"] == list(SOME)
    gen("--count", 2, "--max-area", 1, "--guidance-interval", "0:1", plan=plan_folder, out="whole")
    assert settings(tmp_path / "whole")["guidance_interval"] == [0, 1]
    gen("--count", 2, "--max-area", 1, "--guidance", 1, plan=plan_folder, out="none")
