"""How a step is computed changes what it costs, not what it learns."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from seas_runtime.errors import SettingsError
from seas_train import masks, run_folder, tune
from seas_train import prompts as ua
from seas_train.config import MaskSettings, TuneSettings
from seas_train.data.dataset import ImageSet, step_generator
from seas_train.models import components
from seas_train.training import compute, loop
from tests.train.drawing import drawn
from tests.train.training import two_processes as two

ROOT = Path(__file__).parents[3]
UNET = "unet/diffusion_pytorch_model.safetensors"


def gradients(base, product, **switch):
    """Gradients of one step on the base, by name, and the U-Net they are of."""
    settings = TuneSettings(**switch)
    model = components.load(base)
    for network in model.networks.values():
        network.double()
    learner = tune.prepare(model, ua.compose(product.defects, settings), settings)
    images = ImageSet(product.anomalies, 64), ImageSet(product.normals, 64)
    tune.losses(learner, *drawn(model, images, (2, 2)), settings)["loss"].backward()
    return {n: p.grad for n, p in model.unet.named_parameters()}, learner


def close(found, expected):
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-6, atol=1e-8, msg=lambda m, n=name: f"{n}: {m}")


def test_gradient_checkpointing_gives_the_same_gradients(base, product):
    expected, _ = gradients(base, product)
    again = []
    found, learner = gradients(base, product, gradient_checkpointing=True)
    close(found, expected)
    assert learner.model.unet.is_gradient_checkpointing
    assert {level: len(maps) for level, maps in learner.maps.layers.items()} == {2: 1, 3: 1}
    block = learner.model.unet.down_blocks[1].resnets[0]
    block.register_forward_pre_hook(lambda *_: again.append(1))
    images = ImageSet(product.anomalies, 64), ImageSet(product.normals, 64)
    tune.losses(learner, *drawn(learner.model, images, (1, 1)), TuneSettings())["loss"].backward()
    assert len(again) == 2


@pytest.mark.parametrize(("augmented", "views"), [(True, 8), (False, 1)])
def test_a_filled_cache_asks_nothing_more_of_the_vae(model, images, monkeypatch, augmented, views):
    """So that the VAE may leave the GPU: every view that can be drawn is there, its latents those of the view alone."""
    components.freeze(model.vae)
    encode = compute.Encoder(model.vae, cached=True)
    encode.fill(images, augmented)
    assert len(encode.kept) == views * sum(len(of) for of in images)
    settings = TuneSettings(augment=augmented)
    batches = [tune.sample_batch(*images, (2, 2), settings.augment, step_generator(0, step)) for step in range(3)]
    expected = [components.encode_moments(model.vae, image[None])[0][0] for batch in batches for image in batch.images]
    monkeypatch.setattr(type(model.vae), "encode", lambda *_: pytest.fail("encoded again"))
    found = [mean for batch in batches for mean in encode(batch.images, batch.views)[0]]
    for mean, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mean, other, rtol=1e-4, atol=1e-5)


def test_cached_latents_are_the_encoder_s_and_are_encoded_once(model, product, monkeypatch):
    components.freeze(model.vae)
    (image, other), (first, second) = (ImageSet(product.anomalies, 64)[i][0] for i in (0, 1)), product.anomalies[:2]
    plain, cached = compute.Encoder(model.vae), compute.Encoder(model.vae, cached=True)
    calls, whole = [], components.encode_moments
    monkeypatch.setattr(components, "encode_moments", lambda vae, x: calls.append(len(x)) or whole(vae, x))
    for images, views in (
        (torch.stack([image, other]), [(first, 0), (second, 0)]),
        (torch.stack([other, image.flip(-1), image]), [(second, 0), (first, 1), (first, 0)]),
    ):
        for found, expected in zip(cached(images, views), plain(images, views), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert calls.count(1) == 3


def test_equal_views_are_equal_images_and_others_are_not(product):
    """What the cache takes for granted: a view of a batch says which pixels it shows, to the bit."""
    images = ImageSet(product.anomalies, 64), ImageSet(product.normals, 64)
    seen, equal = {}, 0
    for step in range(40):
        batch = tune.sample_batch(*images, (2, 2), True, step_generator(0, step))
        for view, image in zip(batch.views, batch.images, strict=True):
            equal += view in seen
            assert torch.equal(seen.setdefault(view, image), image)
    assert equal > 20
    assert len({image.numpy().tobytes() for image in seen.values()}) == len(seen)


def test_cached_latents_do_not_change_a_loss(base, product):
    close(gradients(base, product, cache_latents=True)[0], gradients(base, product)[0])


def test_bf16_is_near_fp32_and_keeps_fp32_weights(base, product, tune_settings, tuned, mask_settings, tmp_path):
    settings = tune_settings.model_copy(update={"precision": "bf16"})
    tune.train(product, str(base), tmp_path / "run", settings, {})
    masks.train(tmp_path / "run", product, mask_settings.model_copy(update={"precision": "bf16"}))
    found, exact, start = (load_file(folder / UNET) for folder in (tmp_path / "run", tuned, base))
    moved = torch.cat([(exact[n] - start[n]).flatten() for n in start])
    error = torch.cat([(found[n] - exact[n]).flatten() for n in start])
    assert all(value.dtype == torch.float32 for value in found.values())
    assert 0 < error.norm() < 0.5 * moved.norm()
    run_folder.require_masks(run_folder.load(tmp_path / "run"))


def test_ema_is_the_average_of_the_weights(base, product, tune_settings, tmp_path, monkeypatch):
    whole, weights = loop.optimise, []

    def keep(stage, step):
        done = whole(stage, step)
        weights.append(stage.modules["unet"].conv_in.weight.detach().clone())
        return done

    settings = tune_settings.model_copy(update={"steps": 3})
    with monkeypatch.context() as patch:
        patch.setattr(loop, "optimise", keep)
        tune.train(product, str(base), tmp_path / "plain", settings, {})
    assert torch.equal(weights[-1], load_file(tmp_path / "plain" / UNET)["conv_in.weight"])
    tune.train(product, str(base), tmp_path / "run", settings.model_copy(update={"ema": 0.5}), {})
    expected = weights[0]  # the first average is the first weights
    for n, after in enumerate(weights[1:], start=1):
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * after
    found = load_file(tmp_path / "run" / UNET)["conv_in.weight"]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    assert (found - weights[-1]).abs().max() > 1e-5


def test_fp16_without_a_gpu(base, product, tune_settings, tmp_path):
    settings = tune_settings.model_copy(update={"precision": "fp16"})
    with pytest.raises(SettingsError, match="fp16 needs a GPU") as caught:
        tune.train(product, str(base), tmp_path / "run", settings, {})
    assert caught.value.exit_code == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("switch", "module"), [({"optimizer": "adamw8bit"}, "bitsandbytes"), ({"unet": "lora"}, "peft")])
def test_what_is_not_installed_is_named(base, product, tune_settings, tmp_path, monkeypatch, switch, module):
    for name in (module, f"{module}.optim"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SettingsError, match=rf"needs {module}, which is not installed; run pip install") as caught:
        tune.train(product, str(base), tmp_path / "run", tune_settings.model_copy(update=switch), {})
    assert "\n" not in caught.value.format_message()
    assert not (tmp_path / "run").exists()


def test_another_precision_in_the_same_process():
    x = torch.ones(2, 2)
    for settings, dtype in (
        (TuneSettings(device="cpu", precision="bf16"), torch.bfloat16),
        (MaskSettings(device="cpu"), torch.float32),
        (MaskSettings(device="cpu", precision="bf16"), torch.bfloat16),
    ):
        machine = compute.machine(settings)
        with machine.autocast():
            assert (x @ x).dtype == dtype
        assert (machine.device.type, machine.rank, machine.processes, machine.main) == ("cpu", 0, 1, True)


@pytest.fixture(scope="module")
def two_processes(base, product, tuned, tmp_path_factory):
    """What two processes under torchrun leave behind, and what they say: a step of both trainings, then `seas-train tune`."""
    folder = tmp_path_factory.mktemp("two")
    shutil.copytree(tuned, folder / "tuned", ignore=shutil.ignore_patterns("rmp"))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"]
    command = [*launch, sys.executable, "-m", two.__name__, str(base), str(product.root), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr[-8000:]
    return folder, ran.stdout


def test_two_processes_learn_the_same_and_one_writes_and_speaks(two_processes):
    folder, said = two_processes
    first, second = (load_file(folder / f"learned{rank}.safetensors") for rank in (0, 1))
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    saved = load_file(folder / "run" / UNET)
    assert all(torch.equal(value, first[f"unet.{name}"]) for name, value in saved.items())
    steps = [json.loads(line)["step"] for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3]
    assert not (folder / "run" / "checkpoint").exists()
    assert said.count("tuned bottle (3 types)") == said.count("\n") == 1


def test_two_processes_are_one_with_the_doubled_batch(base, product, tuned, two_processes, tmp_path):
    folder, _ = two_processes
    shutil.copytree(tuned, tmp_path / "tuned", ignore=shutil.ignore_patterns("rmp"))
    two.step_of_both(str(base), product.root, tmp_path / "tuned", tmp_path / "0.safetensors", 2, 2)

    first, second = (load_file(folder / f"{rank}.safetensors") for rank in (0, 1))
    alone = load_file(tmp_path / "0.safetensors")
    assert first.keys() == second.keys() == alone.keys()
    assert {name.partition("/")[0] for name in alone} == {"tune", "masks"}
    for name, gradient in alone.items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], gradient, rtol=1e-6, atol=1e-8, msg=lambda m, n=name: f"{n}: {m}")
    assert max(float(gradient.abs().max()) for gradient in alone.values()) > 1e-3
