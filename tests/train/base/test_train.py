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

from seas_runtime.errors import DataError
from seas_train.base import decoder_gan, text_encoder, unet
from seas_train.base import train as base_training
from seas_train.base.settings import BaseSettings
from seas_train.base.train import Caption
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
    """Strings are hashed by a seed of each process."""
    captions = ["a bottle", "a bottle with broken large", "an object", "a metal nut with scratch", "a leaf with frost"]
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    ran = subprocess.run([sys.executable, "-c", LEARN, *captions], env=environment, capture_output=True, check=True, timeout=120)
    assert ran.stdout == components.build_tokenizer(captions, 24).backend_tokenizer.to_str().encode() + b"\n"


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


def test_a_file_that_is_empty(tmp_path):
    (tmp_path / "model.ckpt").write_bytes(b"")
    assert "found an empty file" in data_error(components.load, tmp_path / "model.ckpt")


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


def test_a_base_of_anomalies_needs_some(tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "whole.png")
    with pytest.raises(DataError, match=r"found 1 images and no anomaly, expected anomalies of a product, as --defects asks for"):
        base_training.collect([tmp_path], True)
    assert len(base_training.collect([tmp_path], False)[0]) == 1


BREAKS = [(components.DDPMScheduler, "add_noise", 0), (decoder_gan, "balance", 2), (text_encoder, "contrastive", 3)]


@pytest.mark.parametrize(("owner", "name", "aligned"), BREAKS)
def test_a_base_model_from_scratch_is_the_same_after_a_break(owner, name, aligned, product, tmp_path, monkeypatch):
    monkeypatch.setitem(components.GEOMETRIES, "tiny", GEOMETRY)
    settings = BaseSettings(
        **{"vae_steps": 2, "steps": 3, "sharpen_steps": 3, "vae_batch": 2, "vae_crop": 32, "batch": 2},
        **{"checkpoint_every": 1, "symmetries": 2, "defects": True, "align_steps": aligned},
    )
    base_training.train([product.root], tmp_path / "whole", settings, {"licence": "CC0"})

    kept, calls = getattr(owner, name), []

    def dying(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return kept(*arguments)

    monkeypatch.setattr(owner, name, dying)
    with pytest.raises(KeyboardInterrupt):
        base_training.train([product.root], tmp_path / "broken", settings, {"licence": "CC0"})
    again = []
    monkeypatch.setattr(owner, name, lambda *arguments: again.append(1) or kept(*arguments))
    base_training.train([product.root], tmp_path / "broken", settings, {"licence": "CC0"})
    assert len(again) == 2  # of three: the first was kept

    whole, broken = (components.load(tmp_path / folder) for folder in ("whole", "broken"))
    for part, network in whole.networks.items():
        again = broken.networks[part].state_dict()
        assert all(torch.equal(again[k], v) for k, v in network.state_dict().items())
    assert whole.vae.config.scaling_factor == broken.vae.config.scaling_factor
    first, again = (json.loads((tmp_path / folder / "base.json").read_text()) for folder in ("whole", "broken"))
    assert first["provenance"]["licence"] == "CC0"
    assert first == again
    assert not (tmp_path / "whole" / "checkpoint").exists()


def test_latent_cells_of_an_anomaly_weigh_more():
    generator = torch.Generator().manual_seed(0)
    predicted, noise = torch.randn(2, 2, 3, 4, 4, generator=generator)
    masks = (torch.rand(2, 1, 4, 4, generator=generator) < 0.3).float()
    total = weight = 0.0
    for n in range(2):
        for row in range(4):
            for column in range(4):
                heavy = 1 + 5 * float(masks[n, 0, row, column])
                total += heavy * float(((predicted - noise)[n, :, row, column] ** 2).mean())
                weight += heavy
    torch.testing.assert_close(unet.noise_loss(predicted, noise, masks, 5.0), torch.tensor(total / weight))
    torch.testing.assert_close(unet.noise_loss(predicted, noise, masks, 0.0), F.mse_loss(predicted, noise))


def test_noisy_timesteps_are_drawn_as_often_as_a_loss_on_v_weighs_them():
    """v = sqrt(a) noise - sqrt(1 - a) x0, with x0 from the noisy latent: its squared error is the noise's times the weight."""
    generator = torch.Generator().manual_seed(0)
    clean, noise, predicted = torch.randn(3, 1, 3, 4, 4, generator=generator).double()
    alphas = torch.tensor([0.2, 0.01]).double()
    weights = unet.timestep_weights(alphas, 20)
    assert weights[1] == 20  # and not 100
    alpha = alphas[0]
    noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise

    def velocity(eps):
        return alpha.sqrt() * eps - (1 - alpha).sqrt() * (noisy - (1 - alpha).sqrt() * eps) / alpha.sqrt()

    torch.testing.assert_close(weights[0] * F.mse_loss(predicted, noise), F.mse_loss(velocity(predicted), velocity(noise)))
    assert unet.timestep_weights(alphas, 1).tolist() == [1, 1]


def test_an_aligned_text_encoder_stays_as_it_is(product, tmp_path, monkeypatch):
    monkeypatch.setitem(components.GEOMETRIES, "tiny", GEOMETRY)
    steps = {"vae_steps": 1, "vae_batch": 2, "vae_crop": 32, "batch": 2, "align_steps": 2}
    found = []
    for count in (1, 3):
        base_training.train([product.root], tmp_path / str(count), BaseSettings(steps=count, **steps), {})
        found.append(components.load(tmp_path / str(count)))
    first, second = found
    for name, same in (("text_encoder", True), ("unet", False)):
        pairs = zip(first.networks[name].parameters(), second.networks[name].parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs) == same
