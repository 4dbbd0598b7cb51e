"""The small decoder: what it learns from, what it leaves, a killed training, and who takes it."""

import json
import math
import shutil

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from seas_runtime.errors import OutputError
from seas_train import decoder, masks, reference, run_folder, samples
from seas_train.cli import main
from seas_train.distill import train as distill
from seas_train.distill.settings import DistillSettings
from seas_train.models import components, small_decoder, taps
from seas_train.training import loop
from seas_train.training.compute import Machine
from tests.smallest import MASKS
from tests.train.refusals import data_error
from tests.train.small_stage import killed_at

SMALL = MASKS.model_copy(update={"decoder": "small", "decoder_channels": (4, 4, 8, 8), "decoder_steps": 3, "decoder_latents": 3})
WEIGHTS = "decoder/model.safetensors"


@pytest.fixture(scope="module", autouse=True)
def few_held():
    """Of 25 solver steps each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder, "HELD", 2)
        yield


@pytest.fixture(scope="module")
def small(tuned, product, tmp_path_factory):
    """The finished run, its mask branch trained on a small decoder."""
    folder = shutil.copytree(tuned, tmp_path_factory.mktemp("small") / "run")
    masks.train(folder, product, SMALL)
    return folder


def test_the_run_has_it_and_keeps_its_own(small, tuned):
    own, run = run_folder.load(tuned), run_folder.load(small)
    assert (own.decoder, run.decoder.channels) == (None, (4, 4, 8, 8))
    assert sum(p.numel() for p in run.model.vae.decoder.parameters()) < sum(p.numel() for p in own.model.vae.decoder.parameters())
    assert run.rmp.config.feature_channels == (8, 8, 4)  # 1/4, 1/2 and the image's side
    stored = run_folder.load(small, own_decoder=True).model.vae.state_dict()
    assert all(torch.equal(value, stored[name]) for name, value in own.model.vae.state_dict().items())
    assert json.loads((small / "decoder/config.json").read_text())["psnr"] == run.decoder.psnr
    assert not (small / "checkpoint").exists()


def test_it_draws_the_pictures_and_its_features_refine_the_mask(small, tuned, product):
    own, run = run_folder.load(tuned), run_folder.load(small)
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    given = (list(product.defects[:2]), run.normal_mean[:2], noise, reference.SampleSettings(steps=2, guidance=2.0))
    (*_, last) = reference.trajectory(run, *given)
    (*_, theirs) = reference.trajectory(own, *given)
    assert torch.equal(last.leaving, theirs.leaving)  # the latents' way is the same
    made = reference.sample(run, *given)
    scaled = last.leaving / run.model.vae.config.scaling_factor
    layers, x = run.model.vae.decoder, run.model.vae.post_quant_conv(scaled)
    torch.testing.assert_close(made.images, layers(x))
    assert not torch.allclose(made.images, own.model.vae.decode(scaled).sample)


def test_a_batch_is_half_of_images_and_half_generated(tuned, images):
    run = run_folder.load(tuned)
    generated = torch.full((2, 4, 8, 8), 77.0)
    _, stage = decoder.begin(run, images, generated, SMALL, Machine())
    latents, marked = stage.batch_of(0)
    assert (len(latents), marked.shape) == (8, (8, 1, 64, 64))  # two anomalies, two normal images, as many generated
    assert [bool((latent == 77).all()) for latent in latents] == [False] * 4 + [True] * 4
    assert [bool(mask.any()) for mask in marked] == [True] * 2 + [False] * 6
    both = [decoder.begin(run, images, generated, SMALL, Machine(rank=rank, processes=2))[1].batch_of(0)[0] for rank in range(2)]
    assert [len(part) for part in both] == [8, 8]
    assert not torch.equal(*both)


def test_the_generated_latents_are_the_samplers(tuned):
    run = run_folder.load(tuned)
    found = decoder.latents_of(run, 9, 5)
    draw = samples.draw(run, samples.Order(run.facts.defects, 9, 5, 1, 0.5), 8)
    given = ([draw.defect], draw.latent[None], draw.noise[None], reference.usual(run))
    *_, last = reference.trajectory(run, *given)
    torch.testing.assert_close(found[8:], last.leaving, rtol=1e-3, atol=1e-3)


def test_it_comes_nearer_and_the_decibels_are_of_the_mean_error(tuned, images):
    run = run_folder.load(tuned)
    settings = SMALL.model_copy(update={"decoder_steps": 40, "decoder_lr": 1e-2, "checkpoint_every": 100})
    generated = decoder.latents_of(run, 4, 0)
    network, stage = decoder.begin(run, images, generated, settings, Machine())
    before = decoder.psnr(run, network, generated)
    with torch.no_grad():
        pairs = [small_decoder.decode(network, run.model.vae, generated), taps.decode(run.model.vae, generated)]
        mine, theirs = (x.clamp(-1, 1) for x in pairs)
    assert before == pytest.approx(-10 * math.log10(float(((mine - theirs) / 2).pow(2).mean())), abs=0.02)
    for step in range(settings.decoder_steps):
        loop.optimise(stage, step)
    assert decoder.psnr(run, network.eval(), generated) > before + 3


def test_a_killed_training_ends_bit_equal(tuned, product, small, tmp_path, monkeypatch):
    broken = shutil.copytree(tuned, tmp_path / "broken")
    killed_at(monkeypatch, decoder, 2, lambda: masks.train(broken, product, SMALL))
    assert json.loads((broken / "checkpoint/state.json").read_text())["task"]["stage"] == "masks-decoder"
    with pytest.raises(OutputError, match="decoder_steps 3, now 4"):
        masks.train(broken, product, SMALL.model_copy(update={"decoder_steps": 4}))
    masks.train(broken, product, SMALL)
    for name in (WEIGHTS, "rmp/model.safetensors", "decoder/config.json"):
        assert (broken / name).read_bytes() == (small / name).read_bytes(), name


@pytest.mark.parametrize(("begun", "then", "calls"), [(masks, decoder, 2), (decoder, masks, 2)])
def test_what_was_begun_with_another_decoder_is_not_lost(tuned, product, tmp_path, monkeypatch, begun, then, calls):
    broken, choices = shutil.copytree(tuned, tmp_path / "broken"), {masks: MASKS, decoder: SMALL}
    shutil.rmtree(broken / "rmp")
    killed_at(monkeypatch, begun, calls, lambda: masks.train(broken, product, choices[begun]))
    before = (broken / "checkpoint/state.json").read_bytes()
    with pytest.raises(OutputError, match="with another decoder; give the same settings"):
        masks.train(broken, product, choices[then])
    assert (broken / "checkpoint/state.json").read_bytes() == before
    masks.train(broken, product, choices[begun])


@pytest.mark.parametrize("words", ["8,16", "0,4,8,8", "4,4,8,-8"])
def test_channels_that_are_none_are_one_line(tuned, words):
    result = CliRunner().invoke(main, ["masks", str(tuned), "--decoder", "small", f"--decoder-channels={words}"])
    assert result.exit_code == 2
    assert "setting decoder_channels: Value error, expected four numbers of 1 or more" in result.output


def test_one_that_is_there_is_taken_if_it_is_the_one_meant(small, product, tmp_path, monkeypatch):
    made, whole = [], decoder.begin
    monkeypatch.setattr(decoder, "begin", lambda *given: made.append(1) or whole(*given))
    for steps, expected in ((3, 0), (2, 1)):
        again = shutil.copytree(small, tmp_path / str(steps))
        shutil.rmtree(again / "rmp")
        masks.train(again, product, SMALL.model_copy(update={"decoder_steps": steps, "lr": 2e-3}))
        assert len(made) == expected
    torn = shutil.copytree(small, tmp_path / "torn")
    (torn / WEIGHTS).write_bytes(b"torn")
    assert "cannot be read" in data_error(run_folder.load, torn)
    shutil.rmtree(torn / "rmp")
    masks.train(torn, product, SMALL)
    assert len(made) == 2
    assert (torn / WEIGHTS).read_bytes() == (small / WEIGHTS).read_bytes()


def test_without_it_again_the_own_one_is_taken(small, product, tuned, tmp_path):
    again = shutil.copytree(small, tmp_path / "again")
    shutil.rmtree(again / "rmp")
    masks.train(again, product, MASKS)
    run, whole = run_folder.load(again), run_folder.load(tuned)
    assert run.decoder is None
    assert load_file(again / "rmp/model.safetensors").keys() == load_file(tuned / "rmp/model.safetensors").keys()
    assert torch.equal(run.model.vae.decoder.conv_in.weight, whole.model.vae.decoder.conv_in.weight)


def test_a_student_is_distilled_from_the_own_one(small, tuned, tmp_path):
    distill.train(small, None, tmp_path / "fast", DistillSettings(generated=0, train_steps=1, batch=1))
    found = load_file(tmp_path / "fast/vae/diffusion_pytorch_model.safetensors")
    expected = load_file(tuned / "vae/diffusion_pytorch_model.safetensors")
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    assert run_folder.load(tmp_path / "fast").decoder is None


def test_the_command_estimates_both_stages(tuned, product, tmp_path):
    folder = shutil.copytree(tuned, tmp_path / "run", ignore=shutil.ignore_patterns("rmp"))
    facts = run_folder.load_facts(folder).model_copy(update={"masks": None})
    (folder / "run.json").write_text(facts.model_dump_json())
    words = ["masks", str(folder), str(product.root), "--estimate", "--decoder", "small", "--decoder-channels", "4,4,8,8"]
    done = CliRunner().invoke(main, [*words, "--groups", "4", "--heads", "2", "--up2-width", "8", "--up3-width", "8"])
    assert done.exit_code == 0, done.output
    assert "masks-decoder: 3000 steps" in done.output
    assert not (folder / "decoder").exists()


def test_channels_that_fit_no_latents(tuned):
    vae = run_folder.load(tuned).model.vae
    config = small_decoder.config_for(vae, (6, 9, 12, 15))
    assert config.groups == 1  # 3 divides all of them, but not the autoencoder's 4
    network = small_decoder.build(config)
    latents = torch.zeros(1, *components.load(tuned).latent_shape)
    assert small_decoder.decode(network, vae, latents).shape == (1, 3, 64, 64)
