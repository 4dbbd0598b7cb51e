"""Checkpoints of the published implementation: how they are recognised and what is read from them."""

import json
import math
import shutil

import pytest
import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextModel, CLIPTokenizer

from seas_export.published import checkpoint
from seas_train.data.dataset import load_image
from seas_train.run_folder import Facts
from tests.export.published_checkpoint import DEFECTS, load


@pytest.mark.parametrize("pointed", ["", "generation-checkpoint", "mask-checkpoint", "mask-checkpoint/rmp"])
def test_recognised_wherever_the_user_points(root, pointed, monkeypatch):
    assert checkpoint.is_published(root / "checkpoint" / pointed)
    monkeypatch.chdir(root / "checkpoint")
    assert checkpoint.is_published(type(root)(pointed or "."))


@pytest.mark.parametrize("other", ["base", "data/bottle", "absent", ""])
def test_other_folders_are_not_taken_for_one(root, other):
    assert not checkpoint.is_published(root / other)


@pytest.mark.parametrize("part", ["generation-checkpoint", "mask-checkpoint"])
def test_half_a_checkpoint_is_one_so_that_its_error_names_the_other_half(copy, part):
    shutil.rmtree(copy / "checkpoint" / part)
    assert checkpoint.is_published(copy / "checkpoint")


def test_each_placeholder_is_one_token_and_each_type_has_its_four(run):
    prompts = run.facts.prompts
    assert prompts.normal == "a ob1"
    assert prompts.anomaly == {
        "broken_large": "a ob1 with sks1 sks2 sks3 sks4",
        "broken_small": "a ob1 with sks5 sks6 sks7 sks8",
        "contamination": "a ob1 with sks9 sks10 sks11 sks12",
    }
    tokenizer = run.model.tokenizer
    for text in prompts.anomaly.values():
        words = tokenizer.convert_ids_to_tokens(tokenizer(text).input_ids)
        assert [word for word in words if word.startswith(("ob", "sks"))] == [
            word for word in text.split() if word not in ("a", "with")
        ]


@torch.no_grad()
def test_prompts_are_embedded_as_transformers_does_it(root, run):
    generation = root / "checkpoint" / "generation-checkpoint"
    tokenizer = CLIPTokenizer.from_pretrained(generation, subfolder="tokenizer")
    text_encoder = CLIPTextModel.from_pretrained(generation, subfolder="text_encoder").eval()
    texts = ["a ob1 with sks5 sks6 sks7 sks8", "a ob1", ""]
    ids = tokenizer(texts, padding="max_length", max_length=24, truncation=True, return_tensors="pt").input_ids
    assert torch.equal(run.embed(texts), text_encoder(ids).last_hidden_state)
    assert not torch.allclose(*run.embed([texts[0], "a ob1 with sks1 sks2 sks3 sks4"]))


def test_the_start_is_the_end_of_1500_steps_on_latents_that_were_not_scaled(run):
    first, last, level = 0.00085**0.5, 0.012**0.5, 1.0
    for i in range(1500):
        level *= 1 - (first + (last - first) * i / 1499) ** 2
    assert run.facts.tune.signal == pytest.approx(math.sqrt(level) / 0.18215, rel=1e-3)
    assert run.facts.tune.noise == pytest.approx(math.sqrt(1 - level), rel=1e-6)
    assert (round(run.facts.tune.signal, 3), round(run.facts.tune.noise, 5)) == (0.098, 0.99984)


def test_facts_say_where_the_run_comes_from(root, run):
    facts = Facts.model_validate_json(run.facts.model_dump_json())
    assert facts.product == "bottle"
    assert list(facts.defects) == DEFECTS
    assert facts.provenance["implementation"] == "published"
    assert facts.provenance["base"] == "base"
    assert facts.provenance["licence"] == "test"
    assert str(root) not in json.dumps(facts.provenance)
    assert (facts.tune.attention, facts.tune.df_separator, facts.masks.fuse) == ("published", " ", False)
    assert facts.train == tuple(f"test/{defect}/000.png" for defect in DEFECTS)
    assert set(facts.normals) == {f"train/good/00{i}.png" for i in range(3)}


@torch.no_grad()
def test_normal_images_are_the_posterior_of_the_base_models_vae(root, run):
    vae = AutoencoderKL.from_pretrained(root / "base", subfolder="vae").eval()
    images = torch.stack([load_image(root / "data" / "bottle" / name, 64) for name in run.facts.normals])
    posterior = vae.encode(images).latent_dist
    torch.testing.assert_close(run.normal_mean, posterior.mean * 0.18215, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(run.normal_std, posterior.std * 0.18215, rtol=1e-4, atol=1e-5)


def test_networks_are_frozen(run):
    for network in (*run.model.networks.values(), run.rmp):
        assert not network.training
        assert not any(p.requires_grad for p in network.parameters())


def test_a_vae_of_its_own_goes_first_and_needs_no_base(copy):
    vae = AutoencoderKL.from_pretrained(copy / "base", subfolder="vae")
    vae.register_to_config(scaling_factor=0.5)
    vae.save_pretrained(copy / "checkpoint" / "generation-checkpoint" / "vae")
    run = load(copy, base=None)
    assert run.model.vae.config.scaling_factor == 0.5
    assert run.facts.provenance["base"] == "not stated"
    assert load(copy).model.vae.config.scaling_factor == 0.5


def test_an_old_checkpoint_is_the_same_run_in_single_precision(old, run):
    found = load(old)
    for name, network in found.model.networks.items():
        expected = run.model.networks[name].state_dict()
        for key, value in network.state_dict().items():
            rounded = expected[key] if name == "vae" else expected[key].half().float()
            assert value.dtype == torch.float32
            assert torch.equal(value, rounded), f"{name}.{key}"
    texts = [run.facts.prompts.normal, *run.facts.prompts.anomaly.values(), ""]
    assert torch.equal(found.model.tokenizer(texts, padding="max_length", return_tensors="pt").input_ids,
                       run.model.tokenizer(texts, padding="max_length", return_tensors="pt").input_ids)  # fmt: skip
    assert torch.equal(found.model.scheduler.alphas_cumprod, run.model.scheduler.alphas_cumprod)
