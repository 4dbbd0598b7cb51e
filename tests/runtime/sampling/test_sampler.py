import numpy as np
import pytest

import seas_runtime
from seas_runtime.errors import BackendError
from seas_runtime.kernels.reference import to_pixels
from seas_runtime.sampling.pairs import draw_pair
from seas_runtime.sampling.recipe import Plan
from tests.runtime import small_bundle
from tests.runtime.engine_checks import every
from tests.runtime.sampling.by_hand import by_hand, levels

USUAL = {"steps": 6, "guidance": 2.5, "mask_steps": 3}


@pytest.fixture(scope="module")
def generator(bundle):
    return seas_runtime.open(bundle, "cpu", threads=1)


@pytest.mark.parametrize(("guidance", "steps", "mask_steps"), [(2.5, 6, 3), (1.0, 4, 1), (4.0, 1, 1), (2.0, 2, 2)])
def test_pairs_are_those_worked_by_hand(bundle, generator, guidance, steps, mask_steps):
    samples = every(generator, count=5, seed=3, batch=3, steps=steps, guidance=guidance, mask_steps=mask_steps)
    assert [sample.index for sample in samples] == [0, 1, 2, 3, 4]
    plan, seen = Plan(small_bundle.DEFECTS, 3, 5, 3), set()
    for sample in samples:
        image, probability = by_hand(bundle, draw_pair(plan, sample.index, 0, 6), steps, guidance, mask_steps)
        assert sample.image.shape == (8, 8, 3)
        assert np.abs(sample.image - levels(image)).max() < 0.51
        clear = np.abs(probability - 0.5) > 1e-4
        assert (sample.mask == np.where(probability > 0.5, 255, 0))[clear].all()
        seen |= set(np.unique(sample.mask))
    assert seen == {0, 255}


def test_batches_of_1_3_and_8_give_the_same_pairs(generator):
    runs = [every(generator, count=8, seed=1, batch=size, **USUAL) for size in (1, 3, 8)]
    for other in runs[1:]:
        for first, second in zip(runs[0], other, strict=True):
            assert first.draw == second.draw
            assert np.abs(first.image.astype(int) - second.image).max() <= 1
            assert (first.mask != second.mask).mean() <= 0.01


class Counting:
    """Counts the rows that each graph is given, and passes them on."""

    workers = 1

    def __init__(self, backend):
        self.backend, self.name, self.rows = backend, backend.name, []

    def run(self, graph, feeds, outputs):
        self.rows.append((graph, len(next(iter(feeds.values()))), len(outputs)))
        return self.backend.run(graph, feeds, outputs)


@pytest.mark.parametrize(("guidance", "rows"), [(1.0, 3), (2.0, 6)])
def test_work_done_is_the_work_needed(bundle, generator, guidance, rows):
    counting = Counting(generator.backend)
    every(seas_runtime.Generator(bundle, counting), count=3, batch=3, steps=4, guidance=guidance, mask_steps=1)
    assert counting.rows == [("unet", rows, 1)] * 3 + [
        ("unet", rows, 3),
        ("mask_branch", 3, 1),
        ("decoder", 3, 1),
    ]


def test_refused_pairs_get_new_noise_and_the_others_stay(generator):
    words = {"count": 12, "seed": 1, "batch": 12, **USUAL}
    once = every(generator, **words)
    areas = sorted(int((sample.mask > 0).sum()) for sample in once)
    words |= {"min_area": areas[4], "retries": 3}  # about a third of the first attempts fails
    samples, again = every(generator, **words), every(generator, **words)
    attempts = [sample.attempt for sample in samples]
    assert set(attempts) > {0, 1}
    for first, sample, repeat in zip(once, samples, again, strict=True):
        kept = (first.mask > 0).sum() >= areas[4]
        assert kept == (sample.attempt == 0)
        assert np.array_equal(first.image, sample.image) == kept
        assert np.array_equal(sample.image, repeat.image)
        assert (sample.verdict == "ok") == ((sample.mask > 0).sum() >= areas[4])
        assert sample.verdict == "ok" or sample.attempt == 3


def test_a_retry_is_what_its_own_noise_gives(bundle, generator):
    """A gate that nothing passes: the last attempt is left, made from (seed, index, attempt) alone."""
    plan = Plan(small_bundle.DEFECTS, 1, 4, 4)
    for sample in every(generator, count=4, seed=1, min_area=65, retries=2, **USUAL):
        assert sample.attempt == 2
        assert sample.verdict in {"too small", "empty"}
        image, _ = by_hand(bundle, draw_pair(plan, sample.index, 2, 6), 6, 2.5, 3)
        assert np.abs(sample.image - levels(image)).max() < 0.51


@pytest.mark.parametrize("graph", ["unet", "decoder", "mask_branch"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_an_error(bundle, generator, graph, value):
    class Broken(Counting):
        def run(self, name, feeds, outputs):
            results = super().run(name, feeds, outputs)
            if name == graph:
                results[outputs[-1]].flat[-1] = value
            return results

    broken = seas_runtime.Generator(bundle, Broken(generator.backend))
    with pytest.raises(BackendError, match=f"{graph} on backend cpu gave NaN or infinity"):
        every(broken, count=2, **USUAL)


def test_pixels_are_rounded_and_clipped():
    image = np.array([-2, -1, -1 + 1 / 127.5, 0.003, 1, 7], np.float32).reshape(1, 1, 6).repeat(3, axis=0)
    assert to_pixels(image)[0, :, 0].tolist() == [0, 0, 1, 128, 255, 255]
