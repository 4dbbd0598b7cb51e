"""Components on disk, and a base model trained from scratch in a few steps."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from PIL import Image
from torch.nn import functional as F  # noqa: N812

from seas_train import base as base_training
from seas_train.base import Caption
from seas_train.config import BaseSettings
from seas_train.errors import DataError
from seas_train.models import components
from tests.smallest import GEOMETRY
from tests.train.refusals import data_error


def test_a_saved_model_is_read_back_bit_equal(model, tmp_path):
    model.save(tmp_path)
    again = components.load(tmp_path)
    for name, network in model.networks.items():
        kept = again.networks[name].state_dict()
        assert all(torch.equal(kept[k], v) for k, v in network.state_dict().items())
    assert again.image_size == 64
    assert again.tokenizer.model_max_length == 24
    assert again.tokenizer("a bottle").input_ids == model.tokenizer("a bottle").input_ids
    assert torch.equal(again.scheduler.alphas_cumprod, model.scheduler.alphas_cumprod)


LEARN = """
import sys
from seas_train.models.components import build_tokenizer
print(build_tokenizer(sys.argv[1:], 24).backend_tokenizer.to_str())
"""


def test_captions_give_the_same_tokenizer_in_every_process():
    captions = ["a bottle", "a bottle with broken large", "an object", "a metal nut with scratch", "a leaf with frost"]
    made = [
        subprocess.Popen(
            [sys.executable, "-c", LEARN, *captions], env={**os.environ, "PYTHONHASHSEED": seed}, stdout=subprocess.PIPE
        )
        for seed in ("1", "2")
    ]
    first, second = (process.communicate(timeout=120)[0] for process in made)
    here = components.build_tokenizer(captions, 24).backend_tokenizer.to_str()
    assert first == second == here.encode() + b"\n"


def test_a_tokenizer_knows_its_words_whole_and_spells_all_others():
    tokenizer = components.build_tokenizer(["a bottle", "an object with defect"], 24)
    assert tokenizer.tokenize("An object with a bottle") == ["an</w>", "object</w>", "with</w>", "a</w>", "bottle</w>"]
    assert tokenizer.tokenize("xyz") == ["x", "y", "z</w>"]
    ids = tokenizer("a bottle", padding="max_length").input_ids
    first, last = tokenizer.bos_token_id, tokenizer.eos_token_id
    assert ids == [first, *tokenizer.convert_tokens_to_ids(["a</w>", "bottle</w>"]), *[last] * 21]


@pytest.mark.parametrize("part", components.PARTS)
def test_a_folder_without_a_part(base, tmp_path, part):
    copy = shutil.copytree(base, tmp_path / "copy")
    shutil.rmtree(copy / part)
    assert f"found no {part}/ folder" in data_error(components.load, copy)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "scheduler"])
def test_a_part_without_files(base, tmp_path, part):
    copy = shutil.copytree(base, tmp_path / "copy")
    for file in (copy / part).iterdir():
        file.unlink()
    assert str(copy) in data_error(components.load, copy)


def test_no_folder(tmp_path):
    assert "no such folder" in data_error(components.load, tmp_path / "absent")
    assert "no such folder" in data_error(components.load, "./absent/base")


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "model.ckpt").write_bytes(b"")
    assert "no such folder" in data_error(components.load, tmp_path / "model.ckpt")


def test_the_schedule_is_that_of_stable_diffusion():
    betas = [(0.00085**0.5 + (0.012**0.5 - 0.00085**0.5) * i / 999) ** 2 for i in range(1000)]
    signal = 1.0
    for beta in betas:
        signal *= 1 - beta
    scheduler = components.build_scheduler()
    assert float(scheduler.alphas_cumprod[-1]) == pytest.approx(signal, rel=1e-4)
    assert scheduler.config.prediction_type == "epsilon"


@torch.no_grad()
def test_moments_are_scaled(model):
    model.vae.register_to_config(scaling_factor=0.5)
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mean, log_variance = model.vae.quant_conv(model.vae.encoder(images)).chunk(2, dim=1)
    actual = components.encode_moments(model.vae.eval(), images)
    torch.testing.assert_close(actual[0], mean * 0.5)
    torch.testing.assert_close(actual[1], (log_variance / 2).exp() * 0.5)


@pytest.mark.parametrize(
    ("defect", "generic", "text"),
    [
        (None, (False, False), "a metal nut"),
        (None, (True, True), "a object"),
        ("scratch", (False, False), "a metal nut with scratch"),
        ("scratch", (True, False), "a object with scratch"),
        ("scratch", (False, True), "a metal nut with defect"),
    ],
)
def test_captions(defect, generic, text):
    assert Caption("metal nut", defect).text(*generic) == text


@pytest.mark.parametrize("defects", [False, True])
def test_collect_reads_products_and_plain_folders(product, tmp_path, defects):
    plain = tmp_path / "Metal_Nut"
    (plain / "deep").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(plain / "deep" / "a.png")
    records, captions = base_training.collect([product.root, plain], defects)
    normals = [c for c in captions if c == Caption("bottle")]
    anomalies = [c for c in captions if c.defect is not None]
    assert len(records) == len(captions)
    assert len(normals) == len(product.normals)
    assert len(anomalies) == (len(product.anomalies) if defects else 0)
    assert captions[-1] == Caption("metal nut")


def test_collect_refuses_a_folder_without_images(tmp_path):
    with pytest.raises(DataError, match="found no image"):
        base_training.collect([tmp_path], False)


def test_autoencoder_loss_by_hand(model):
    model.vae.eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 64, 64, generator=generator) * 2 - 1
    noise = torch.randn(2, 4, 8, 8, generator=generator)
    masks = torch.zeros(2, 1, 64, 64)
    settings = BaseSettings(vae_edges=0.5, vae_kl=0.1, vae_anomaly_weight=8.0)  # without an anomaly it changes nothing
    with torch.no_grad():
        terms = base_training.vae_losses(model.vae, images, masks, noise, settings)
        mean, log_variance = model.vae.quant_conv(model.vae.encoder(images)).chunk(2, dim=1)
        decoded = model.vae.decoder(model.vae.post_quant_conv(mean + (log_variance / 2).exp() * noise))
    error = decoded - images
    l1 = error.abs().mean()
    across = (error[..., 1:] - error[..., :-1]).abs().mean()
    down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(dim=(1, 2, 3)).mean()
    torch.testing.assert_close(terms["loss"], l1 + 0.5 * (across + down) + 0.1 * kl, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(terms["l1"], F.l1_loss(decoded, images))


def test_an_anomalys_pixels_weigh_more(model):
    model.vae.eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(1, 3, 64, 64, generator=generator) * 2 - 1
    noise = torch.zeros(1, 4, 8, 8)
    masks = torch.zeros(1, 1, 64, 64)
    masks[..., :16, :16] = 1
    with torch.no_grad():
        terms = base_training.vae_losses(model.vae, images, masks, noise, BaseSettings(vae_anomaly_weight=8.0))
        error = (model.vae.decode(model.vae.encode(images).latent_dist.mean).sample - images).abs().mean(dim=1, keepdim=True)
    inside, outside = error[masks == 1].mean(), error[masks == 0].mean()
    expected = (9 * 256 * inside + (4096 - 256) * outside) / (9 * 256 + 4096 - 256)
    torch.testing.assert_close(terms["l1"], expected)


def test_a_base_model_from_scratch_is_the_same_after_a_break(product, tmp_path, monkeypatch):
    monkeypatch.setitem(components.GEOMETRIES, "tiny", GEOMETRY)
    settings = BaseSettings(
        vae_steps=2, steps=3, vae_batch=2, vae_crop=32, batch=2, checkpoint_every=1, symmetries=2, defects=True
    )
    base_training.train([product.root], tmp_path / "whole", settings, {"licence": "CC0"})

    kept, calls = components.DDPMScheduler.add_noise, []

    def dying(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return kept(*arguments)

    monkeypatch.setattr(components.DDPMScheduler, "add_noise", dying)
    with pytest.raises(KeyboardInterrupt):
        base_training.train([product.root], tmp_path / "broken", settings, {"licence": "CC0"})
    monkeypatch.setattr(components.DDPMScheduler, "add_noise", kept)
    base_training.train([product.root], tmp_path / "broken", settings, {"licence": "CC0"})

    whole, broken = (components.load(tmp_path / name) for name in ("whole", "broken"))
    for name, network in whole.networks.items():
        again = broken.networks[name].state_dict()
        assert all(torch.equal(again[k], v) for k, v in network.state_dict().items())
    assert whole.vae.config.scaling_factor == broken.vae.config.scaling_factor
    assert json.loads((tmp_path / "whole" / "base.json").read_text())
    assert not (tmp_path / "whole" / "checkpoint").exists()


def test_cells_of_an_anomaly_and_noisy_timesteps_weigh_more():
    generator = torch.Generator().manual_seed(0)
    predicted, noise = torch.randn(2, 2, 3, 4, 4, generator=generator)
    masks = (torch.rand(2, 1, 4, 4, generator=generator) < 0.3).float()
    alphas = torch.tensor([0.5, 0.01])  # the second would weigh 100, and may weigh 20
    total = weight = 0.0
    for n, noisy in enumerate((2.0, 20.0)):
        for row in range(4):
            for column in range(4):
                heavy = noisy * (1 + 5 * float(masks[n, 0, row, column]))
                total += heavy * float(((predicted - noise)[n, :, row, column] ** 2).mean())
                weight += heavy
    settings = BaseSettings(anomaly_weight=5, max_noise_weight=20)
    weights = base_training.loss_weights(alphas, masks, settings)
    torch.testing.assert_close(base_training.noise_loss(predicted, noise, weights), torch.tensor(total / weight))
    plain = base_training.loss_weights(alphas, masks, BaseSettings())
    torch.testing.assert_close(base_training.noise_loss(predicted, noise, plain), F.mse_loss(predicted, noise))


def test_below_its_limit_the_weight_makes_the_loss_that_of_v():
    """v = sqrt(a) noise - sqrt(1 - a) x0, with x0 from the noisy latent: its squared error is the noise's divided by a."""
    generator = torch.Generator().manual_seed(0)
    clean, noise, predicted = torch.randn(3, 1, 3, 4, 4, generator=generator).double()
    alpha = torch.tensor([0.2]).double()
    noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise

    def velocity(eps):
        return alpha.sqrt() * eps - (1 - alpha).sqrt() * (noisy - (1 - alpha).sqrt() * eps) / alpha.sqrt()

    weights = base_training.loss_weights(alpha, torch.zeros(1, 1, 4, 4).double(), BaseSettings(max_noise_weight=100))
    weighted = ((predicted - noise) ** 2 * weights).mean()
    torch.testing.assert_close(weighted, F.mse_loss(velocity(predicted), velocity(noise)))


def test_a_crop_is_centred_on_a_pixel_of_the_anomaly_where_it_fits():
    """Where the anomaly is one pixel the crop can only lie around it, at the rim as close as the image allows."""
    image = torch.arange(4 * 32 * 32).view(4, 32, 32).float()
    for (row, column), (top, left) in {(15, 20): (11, 16), (0, 31): (0, 24)}.items():
        image[3] = 0
        image[3, row, column] = 1
        wanted = image[:, top : top + 8, left : left + 8]
        for seed in range(4):
            found = base_training.crop(image, 8, 1.0, torch.Generator().manual_seed(seed))
            assert torch.equal(found, wanted) or torch.equal(found, wanted.flip(-1))


def test_without_focus_or_anomaly_crops_lie_anywhere():
    image = torch.arange(4 * 32 * 32).view(4, 32, 32).float()
    marked = image.clone()
    image[3] = 0
    for one, focus in ((marked, 0.0), (image, 1.0)):
        found = [base_training.crop(one, 8, focus, torch.Generator().manual_seed(seed)) for seed in range(40)]
        assert all(part.shape == (4, 8, 8) for part in found)
        assert len({float(part[0].min()) for part in found}) > 30


def test_the_last_steps_of_the_autoencoder_see_whole_images_of_as_many_pixels():
    settings = BaseSettings(vae_steps=10, vae_batch=16, vae_crop=64, vae_whole=0.3)
    seen = [base_training.crop_of(step, 128, settings) for step in range(10)]
    assert seen == [(64, 16)] * 7 + [(128, 4)] * 3
    assert base_training.crop_of(9, 512, settings) == (512, 1)
    assert base_training.crop_of(9, 128, BaseSettings(vae_steps=10)) == (64, 16)


class Stop(Exception):  # noqa: N818 - not an error
    """Raised by a stand-in that has seen enough."""


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_autoencoder_computes_in_the_asked_precision(precision, dtype, tmp_path, monkeypatch):
    def spy(vae, images, *_):
        assert vae.encoder.conv_in(images).dtype == dtype
        raise Stop

    monkeypatch.setattr(base_training, "vae_losses", spy)
    (tmp_path / "plates").mkdir()
    Image.new("RGB", (128, 128)).save(tmp_path / "plates" / "0.png")
    settings = BaseSettings(vae_steps=1, vae_batch=1, vae_precision=precision)
    with pytest.raises(Stop):
        base_training.train([tmp_path / "plates"], tmp_path / "base", settings, {})
