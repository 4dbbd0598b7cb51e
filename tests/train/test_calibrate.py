"""Thresholds and limits learned from the training anomalies, against brute force."""

import dataclasses

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from seas_runtime.bundle.manifest import Defect
from seas_train import calibrate, run_folder
from seas_train.data.dataset import ImageSet, step_generator
from seas_train.models import components, taps
from seas_train.reference import SampleSettings
from tests.train.refusals import data_error

SAMPLER = SampleSettings(steps=6, mask_steps=3)
THRESHOLDS = [round(0.01 * step, 2) for step in range(1, 100)]


@st.composite
def probabilities_and_masks(draw):
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)))
    # off the candidates, so that rounding decides nothing
    values = st.integers(0, 99).map(lambda step: 0.01 * step + 0.005)
    return draw(arrays.arrays(np.float64, shape, elements=values)), draw(arrays.arrays(bool, shape))


def iou(found, mask):
    pixels = list(np.ndindex(mask.shape))
    both, either = sum(found[p] and mask[p] for p in pixels), sum(found[p] or mask[p] for p in pixels)
    return both / either if either else 1.0


@settings(max_examples=20)
@given(probabilities_and_masks())
def test_the_best_threshold_is_the_middle_one_of_the_best(given_):
    means, masks = given_
    scores = [np.mean([iou(mean > t, mask) for mean, mask in zip(means, masks, strict=True)]) for t in THRESHOLDS]
    best = [t for t, score in zip(THRESHOLDS, scores, strict=True) if score > max(scores) - 1e-6]
    found = calibrate.best_iou(torch.tensor(means, dtype=torch.float32), torch.from_numpy(masks))
    assert found == pytest.approx(best[len(best) // 2], abs=1e-6)


@settings(max_examples=30)
@given(probabilities_and_masks())
def test_the_same_area_is_the_nearest_median(given_):
    means, masks = given_

    def median(marked):
        return sorted(int(one.sum()) for one in marked)[(len(marked) - 1) // 2]  # the lower of two

    gaps = [abs(median(means > t) - median(masks)) for t in THRESHOLDS]
    best = [t for t, gap in zip(THRESHOLDS, gaps, strict=True) if gap == min(gaps)]
    found = calibrate.same_area(torch.tensor(means, dtype=torch.float32), torch.from_numpy(masks))
    assert found == pytest.approx(best[len(best) // 2], abs=1e-6)


@given(arrays.arrays(bool, st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))))
def test_agreement_is_what_all_mark_over_what_any_marks(masks):
    pixels = list(np.ndindex(masks.shape[1:]))
    every, some = (sum(f(mask[p] for mask in masks) for p in pixels) for f in (all, any))
    assert float(calibrate.agreement(torch.from_numpy(masks))) == pytest.approx(every / some if some else 1.0)


@pytest.fixture(scope="module")
def run(tuned):
    return run_folder.load(tuned)


@pytest.fixture(scope="module")
def few(product):
    """Two anomalies of one type and one of another."""
    by_type = {}
    for record in product.anomalies:
        by_type.setdefault(record.defect, []).append(record)
    several, lone = list(by_type)[:2]
    return ImageSet([*by_type[several][:2], by_type[lone][0]], 64), several, lone


def test_the_branch_sees_the_last_levels_of_the_sampler(run, few):
    """Against the plain networks, and the noise schedule worked out from its betas."""
    anomalies, several, _ = few
    found = calibrate.probabilities(run, anomalies, 1, SAMPLER, step_generator(7, 1))
    assert found.shape == (3, 64, 64)
    times = np.linspace(0, 999, 7).round().astype(int)[::-1][3:6]  # the last three of six
    posterior, noise = torch.randn(2, 1, 4, 8, 8, generator=step_generator(7, 1))
    mean, std = components.encode_moments(run.model.vae, anomalies[1][0][None])
    signal = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2, 0)
    prompt = run.embed([run.facts.prompts.anomaly[several]])
    for row, t in enumerate(times.tolist()):
        latent = signal[t].sqrt() * (mean + std * posterior) + (1 - signal[t]).sqrt() * noise
        with torch.no_grad(), taps.decoder_taps(run.model.unet) as tap:
            run.model.unet(latent, t, prompt)
            features = taps.decode_features(run.model.vae, latent)
            expected = run.rmp(tap.up2, tap.up3, *features)[0, 0]
        torch.testing.assert_close(found[row], expected, rtol=1e-3, atol=1e-4)
    assert isinstance(run.model.scheduler, DDPMScheduler)


@pytest.mark.parametrize("criterion", ["iou", "area"])
def test_each_type_has_what_its_anomalies_teach(run, few, criterion):
    anomalies, several, lone = few
    found = calibrate.calibrate(run, anomalies, criterion, SAMPLER)
    assert list(found) == [several, lone]
    for defect, learned in found.items():
        Defect(name=defect, prompt="x", **learned.model_dump())  # what a manifest can hold
        assert learned.threshold in THRESHOLDS
        shares = [
            float(mask.mean()) for (_, mask), record in zip(anomalies, anomalies.records, strict=True) if record.defect == defect
        ]
        assert learned.min_area == pytest.approx(min(shares) / 2)
    alone = ImageSet([record for record in anomalies.records if record.defect == lone], 64)
    assert calibrate.calibrate(run, alone, criterion, SAMPLER) == calibrate.calibrate(run, alone, criterion, SAMPLER)


class Branch(torch.nn.Module):
    """A mask branch that says the same of everything, or of each step its own."""

    def __init__(self, config, *levels):
        super().__init__()
        self.config, self.levels = config, levels

    def forward(self, up2, _up3, *_features, more=()):
        del more
        rows = [torch.full((1, 64, 64), level) if isinstance(level, float) else level for level in self.levels]
        assert len(up2) == len(rows)
        return torch.stack(rows)


def with_branch(run, *levels):
    return dataclasses.replace(run, rmp=Branch(run.rmp.config, *levels))


@pytest.mark.parametrize("criterion", ["iou", "area"])
def test_a_branch_that_never_marks_anything_teaches_nothing(run, few, criterion):
    """Masks that are all empty agree, but a limit of 1 learned of them would refuse every other."""
    found = calibrate.calibrate(with_branch(run, 0.0, 0.0, 0.0), few[0], criterion, SAMPLER)
    assert {(learned.threshold, learned.agreement) for learned in found.values()} == {(0.5, 0.0)}


def test_a_branch_that_knows_the_answer(run, few):
    """Two of three steps say the true mask, the third half of it: the threshold is where all of it is found, the IoU one half."""
    anomalies, several, _ = few
    one = ImageSet([next(record for record in anomalies.records if record.defect == several)], 64)
    mask = one[0][1]
    half = mask.clone()
    half.view(-1)[mask.view(-1).nonzero()[::2, 0]] = 0
    found = calibrate.calibrate(with_branch(run, 0.9 * mask, 0.9 * mask, 0.9 * half), one, "iou", SAMPLER)[several]
    assert found.threshold == 0.3  # of 0.01 to 0.59, where the mean of 0.9, 0.9 and 0 is above
    assert found.agreement == pytest.approx(float(half.sum() / mask.sum()), abs=1e-3)


def test_a_run_without_a_mask_branch_is_refused(run, few):
    without = dataclasses.replace(run, rmp=None)
    assert "has no mask branch" in data_error(calibrate.calibrate, without, few[0], "iou", SAMPLER)
