"""The mask branch trained on, and used for, one look at the finished latent."""

import dataclasses
import shutil

import pytest
import torch

from seas_train import calibrate, masks, reference, run_folder
from seas_train.data.dataset import ImageSet, step_generator
from seas_train.models import components, taps
from seas_train.models.rmp import RefinedMaskPredictor
from seas_train.training.batches import sample_batch
from tests.smallest import MASKS
from tests.train.drawing import noise_for

FINAL = MASKS.model_copy(update={"look": "final", "look_timestep": 17})


@pytest.fixture(scope="module")
def looking(tuned, product, tmp_path_factory):
    """The finished run, its mask branch trained for one look."""
    folder = shutil.copytree(tuned, tmp_path_factory.mktemp("looking") / "run")
    masks.train(folder, product, FINAL)
    return folder


def test_the_branch_sees_the_latents_as_they_are_at_one_timestep(tuned, images, monkeypatch):
    frozen = run_folder.load(tuned)
    batch = sample_batch(*images, (2, 2), True, step_generator(0, 0))
    drawn, whole, seen = noise_for(frozen.model, batch), frozen.model.unet.forward, []
    monkeypatch.setattr(frozen.model.unet, "forward", lambda x, t, *a, **k: seen.append((x, t)) or whole(x, t, *a, **k))
    found = masks.features(frozen, batch, drawn, FINAL)
    mean, std = components.encode_moments(frozen.model.vae, batch.images)
    ((latents, timesteps),) = seen
    torch.testing.assert_close(latents, mean + std * drawn.posterior)
    assert timesteps.tolist() == [17] * 4
    for feature, expected in zip(found.features, taps.decode_features(frozen.model.vae, latents[:2]), strict=True):
        torch.testing.assert_close(feature, expected)


def test_the_run_says_so_and_the_sampler_looks_once(looking, tuned, product, monkeypatch):
    assert run_folder.load(tuned).look is None
    run = run_folder.load(looking)
    assert run.look == 17
    rows, whole = [], run.model.unet.forward
    monkeypatch.setattr(run.model.unet, "forward", lambda x, t, *a, **k: rows.append((len(x), int(t[0]))) or whole(x, t, *a, **k))
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    given = (run, list(product.defects[:2]), run.normal_mean[:2], noise, reference.SampleSettings(steps=2, guidance=2.0))
    made = reference.sample(*given)
    assert rows == [(4, 999), (4, 500), (2, 17)]
    (*_, last) = reference.trajectory(*given)
    prompts = run.embed([run.facts.prompts.anomaly[defect] for defect in product.defects[:2]])
    with torch.no_grad(), taps.decoder_taps(run.model.unet) as tap:
        run.model.unet(last.leaving, torch.tensor([17, 17]), prompts)
        features = taps.decode_features(run.model.vae, last.leaving)
        expected = run.rmp.refined_logits(run.rmp.coarse(tap.up2, tap.up3), features).softmax(dim=1)[:, 1:]
        image = run.model.vae.decode(last.leaving / run.model.vae.config.scaling_factor).sample
    torch.testing.assert_close(made.probability, expected)
    torch.testing.assert_close(made.images, image)


def test_its_threshold_is_learned_from_the_anomalies_as_they_are(looking, product):
    run = run_folder.load(looking)
    known = run.facts.calibration
    assert set(known) == set(product.defects)
    assert {calibration.agreement for calibration in known.values()} == {0.0}  # one look agrees with itself
    anomalies = ImageSet([record for record in product.anomalies if record.defect == product.defects[0]], 64)
    found = calibrate.probabilities(run, anomalies, 1, reference.SampleSettings(), step_generator(0, 3))
    assert found.shape == (1, 64, 64)
    mean, std = components.encode_moments(run.model.vae, anomalies[1][0][None])
    posterior = torch.randn(2, *mean.shape, generator=step_generator(0, 3))[0]
    prompt = run.embed([run.facts.prompts.anomaly[product.defects[0]]])
    expected = reference.look(run, mean + std * posterior, prompt).probability[:, 0]
    torch.testing.assert_close(found, expected)


def test_other_looks_give_other_branches(looking, tuned, product, tmp_path):
    one, other = (folder / "rmp" / "model.safetensors" for folder in (looking, tuned))
    assert one.read_bytes() != other.read_bytes()
    run = run_folder.load(looking)
    later = dataclasses.replace(run, facts=run.facts.model_copy(update={"masks": FINAL.model_copy(update={"look_timestep": 300})}))
    latents, prompt = run.normal_mean[:1], run.embed(["a bottle"])
    assert not torch.equal(reference.look(run, latents, prompt).up3, reference.look(later, latents, prompt).up3)
    assert isinstance(run.rmp, RefinedMaskPredictor)
