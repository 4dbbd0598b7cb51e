"""Pairs that start from composites: worked by hand, drawn from all of their type, and with the composite's own photograph."""

import numpy as np
import pytest
from safetensors.numpy import save_file

import seas_runtime
from seas_runtime import Options
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.doctor import describe_bundle
from seas_runtime.errors import BundleError, SettingsError
from seas_runtime.sampling.noise import START
from seas_runtime.sampling.pairs import draw_pair
from seas_runtime.sampling.recipe import Plan
from seas_runtime.settings import resolve
from tests.runtime import small_bundle
from tests.runtime.sampling.by_hand import levels, scheduler, solver_step

COUNT = 9
USUAL = {"steps": 8, "guidance": 2.5, "mask_steps": 3, "retries": 0, "max_area": 1.0}


def masks_of(defect):
    """(COUNT, H, W) bool, each with another rectangle."""
    masks = np.zeros((COUNT, small_bundle.IMAGE, small_bundle.IMAGE), bool)
    for number, mask in enumerate(masks):
        mask[number % 4 : 6, len(defect) - 4 : 3 + number % 5] = True
    return masks


def composed(folder, count=COUNT, shape=(2, 4, 4), said=COUNT, kind=np.uint8, **fields):
    """Put composites in a bundle and seal it again."""
    rng = np.random.default_rng(2)
    more = {f"composite.{name}": rng.normal(size=(count, *shape)).astype(np.float32) for name in small_bundle.DEFECTS}
    more |= {f"composite_mask.{name}": np.packbits(masks_of(name)[:count], axis=-1).astype(kind) for name in small_bundle.DEFECTS}
    save_file(small_bundle.conditioning() | more, folder / "conditioning.safetensors")
    small_bundle.seal(
        folder, photographs=small_bundle.write_photographs(folder), **({"composites": said} if said else {}), **fields
    )
    return folder


def test_a_pair_is_the_one_worked_by_hand(plan_folder):
    strength = 0.6
    with seas_runtime.open(composed(plan_folder), "cpu") as generator:
        bundle = generator.bundle
        made = list(generator.pairs(6, seed=4, background="generated", strength=strength, **USUAL))
        seen = list(generator.pairs(6, seed=4, background="generated", strength=strength, mask="branch", **USUAL))
        usual = list(generator.pairs(6, seed=4, init="normal", **USUAL))
    assert made
    by_index = {pair.index: pair.image for pair in usual}
    assert all(not np.array_equal(pair.image, by_index.get(pair.index)) for pair in made)
    assert [pair.index for pair in made] == list(range(6))
    for pair in made:
        np.testing.assert_array_equal(pair.mask, np.where(masks_of(pair.defect)[pair.draw.composite], 255, 0))
    assert seen
    for pair in seen:
        np.testing.assert_array_equal(pair.image, made[pair.index].image)
    assert any(np.any(pair.mask != made[pair.index].mask) for pair in seen)
    for pair in made:
        draw, held, solver = pair.draw, bundle.conditioning, scheduler(USUAL["steps"])
        times = solver.timesteps.numpy()
        first = next(i for i, t in enumerate(times) if t <= strength * times[0] + 1e-9)
        assert first > 0
        solver.set_begin_index(first)
        signal = solver.alphas_cumprod.numpy()[times[first]]
        words = np.random.Philox(counter=[0, 0, 0, 6], key=[4, 0]).random_raw(COUNT)
        turn = pair.index // len(small_bundle.DEFECTS)
        latent = held.composites[pair.defect][sorted(range(COUNT), key=words.tolist().__getitem__)[turn]]
        x = (np.sqrt(signal) * latent + np.sqrt(1 - signal) * draw.stream.normals(START, (2, 4, 4)))[None].astype(np.float32)
        for t in times[first:]:
            x, _, _ = solver_step(solver, x, t, held.prompts[pair.defect], held.empty, USUAL["guidance"])
        assert np.abs(pair.image - levels(small_bundle.decoder(x)[0])).max() <= 0.51
        assert pair.normal == draw.composite % small_bundle.NORMALS


def test_every_composite_has_its_turn_before_one_comes_again_and_a_normal_image_is_of_none():
    plan = Plan(("crack", "stain"), 5, 8 * COUNT, 4)
    found = [draw_pair(plan, i, 0, 6, COUNT) for i in range(8 * COUNT)]
    for defect in plan.defects:
        numbers = [draw.composite for draw in found if draw.defect == defect]
        rounds = [numbers[at : at + COUNT] for at in range(0, len(numbers), COUNT)]
        assert all(sorted(each) == list(range(COUNT)) for each in rounds)
        assert len(set(map(tuple, rounds))) == 4
    assert all(draw.normal == draw.composite % 6 for draw in found)
    again = [draw_pair(plan, i, 1, 6, COUNT).composite for i in range(400)]
    assert np.bincount(again, minlength=COUNT).min() > 20  # 44 expected
    assert draw_pair(Plan(("good",), 0, 1, 1), 0, 0, 6, COUNT).composite is None


def test_outside_its_mask_a_pair_is_the_photograph_under_the_composite(plan_folder):
    with seas_runtime.open(composed(plan_folder), "cpu") as generator:
        pairs = list(generator.pairs(12, seed=1, init="composite", background="real", strength=0.5, **USUAL))
    assert any(0 < pair.area < pair.mask.size for pair in pairs)
    for pair in pairs:
        kept = pair.mask == 0  # the soft edge is one pixel wide here
        np.testing.assert_array_equal(pair.image[kept], small_bundle.photographs()[pair.draw.composite % 6][kept])


def test_pairs_are_those_of_any_batch(plan_folder):
    with seas_runtime.open(composed(plan_folder), "cpu") as generator:
        together = list(generator.pairs(5, seed=2, batch=4, init="composite", **USUAL))
        alone = list(generator.pairs(5, seed=2, batch=1, init="composite", **USUAL))
    for one, other in zip(together, alone, strict=True):
        assert np.abs(one.image.astype(int) - other.image).max() <= 1
        assert one.draw == other.draw


def test_the_usual_strength(plan_folder):
    manifest = read_bundle(composed(plan_folder)).manifest
    assert resolve(manifest, "x", Options(count=1, init="composite")).strength == 0.4
    assert resolve(manifest, "x", Options(count=1, init="composite", strength=1.0)).strength == 1.0
    assert resolve(manifest, "x", Options(count=1, init="normal", background="real")).strength == 1.0
    for steps in (1, 2, 3):  # few steps leave none at 0.4, and whoever gave no strength is not told of it
        found = resolve(manifest, "x", Options(count=1, steps=steps, mask_steps=1))
        times = scheduler(steps).timesteps.numpy()
        assert found.strength == pytest.approx(max(0.4, times[-1] / times[0]), abs=1e-3)


def test_a_student_is_called_as_often_as_it_was_made_for(plan_folder):
    """At 0.4 of the noise and less are 4 of 12 steps, 1 of 3."""
    student = {"method": "consistency", "steps": 3, "guidance": 2.0, "grid": 12}
    schedule = small_bundle.SCHEDULE | {"solver": "consistency"}
    defaults = small_bundle.manifest_fields()["defaults"] | {"steps": 3, "mask_steps": 2}
    manifest = read_bundle(composed(plan_folder, schedule=schedule, student=student, defaults=defaults)).manifest
    found = resolve(manifest, "x", Options(count=1))
    assert (found.steps, found.strength) == (12, 0.4)
    assert resolve(manifest, "x", Options(count=1, init="normal")).steps == 3
    assert resolve(manifest, "x", Options(count=1, steps=3)).steps == 3


def test_whose_mask(plan_folder):
    manifest = read_bundle(composed(plan_folder)).manifest
    assert resolve(manifest, "x", Options(count=1, init="composite")).mask == "composite"
    assert resolve(manifest, "x", Options(count=1, init="composite", mask="branch")).mask == "branch"
    assert resolve(manifest, "x", Options(count=1, init="normal")).mask == "branch"
    with pytest.raises(SettingsError, match="--mask composite found without composites to start from; add --init composite"):
        resolve(manifest, "x", Options(count=1, init="normal", mask="composite"))


def test_masks_that_are_no_bits(plan_folder):
    composed(plan_folder, kind=np.float32)
    with pytest.raises(BundleError, match=r"composite_mask.crack is float32 \(9, 8, 1\), uint8 \(9, 8, 1\) expected"):
        read_bundle(plan_folder)


def test_a_bundle_without_them(bundle, gen):
    with pytest.raises(SettingsError, match=r"--init composite needs .* export it with seas-export --composites 100"):
        resolve(bundle.manifest, "x", Options(count=1, init="composite"))
    assert "the bundle has none" in gen("--count", "1", "--init", "composite", code=2)


@pytest.mark.parametrize(
    ("count", "shape", "said", "reason"),
    [
        (
            COUNT,
            (2, 4, 4),
            None,
            "unknown tensors composite.crack, composite.hole, composite.stain, composite_mask.crack",
        ),
        (4, (2, 4, 4), COUNT, r"composite.crack has the shape \(4, 2, 4, 4\), \(9, 2, 4, 4\) expected"),
        (COUNT, (3, 4, 4), COUNT, "composite.crack has the shape"),
    ],
)
def test_composites_that_are_not_what_the_manifest_says(plan_folder, count, shape, said, reason):
    with pytest.raises(BundleError, match=reason):
        read_bundle(composed(plan_folder, count, shape, said))


def test_a_bundle_that_says_it_has_them_and_has_not(plan_folder):
    small_bundle.seal(plan_folder, composites=3)
    with pytest.raises(BundleError, match=r"missing or unknown tensors composite\.crack"):
        read_bundle(plan_folder)


def test_a_bundle_with_composites_starts_from_them_where_nothing_is_asked(plan_folder):
    manifest = read_bundle(composed(plan_folder)).manifest

    def start(bundle, **asked):
        found = resolve(bundle, "x", Options(count=1, **asked))
        return found.init, found.background, found.mask, found.strength

    assert start(manifest) == ("composite", "real", "composite", 0.4)
    assert start(manifest, background="generated") == ("composite", "generated", "composite", 0.4)
    assert start(manifest, init="normal") == ("normal", "generated", "branch", 1.0)
    assert start(manifest.model_copy(update={"photographs": None})) == ("composite", "generated", "composite", 0.4)
    assert start(manifest.model_copy(update={"composites": None})) == ("normal", "generated", "branch", 1.0)


def test_what_pairs_start_from_is_said(plan_folder, gen):
    composed(plan_folder)
    words = ("--steps", 3, "--mask-steps", 1, "--max-area", 1)
    assert "pairs start from training anomalies placed on normal images, and these are the masks" in gen(
        "--count", 2, *words, plan=plan_folder
    )
    assert "and the mask branch marks them" in gen("--count", 2, "--mask", "branch", *words, plan=plan_folder, out="b")
    for out, asked in (("n", ("--init", "normal", "--count", 2)), ("g", ("--normals", 2))):
        assert "pairs start from" not in gen(*asked, *words, plan=plan_folder, out=out)


@pytest.mark.parametrize(("said", "told"), [({}, "1"), ({"composite_anomalies": 1.5}, "1.5")])
def test_how_many_anomalies_are_on_one_is_told(plan_folder, said, told):
    lines = list(describe_bundle(read_bundle(composed(plan_folder, **said))))
    assert any(line.endswith(f"{COUNT} composites of each type (anomalies on one: {told} in the mean)") for line in lines)


@pytest.mark.parametrize("said", [0.5, 4, "many"])
def test_a_number_of_anomalies_that_is_none(plan_folder, said):
    with pytest.raises(BundleError, match="composite_anomalies"):
        composed(plan_folder, composite_anomalies=said)
