"""A student's bundle: multistep consistency sampling by hand, on every loop, and what a student was not made for."""

import shutil

import numpy as np
import pytest
from diffusers import LCMScheduler

import seas_runtime
from seas_runtime.backends import BatchBackend
from seas_runtime.backends.tensorrt import backend
from seas_runtime.bundle.manifest import Schedule
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.doctor import describe_bundle
from seas_runtime.errors import BackendError, BundleError
from seas_runtime.options import Options
from seas_runtime.sampling.noise import POSTERIOR, RENOISE, START, Stream
from seas_runtime.sampling.pairs import draw_pair, start_latent
from seas_runtime.sampling.recipe import Plan
from seas_runtime.sampling.solver import begun_at, solver_table
from seas_runtime.settings import resolve
from tests.runtime import small_bundle, stand_in_gpu
from tests.runtime.engine_checks import every
from tests.runtime.sampling.by_hand import levels
from tests.runtime.small_bundle import SCHEDULE, manifest_fields, seal, seal_final, write_photographs
from tests.runtime.written import settings, tree

STUDENT = {"method": "consistency", "steps": 4, "guidance": 2.0, "grid": 12}
FIELDS = {"schedule": SCHEDULE | {"solver": "consistency"}, "student": STUDENT}
DEFAULTS = manifest_fields()["defaults"] | {"steps": 4, "mask_steps": 2}
LCM = LCMScheduler(num_train_timesteps=100, beta_start=0.001, beta_end=0.02, beta_schedule="scaled_linear", clip_sample=False)
TIMES = {1: [99], 2: [99, 50], 4: [99, 74, 50, 25]}  # 49.5 and 24.75, rounded
WORDS = {"count": 5, "seed": 3, "batch": 3}


@pytest.fixture(scope="module")
def student(pristine, tmp_path_factory):
    folder = shutil.copytree(pristine, tmp_path_factory.mktemp("student") / "tile.plan")
    seal(folder, defaults=DEFAULTS, **FIELDS)
    return read_bundle(folder)


@pytest.fixture(scope="module")
def generator(student):
    return seas_runtime.open(student, "cpu", threads=1)


def by_hand(bundle, draw, steps, mask_steps):
    """Image (3, H, W) and mask probability (H, W) of a draw, boundary conditions and signal as diffusers has them."""
    held, signal = bundle.conditioning, LCM.alphas_cumprod.double().numpy()
    x, prompt, probabilities = start_latent(draw, held, bundle.manifest.start)[None], held.prompts[draw.defect], []
    stream = Stream(draw.stream.seed, draw.index, draw.stream.attempt)
    again = stream.normals(RENOISE, (3, *x.shape[1:]))  # the first of them are those of shorter runs
    for step, t in enumerate(TIMES[steps]):
        noise, up2, up3 = small_bundle.unet(x, np.array([t]), prompt[None])
        if step >= steps - mask_steps:
            probabilities.append(small_bundle.mask_branch(x, up2, up3))
        skip, out = LCM.get_scalings_for_boundary_condition_discrete(t)
        x = skip * x + out * (x - (1 - signal[t]) ** 0.5 * noise) / signal[t] ** 0.5
        if step + 1 < steps:
            level = signal[TIMES[steps][step + 1]]
            x = (level**0.5 * x + (1 - level) ** 0.5 * again[step]).astype(np.float32)
    return small_bundle.decoder(x)[0], np.mean(probabilities, axis=0)[0, 0]


@pytest.mark.parametrize(("steps", "mask_steps"), [(4, 2), (2, 1), (1, 1)])
def test_pairs_are_those_worked_by_hand(student, generator, steps, mask_steps):
    plan = Plan(small_bundle.DEFECTS, 3, 5, 3)
    for pair in every(generator, steps=steps, mask_steps=mask_steps, **WORDS):
        image, probability = by_hand(student, draw_pair(plan, pair.index, 0, 6), steps, mask_steps)
        assert np.abs(pair.image - levels(image)).max() < 0.51
        clear = np.abs(probability - 0.5) > 1e-4
        assert (pair.mask == np.where(probability > 0.5, 255, 0))[clear].all()


def test_the_noise_of_a_pair_is_its_own(generator):
    runs = [every(generator, count=7, seed=1, batch=size) for size in (1, 3, 7)]
    shard = [pair for part in range(2) for pair in every(generator, count=7, seed=1, batch=2, shard=(part, 2))]
    runs.append(sorted(shard, key=lambda pair: pair.index))
    for other in runs[1:]:
        for one, two in zip(runs[0], other, strict=True):
            assert one.draw == two.draw
            assert np.abs(one.image.astype(int) - two.image).max() <= 1
    stream = Stream(1, 2, 3)
    words = [set(stream.raw(purpose, 64).tolist()) for purpose in (POSTERIOR, START, RENOISE)]
    assert all(not one & other for i, one in enumerate(words) for other in words[:i])
    assert not np.array_equal(stream.normals(RENOISE, (2,)), Stream(1, 2, 2).normals(RENOISE, (2,)))


def test_the_unet_is_called_once_a_step_without_the_empty_prompt(student, generator):
    class Counting:
        workers, name, rows = 1, "cpu", []

        def run(self, graph, feeds, outputs):
            self.rows.append((graph, len(next(iter(feeds.values())))))
            return generator.backend.run(graph, feeds, outputs)

    every(seas_runtime.Generator(student, Counting()), count=3, batch=3, mask_steps=1)
    assert Counting.rows == [("unet", 3)] * 4 + [("mask_branch", 3), ("decoder", 3)]


@pytest.mark.parametrize("look", [False, True])
@pytest.mark.parametrize("steps", [1, 4])
def test_the_loop_on_the_gpu_gives_the_bits_of_the_one_on_the_host(plan_folder, monkeypatch, tmp_path, steps, look):
    stand_in_gpu.install(monkeypatch, tmp_path / "cache")
    if look:
        seal_final(plan_folder, defaults=DEFAULTS | {"mask_steps": 1}, **FIELDS)
    else:
        seal(plan_folder, defaults=DEFAULTS, **FIELDS)
    bundle = stand_in_gpu.with_engines(plan_folder)
    words = WORDS | {"steps": steps, "mask_steps": 1}
    device = seas_runtime.open(bundle, "rtx")
    assert isinstance(device.backend, BatchBackend)
    found = every(device, **words)

    def no_kernels(_storage):
        raise BackendError("NVRTC is not installed; run: pip install it")

    monkeypatch.setattr(backend, "load_kernels", no_kernels)
    for one, other in zip(found, every(seas_runtime.open(bundle, "rtx"), **words), strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.mask, other.mask)


def test_a_perfect_student_is_followed_exactly_and_a_later_start_keeps_its_noise():
    table = solver_table(Schedule(**FIELDS["schedule"]), 4)
    later = begun_at(table, 1)
    assert later.renoises
    np.testing.assert_array_equal(later.c, table.c[1:])
    np.testing.assert_array_equal(later.b, table.b[1:])
    assert (table.c[-1], table.a[-1] < 1e-5, abs(table.b[-1] - 1) < 1e-5) == (0, True, True)
    np.testing.assert_allclose(table.c[:-1], table.sigma[1:-1])


def test_backgrounds_are_kept_by_a_student_too(plan_folder):
    seal(plan_folder, defaults=DEFAULTS, photographs=write_photographs(plan_folder), **FIELDS)
    with seas_runtime.open(plan_folder, "cpu", threads=1) as made:
        one, three = (every(made, count=4, seed=3, batch=size, background="real", strength=0.8) for size in (1, 3))
        for first, second in zip(one, three, strict=True):
            assert np.abs(first.image.astype(int) - second.image).max() <= 1


@pytest.mark.parametrize(("strength", "steps"), [(None, 4), (1.0, 4), (0.8, 6), (0.4, 12), (0.1, 12)])
def test_a_student_that_begins_late_is_called_as_often_as_it_was_made_for(plan_folder, strength, steps):
    """Of 6 steps 4 begin at 0.67 of the noise and less, of 12 steps 4 at 0.33 and less; 0.1 leaves at most one, of 12."""
    seal(plan_folder, defaults=DEFAULTS, photographs=write_photographs(plan_folder), **FIELDS)
    manifest = read_bundle(plan_folder).manifest
    assert resolve(manifest, "cpu", Options(count=1, background="real", strength=strength)).steps == steps
    assert resolve(manifest, "cpu", Options(count=1, background="real", strength=strength, steps=12)).steps == 12


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--steps", 5), "--steps 5 found, but this bundle's U-Net was distilled for 4 steps with guidance 2 inside and knows the"),
        (("--guidance", 8), "--guidance 8 found, but this bundle's U-Net was distilled for 4 steps with guidance 2 inside; leave"),
        (("--guidance", 1), "--guidance 1 found"),
        (("--guidance-interval", "0.1:0.5"), "--guidance-interval found, but this"),
    ],
)
def test_what_a_student_was_not_made_for_is_one_line(gen, student, words, said):
    found = gen("--count", 1, *words, plan=student.path, code=2)
    assert said in found
    assert "Traceback" not in found


def test_a_student_needs_no_new_flags(gen, student, tmp_path):
    gen("--count", 3, "--max-area", 1, plan=student.path)
    held = settings(tmp_path / "out")
    assert (held["steps"], held["guidance"]) == (4, 2.0)
    gen("--count", 3, "--max-area", 1, "--steps", 4, "--guidance", 2, plan=student.path, out="same")
    assert tree(tmp_path / "out") == tree(tmp_path / "same")
    gen("--count", 1, "--normals", 2, "--steps", 12, "--max-area", 1, plan=student.path, out="finer")
    said = list(describe_bundle(student))
    assert "student     method consistency, steps 4, guidance 2.0, grid 12" in said


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"schedule": SCHEDULE | {"solver": "heun"}}, "schedule.solver"),
        ({"student": None}, "student: one of method consistency"),
        ({"schedule": SCHEDULE}, "student: one of method consistency"),
        ({"student": STUDENT | {"steps": 5}}, "a multiple of the 5 steps"),
        ({"student": STUDENT | {"guidance": 3.0}}, "that of the student expected"),
        ({"student": STUDENT | {"method": "magic"}}, "student.method"),
        ({"student": STUDENT | {"grid": 400_000}}, "student.grid"),
        ({"defaults": DEFAULTS | {"steps": 5}}, "defaults.steps"),
    ],
)
def test_manifests_that_contradict_themselves(plan_folder, fields, word):
    with pytest.raises(BundleError, match=word):
        seal(plan_folder, **({"defaults": DEFAULTS} | FIELDS | fields))


def test_guidance_alone_is_sampled_by_the_ordinary_solver(gen, plan_folder, bundle, tmp_path):
    other = {"method": "guidance", "steps": 8, "guidance": 2.0, "grid": 8}
    seal(plan_folder, student=other)
    with seas_runtime.open(plan_folder, "cpu", threads=1) as made, seas_runtime.open(bundle, "cpu", threads=1) as plain:
        found, expected = every(made, count=2, steps=7), every(plain, count=2, steps=7, guidance=1.0)
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.image, two.image)
    assert "--guidance 3 found" in gen("--count", 1, "--guidance", 3, plan=plan_folder, code=2)


def test_bundles_of_before_read_as_before(bundle):
    said = (bundle.path / "manifest.json").read_text()
    assert all(word not in said for word in ("solver", "student", "mask_source", "mask_timestep", "guidance_interval"))
    assert (bundle.manifest.student, bundle.manifest.look, bundle.manifest.schedule.consistency) == (None, None, False)
