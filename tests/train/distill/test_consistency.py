"""Levels, predictions, targets and losses of distillation, against diffusers and by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, LCMScheduler
from torch import nn

from seas_train import reference
from seas_train.distill import train
from seas_train.distill.consistency import Levels, clean_and_noise, levels_of, pseudo_huber
from seas_train.distill.settings import DistillSettings
from seas_train.distill.train import Batch, Learner
from seas_train.models import components

SCHEDULE = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
LCM = LCMScheduler(**SCHEDULE, clip_sample=False)


def test_levels_are_those_of_the_schedule_and_end_clean():
    levels, scheduler = levels_of(components.build_scheduler(), 4), components.build_scheduler()
    assert levels.timesteps.tolist() == [999, 749, 500, 250]  # 749.25, 499.5 and 249.75, rounded half to even
    torch.testing.assert_close(levels.alpha[:4] ** 2, scheduler.alphas_cumprod[levels.timesteps])
    torch.testing.assert_close(levels.alpha**2 + levels.sigma**2, torch.ones(5))
    assert (levels.alpha[4], levels.sigma[4], levels.c_skip[4], levels.c_out[4]) == (1, 0, 1, 0)
    for index, t in enumerate(levels.timesteps.tolist()):
        skip, out = LCM.get_scalings_for_boundary_condition_discrete(t)
        assert float(levels.c_skip[index]) == pytest.approx(skip, rel=1e-5)
        assert float(levels.c_out[index]) == pytest.approx(out, rel=1e-6)


def test_all_timesteps_of_training_are_levels_too():
    levels = levels_of(components.build_scheduler(), None)
    assert levels.timesteps.tolist() == list(range(999, -1, -1))
    torch.testing.assert_close(levels.alpha[:-1] ** 2, components.build_scheduler().alphas_cumprod.flip(0))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("t", [20, 500, 999])
def test_predictions_are_those_of_ddim(prediction, t):
    ddim = DDIMScheduler(**SCHEDULE, clip_sample=False, prediction_type=prediction)
    ddim.set_timesteps(1000)
    output, x = torch.randn(2, 2, 4, 8, 8, generator=torch.Generator().manual_seed(t))
    expected = ddim.step(output, t, x, eta=0.0)
    level, before = ddim.alphas_cumprod[t], ddim.alphas_cumprod[t - 1]
    clean, noise = clean_and_noise(output, x, level.sqrt(), (1 - level).sqrt(), prediction)
    torch.testing.assert_close(clean, expected.pred_original_sample, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(before.sqrt() * clean + (1 - before).sqrt() * noise, expected.prev_sample, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_step_of_sampling_is_that_of_diffusers(steps):
    scheduler, times = components.build_scheduler(), levels_of(components.build_scheduler(), steps).timesteps
    x, *outputs = torch.randn(1 + steps, 2, 4, 8, 8, generator=torch.Generator().manual_seed(steps))
    fresh = torch.randn(steps, 2, 4, 8, 8, generator=torch.Generator().manual_seed(9))
    for i, t in enumerate(times):
        skip, out = LCM.get_scalings_for_boundary_condition_discrete(int(t))
        level = LCM.alphas_cumprod[t]
        clean = skip * x + out * (x - (1 - level).sqrt() * outputs[i]) / level.sqrt()
        expected = clean if i == steps - 1 else LCM.add_noise(clean, fresh[i], times[i + 1].expand(2))
        x = reference.consistency_step(scheduler, outputs[i], x, times[i:], fresh[i : i + 1])
        torch.testing.assert_close(x, expected, rtol=1e-4, atol=1e-4)


def test_pseudo_huber_by_hand():
    found = pseudo_huber(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 0.0]), 4.0)
    assert float(found) == pytest.approx((0 + (3**2 + 4**2) ** 0.5 - 4) / 2)


class Toy(nn.Module):
    """A U-Net of three numbers: output = a * z + b * t + c * mean of the prompt."""

    def __init__(self, *values):
        super().__init__()
        self.values = nn.Parameter(torch.tensor(values))

    def forward(self, z, t, prompt):
        a, b, c = self.values
        return SimpleNamespace(sample=a * z + b * t.view(-1, 1, 1, 1) / 1000 + c * prompt.mean(dim=(1, 2)).view(-1, 1, 1, 1))


def toy(z, t, prompt, a, b, c):
    return a * z + b * t / 1000 + c * np.mean(prompt)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("method", ["consistency", "guidance"])
def test_the_loss_is_that_of_a_loop(method, guidance):
    rng = np.random.default_rng(0)
    settings = DistillSettings(method=method, guidance=guidance, solver_steps=4, huber=0.05)
    levels = levels_of(components.build_scheduler(), 4 if method == "consistency" else None)
    embeddings = rng.normal(size=(4, 3, 2)).astype(np.float32)
    weights = {"student": (0.3, -0.2, 0.5), "teacher": (0.4, 0.1, 0.7), "target": (0.2, 0.3, -0.4)}
    learner = Learner(
        Toy(*weights["student"]), {"values": torch.tensor(weights["teacher"])}, levels, torch.from_numpy(embeddings), "epsilon"
    )
    z = rng.normal(size=(4, 2, 3, 3)).astype(np.float32)
    index, prompt = [0, 1, 3, 3], [0, 1, 2, 0]
    batch = Batch(torch.from_numpy(z), torch.tensor(index), torch.tensor(prompt))
    found = train.losses(learner, {"values": torch.tensor(weights["target"])}, batch, settings)["loss"]

    def consistent(z, at, prompt, who):
        t, alpha, sigma = int(levels.timesteps[at]), float(levels.alpha[at]), float(levels.sigma[at])
        skip, out = LCM.get_scalings_for_boundary_condition_discrete(t)
        return skip * z + out * (z - sigma * toy(z, t, prompt, *weights[who])) / alpha

    total = []
    for one, at, which in zip(z, index, prompt, strict=True):
        t, alpha, sigma = int(levels.timesteps[at]), float(levels.alpha[at]), float(levels.sigma[at])
        with_prompt, without = (toy(one, t, p, *weights["teacher"]) for p in (embeddings[which], embeddings[3]))
        noise = without + guidance * (with_prompt - without)
        if method == "guidance":
            total.append((toy(one, t, embeddings[which], *weights["student"]) - noise) ** 2)
            continue
        later = float(levels.alpha[at + 1]) * (one - sigma * noise) / alpha + float(levels.sigma[at + 1]) * noise
        expected = later if at == 3 else consistent(later, at + 1, embeddings[which], "target")
        difference = consistent(one, at, embeddings[which], "student") - expected
        total.append(np.sqrt(difference**2 + 0.05**2) - 0.05)
    assert float(found.detach()) == pytest.approx(np.mean(total), rel=1e-4)
    found.backward()
    assert learner.unet.values.grad.abs().min() > 0


def test_levels_move_together():
    assert isinstance(levels_of(components.build_scheduler(), 2).to(torch.device("cpu")), Levels)


@pytest.mark.parametrize(
    ("given", "word"),
    [({"solver_steps": 6}, "no multiple of steps 4"), ({"generated": 0, "generated_share": 1.0}, "nothing to learn")],
)
def test_settings_that_contradict_themselves(given, word):
    with pytest.raises(ValueError, match=word):
        DistillSettings(**given)


def test_what_a_student_is_for():
    student = DistillSettings().student
    assert student.runs == (1, 2, 3, 4, 6, 8, 12, 16, 24, 48)
    other = DistillSettings(method="guidance", steps=10, guidance=3).student
    assert (other.runs, other.steps, other.guidance) == ((), 10, 3.0)
