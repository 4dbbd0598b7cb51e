"""Training of the mask branch and the sampler that uses it."""

import dataclasses
import shutil

import pytest
import torch
from diffusers import DDIMScheduler

from seas_runtime.errors import SettingsError
from seas_train import masks, reference, run_folder
from seas_train.config import MaskSettings
from seas_train.data.dataset import step_generator
from seas_train.losses import focal_loss
from seas_train.models import components
from seas_train.models.rmp import RefinedMaskPredictor
from seas_train.training.batches import sample_batch
from tests.train.drawing import noise_for
from tests.train.refusals import data_error


@pytest.fixture(scope="module")
def frozen(tuned):
    return run_folder.load(tuned)


@pytest.fixture
def batch(images):
    return sample_batch(*images, (2, 2), True, step_generator(0, 0))


@pytest.mark.parametrize("t", [0, 1, 2, 500, 999])
def test_previous_latents_are_one_step_of_ddim(t):
    noisy, noise = torch.randn(2, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    ddim = DDIMScheduler(1000, 0.00085, 0.012, "scaled_linear", clip_sample=False, set_alpha_to_one=True)
    ddim.set_timesteps(1000)
    expected = ddim.step(noise, t, noisy, eta=0.0).prev_sample
    actual = masks.previous_latents(components.build_scheduler(), noisy, noise, torch.tensor([t, t]))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_previous_latents_of_a_batch_with_different_timesteps():
    noisy, noise = torch.randn(2, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    scheduler, timesteps = components.build_scheduler(), torch.tensor([0, 700])
    together = masks.previous_latents(scheduler, noisy, noise, timesteps)
    for i in range(2):
        alone = masks.previous_latents(scheduler, noisy[i : i + 1], noise[i : i + 1], timesteps[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone)


def test_true_noise_leads_from_t_0_to_the_clean_latent():
    scheduler = components.build_scheduler()
    clean, noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    zero = torch.zeros(1, dtype=torch.int64)
    noisy = scheduler.add_noise(clean, noise, zero)
    torch.testing.assert_close(masks.previous_latents(scheduler, noisy, noise, zero), clean, rtol=1e-4, atol=1e-5)


def test_features_of_all_images_and_vae_features_of_the_anomalies(frozen, batch):
    seen = masks.features(frozen, batch, noise_for(frozen.model, batch), MaskSettings())
    up2, up3, vae = seen.up2, seen.up3, seen.features
    assert up2.shape == (4, 24, 4, 4)
    assert up3.shape == (4, 16, 8, 8)
    assert [f.shape for f in vae] == [(2, 16, 16, 16), (2, 12, 32, 32), (2, 8, 64, 64)]
    assert not any(x.requires_grad for x in (up2, up3, *vae))


def test_sizes_are_read_off_the_model(frozen, mask_settings):
    config = masks.config_for(frozen, mask_settings)
    assert (config.up2_channels, config.up3_channels, config.feature_channels) == (24, 16, (16, 12, 8))
    assert (config.width, config.layers, config.heads, config.fuse) == (16, 1, 2, True)


def test_the_loss_is_the_sum_of_its_terms(frozen, batch, mask_settings):
    torch.manual_seed(0)
    rmp = RefinedMaskPredictor(masks.config_for(frozen, mask_settings))
    terms = masks.losses(rmp, frozen, batch, noise_for(frozen.model, batch), mask_settings)
    seen = masks.features(frozen, batch, noise_for(frozen.model, batch), mask_settings)
    coarse = rmp.coarse(seen.up2, seen.up3)
    fine = focal_loss(rmp.refined_logits(coarse[:2], seen.features), batch.masks)
    torch.testing.assert_close(terms["fine"], fine)
    nothing = focal_loss(rmp.coarse_logits(coarse[2:]), torch.zeros(2, 1, 8, 8))
    torch.testing.assert_close(terms["normal_coarse"], nothing)
    raised = torch.nn.functional.interpolate(coarse[2:], size=(64, 64), mode="bilinear")
    nothing = focal_loss(rmp.coarse_logits(raised), torch.zeros(2, 1, 64, 64))
    torch.testing.assert_close(terms["normal_raised"], nothing)
    loss = terms.pop("loss")
    assert set(terms) == {"coarse", "fine", "normal_coarse", "normal_raised"}
    torch.testing.assert_close(loss, sum(terms.values()))


def test_only_the_branch_learns(frozen, batch, mask_settings):
    rmp = RefinedMaskPredictor(masks.config_for(frozen, mask_settings))
    masks.losses(rmp, frozen, batch, noise_for(frozen.model, batch), mask_settings)["loss"].backward()
    for network in frozen.model.networks.values():
        assert [p for p in network.parameters() if p.grad is not None] == []
    assert [name for name, p in rmp.named_parameters() if p.grad is None] == []


@pytest.fixture
def copy(tuned, tmp_path):
    return shutil.copytree(tuned, tmp_path / "copy")


def test_training_again_gives_the_same_branch_and_leaves_the_rest(copy, tuned, product, mask_settings):
    shutil.rmtree(copy / "rmp")
    masks.train(copy, product, mask_settings)
    for file in ("rmp/model.safetensors", "tokens.safetensors", "unet/diffusion_pytorch_model.safetensors"):
        assert (copy / file).read_bytes() == (tuned / file).read_bytes()
    assert run_folder.load_facts(copy).masks == mask_settings
    assert not (copy / "checkpoint").exists()


def test_another_seed_gives_another_branch(copy, tuned, product, mask_settings):
    masks.train(copy, product, mask_settings.model_copy(update={"seed": 1, "steps": 1}))
    file = "rmp/model.safetensors"
    assert (copy / file).read_bytes() != (tuned / file).read_bytes()


def test_a_data_set_without_the_runs_images(copy, product, mask_settings):
    other = dataclasses.replace(product, anomalies=(), normals=product.normals)
    assert "which the run was tuned on" in data_error(masks.train, copy, other, mask_settings)


@pytest.mark.parametrize(("what", "found"), [("anomaly", 3), ("normal", 2)])
def test_fewer_images_than_a_batch(copy, product, mask_settings, what, found):
    settings = mask_settings.model_copy(update={f"{what}_batch": 9})
    said = data_error(masks.train, copy, product, settings)
    assert f"found {found} {what} images for training, expected at least 9" in said


def test_widths_that_the_heads_do_not_divide(frozen):
    with pytest.raises(SettingsError, match="not a multiple of 5 heads"):
        masks.config_for(frozen, MaskSettings(up2_width=8, up3_width=8, heads=5))


def test_steps_outside_the_interval_compute_the_prompted_half_alone(frozen, product, monkeypatch):
    rows, whole = [], frozen.model.unet.forward
    monkeypatch.setattr(frozen.model.unet, "forward", lambda x, *a, **k: rows.append(len(x)) or whole(x, *a, **k))
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    words = (frozen, list(product.defects[:2]), frozen.normal_mean[:2], noise)
    settings = reference.SampleSettings(steps=4, guidance=3.0, interval=(0.4, 0.8))  # at 1, 0.75, 0.5 and 0.25
    steps = list(reference.trajectory(*words, settings))
    assert rows == [2, 4, 4, 2] == [len(step.prompt) for step in steps]
    with torch.no_grad():
        alone = frozen.model.unet(steps[3].entering, steps[3].timestep.expand(2), steps[3].prompt).sample
    level = frozen.model.scheduler.alphas_cumprod[int(steps[3].timestep)]
    clean = (steps[3].entering - (1 - level).sqrt() * alone) / level.sqrt()
    torch.testing.assert_close(steps[3].leaving, clean, rtol=1e-3, atol=1e-4)  # the last step ends at sigma 0


def test_the_sampler_makes_images_and_probabilities(frozen, product):
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    settings = reference.SampleSettings(steps=4, mask_steps=2)
    normal = frozen.normal_mean[:2]
    defects = list(product.defects[:2])
    sampled = reference.sample(frozen, defects, normal, noise, settings)
    assert sampled.images.shape == (2, 3, 64, 64)
    assert sampled.probability.shape == (2, 1, 64, 64)
    assert sampled.images.isfinite().all()
    assert 0 <= sampled.probability.min() <= sampled.probability.max() <= 1
    alone = reference.sample(frozen, defects[1:], normal[1:], noise[1:], settings)
    torch.testing.assert_close(alone.images, sampled.images[1:], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(alone.probability, sampled.probability[1:], rtol=1e-3, atol=1e-3)
