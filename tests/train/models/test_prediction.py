"""What a U-Net is to predict, against diffusers' own schedulers, down to no signal at all."""

import pytest
import torch
from diffusers import DDIMScheduler

from seas_train import masks, reference, tune
from seas_train import prompts as ua
from seas_train.base import unet as base_unet
from seas_train.base.settings import BaseSettings
from seas_train.models import components, prediction
from tests.train.drawing import drawn

SCHEDULES = [("epsilon", False), ("v_prediction", False), ("v_prediction", True)]


def latents():
    return torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("kind", "zero_snr"), SCHEDULES)
def test_the_target_is_diffusers_own(kind, zero_snr):
    scheduler, (clean, noise) = components.build_scheduler(kind, zero_snr), latents()
    steps = torch.tensor([0, 400, 999])
    expected = noise if kind == "epsilon" else scheduler.get_velocity(clean, noise, steps)
    torch.testing.assert_close(prediction.target(scheduler, clean, noise, steps), expected)


@pytest.mark.parametrize(("kind", "zero_snr"), SCHEDULES)
def test_a_perfect_prediction_tells_image_and_noise(kind, zero_snr):
    """Where nothing but noise is left, v is the image itself, sign turned."""
    scheduler, (clean, noise) = components.build_scheduler(kind, zero_snr), latents()
    steps = torch.tensor([0, 400, 999])
    noisy = scheduler.add_noise(clean, noise, steps)
    found = prediction.split(scheduler, noisy, prediction.target(scheduler, clean, noise, steps), steps)
    torch.testing.assert_close(found[0], clean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[1], noise, rtol=1e-4, atol=1e-4)
    if zero_snr:
        torch.testing.assert_close(noisy[2], noise[2])


@pytest.mark.parametrize("zero_snr", [False, True])
@pytest.mark.parametrize("t", [1, 400, 999])
def test_the_previous_latents_are_those_of_ddim(t, zero_snr):
    scheduler, (noisy, predicted) = components.build_scheduler("v_prediction", zero_snr), latents()
    ddim = DDIMScheduler.from_config(scheduler.config, clip_sample=False)
    ddim.set_timesteps(1000)
    expected = ddim.step(predicted, t, noisy).prev_sample
    found = masks.previous_latents(scheduler, noisy, predicted, torch.full((3,), t))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


class Knowing(torch.nn.Module):
    """Stands for a U-Net; gives what it was told."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, *_):
        return type("Output", (), {"sample": self.answer})


@pytest.mark.parametrize(("kind", "zero_snr"), SCHEDULES)
def test_the_losses_compare_what_the_base_predicts(model, product, images, tune_settings, kind, zero_snr, monkeypatch):
    """A U-Net that answers with the definition of its kind, written out here, has no loss; one of the other kind has."""
    model.scheduler = components.build_scheduler(kind, zero_snr)
    learner = tune.prepare(model, ua.compose(product.defects, tune_settings), tune_settings)
    batch, noise = drawn(model, images, (2, 2))
    mean, std = learner.encode(batch.images, batch.views)
    clean = mean + std * noise.posterior
    alpha_bar = model.scheduler.alphas_cumprod[noise.timesteps].view(-1, 1, 1, 1)
    v = alpha_bar**0.5 * noise.noise - (1 - alpha_bar) ** 0.5 * clean
    monkeypatch.setattr(tune, "_alignment", lambda *_: torch.zeros(()))
    right, wrong = (noise.noise, v) if kind == "epsilon" else (v, noise.noise)
    for answer, none in ((right, True), (wrong, False)):
        learner.model.unet = Knowing(answer)
        terms = tune.losses(learner, batch, noise, tune_settings)
        assert (float(terms["df"]) < 1e-10, float(terms["ob"]) < 1e-10) == (none, none)


def test_a_small_base_learns_v(model):
    model.scheduler = components.build_scheduler("v_prediction")
    clean, noise = latents()
    steps = torch.tensor([3, 500, 999])
    v = model.scheduler.get_velocity(clean, noise, steps)
    model.unet = Knowing(v)
    batch = base_unet.Batch(clean, noise, torch.zeros(3, 1, 8, 8), steps, ["a bottle"] * 3)
    assert float(base_unet.losses(model, batch, BaseSettings(prediction="v_prediction"))["loss"]) < 1e-10


def test_how_a_base_was_sampled_before_does_not_matter(model):
    """diffusers carries settings of one scheduler over into another: the reference sampler must not hear of them."""
    model.scheduler = type(model.scheduler).from_config({**model.scheduler.config, "use_karras_sigmas": True, "solver_order": 3})
    run = type("Run", (), {"model": model})
    plain = reference.solver(run, reference.SampleSettings())
    assert not plain.config.use_karras_sigmas
    assert plain.config.solver_order == 2
