"""Fine-tuning: what learns, what stays, what a batch and a run folder hold."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from seas_runtime.errors import DataError, SettingsError
from seas_train import prompts as ua
from seas_train import run_folder, tune
from seas_train.config import TuneSettings
from seas_train.data.dataset import ImageSet, step_generator
from seas_train.models import components
from seas_train.training import loop
from tests.train.drawing import drawn
from tests.train.refusals import data_error


def step_losses(learner, images, settings, step=0):
    return tune.losses(learner, *drawn(learner.model, images, (2, 2), step), settings)


@pytest.mark.parametrize("attention", ["paper", "published"])
def test_gradients_reach_the_unet_and_the_new_rows_alone(model, product, images, attention):
    settings = TuneSettings(attention=attention)
    prompts = ua.compose(product.defects, settings)
    learner = tune.prepare(model, prompts, settings)
    step_losses(learner, images, settings)["loss"].backward()
    assert [p for p in model.vae.parameters() if p.grad is not None] == []
    assert [n for n, p in model.text_encoder.named_parameters() if p.grad is not None] == [
        n for n, p in model.text_encoder.named_parameters() if p is learner.rows.rows
    ]
    assert learner.rows.rows.grad[0].any()
    assert [n for n, p in model.unet.named_parameters() if p.grad is None] == []


def test_only_the_rows_of_the_batch_get_a_gradient(model, product, images):
    settings = TuneSettings()
    prompts = ua.compose(product.defects, settings)
    learner = tune.prepare(model, prompts, settings)
    batch, noise = drawn(model, images, (1, 1))
    tune.losses(learner, batch, noise, settings)["loss"].backward()
    used = {"<ob>", *prompts.anomaly_tokens[batch.defects[0]]}
    moved = learner.rows.rows.grad.any(dim=1).tolist()
    assert {t for t, m in zip(prompts.tokens, moved, strict=True) if m} == used


def test_ten_steps_with_weight_decay_leave_every_other_row_as_it_was(model, product, images):
    settings = TuneSettings(unet_lr=1e-3, embedding_lr=1e-2, weight_decay=0.5)
    before = {k: v.clone() for k, v in model.text_encoder.state_dict().items()}
    vae = {k: v.clone() for k, v in model.vae.state_dict().items()}
    learner = tune.prepare(model, ua.compose(product.defects, settings), settings)
    start = learner.rows.rows.detach().clone()
    optimizer = tune.optimizer_for(learner, settings)
    for step in range(10):
        optimizer.zero_grad()
        step_losses(learner, images, settings, step)["loss"].backward()
        optimizer.step()
    model.text_encoder.set_input_embeddings(learner.rows.table)
    assert before.keys() == model.text_encoder.state_dict().keys()
    assert all(torch.equal(before[k], v) for k, v in model.text_encoder.state_dict().items())
    assert all(torch.equal(vae[k], v) for k, v in model.vae.state_dict().items())
    assert (learner.rows.rows != start).any(dim=1).all()


def test_learning_rates_of_unet_and_rows(model, product):
    settings = TuneSettings()
    learner = tune.prepare(model, ua.compose(product.defects, settings), settings)
    unet, rows = tune.optimizer_for(learner, settings).param_groups
    assert (unet["lr"], rows["lr"]) == (4e-6, 4e-5)
    assert len(unet["params"]) == len(list(model.unet.parameters()))
    assert rows["params"][0] is learner.rows.rows


def test_the_loss_is_the_sum_of_its_terms(model, product, images):
    settings = TuneSettings(da_weight=0.5, na_weight=3)
    learner = tune.prepare(model, ua.compose(product.defects, settings), settings)
    terms = {k: float(v.detach()) for k, v in step_losses(learner, images, settings).items()}
    assert terms["da"] > 0
    assert terms["loss"] == pytest.approx(0.5 * terms["da"] + terms["df"] + 3 * terms["ob"], rel=1e-5)


def test_a_batch_holds_anomalies_first_with_their_masks(images):
    batch = tune.sample_batch(*images, (2, 3), False, step_generator(0, 0))
    assert batch.images.shape == (5, 3, 64, 64)
    assert batch.masks.shape == (2, 1, 64, 64)
    for i, defect in enumerate(batch.defects):
        same = [j for j in range(len(images[0])) if torch.equal(images[0][j][0], batch.images[i])]
        assert torch.equal(images[0][same[0]][1], batch.masks[i])
        assert images[0].records[same[0]].defect == defect
    for image in batch.images[2:]:
        assert any(torch.equal(image, images[1][j][0]) for j in range(len(images[1])))


def test_prompts_of_a_batch(model, product):
    settings = TuneSettings()
    prompts = ua.compose(product.defects, settings)
    learner = tune.prepare(model, prompts, settings)
    defect = product.defects[-1]
    expected = ua.embed(model.tokenizer, model.text_encoder, [prompts.anomaly[defect], prompts.normal])
    torch.testing.assert_close(learner.prompt([defect, None]), expected)


def test_the_run_folder_is_read_back(tuned, base, product):
    loaded, source = run_folder.load(tuned), components.load(base)
    facts = loaded.facts
    assert facts.defects == product.defects
    assert facts.provenance == {"licence": "CC0", "base": base.name}
    assert len(facts.train) == len(product.defects)
    every = {r.image.relative_to(product.root).as_posix() for r in product.anomalies}
    assert set(facts.train) | set(facts.held_out) == every
    assert not set(facts.train) & set(facts.held_out)
    assert len(facts.normals) == len(loaded.normal_mean) == len(loaded.normal_std) == 2
    for network in ("vae", "text_encoder"):
        for name, value in getattr(source, network).state_dict().items():
            kept = getattr(loaded.model, network).state_dict()
            assert torch.equal(kept[name.replace("token_embedding.weight", "token_embedding.table.weight")], value)
    embedded = loaded.embed([*facts.prompts.anomaly.values(), facts.prompts.normal, ""])
    assert embedded.shape == (len(facts.defects) + 2, 24, 16)
    assert len({tuple(e.flatten().tolist()) for e in embedded}) == len(embedded)
    assert not (tuned / "checkpoint").exists()


def test_normal_latents_are_those_of_the_vae(tuned, product):
    loaded = run_folder.load(tuned)
    records = [r for r in product.normals if r.image.relative_to(product.root).as_posix() in loaded.facts.normals]
    by_name = {r.image.relative_to(product.root).as_posix(): r for r in records}
    images = ImageSet([by_name[name] for name in loaded.facts.normals], 64)
    with torch.no_grad():
        posterior = loaded.model.vae.encode(torch.stack([images[0][0], images[1][0]])).latent_dist
    scale = loaded.model.vae.config.scaling_factor
    torch.testing.assert_close(loaded.normal_mean, posterior.mean * scale, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(loaded.normal_std, posterior.std * scale, rtol=1e-4, atol=1e-5)


def test_the_log_has_a_line_per_logged_step(tuned):
    lines = [json.loads(line) for line in (tuned / "log.jsonl").read_text().splitlines()]
    assert [(x["stage"], x["step"]) for x in lines] == [("tune", i) for i in (1, 2, 3, 4)] + [("masks", i) for i in (1, 2, 3)]


def test_accumulation_averages_losses_and_gradients(base, product, tune_settings, tmp_path, monkeypatch):
    settings = tune_settings.model_copy(update={"steps": 1, "accumulation": 2})
    found = []
    monkeypatch.setattr(loop, "average_gradients", lambda ps, _: found.extend(p.grad.clone() for p in ps))
    tune.train(product, str(base), tmp_path / "run", settings, {})
    model = components.load(base)
    split = run_folder.load_facts(tmp_path / "run").train
    records = [r for r in product.anomalies if r.image.relative_to(product.root).as_posix() in split]
    names = run_folder.load_facts(tmp_path / "run").normals
    by_name = {r.image.relative_to(product.root).as_posix(): r for r in (*records, *product.normals)}
    images = tuple(ImageSet([by_name[n] for n in part], 64) for part in (split, names))
    learner = tune.prepare(model, ua.compose(product.defects, settings), settings)
    expected = 0.0
    for index in range(2):
        half = tune.losses(learner, *drawn(model, images, (2, 2), index), settings)["loss"] / 2
        half.backward()
        expected += float(half.detach())
    logged = json.loads((tmp_path / "run" / "log.jsonl").read_text())
    assert logged["loss"] == pytest.approx(expected, rel=1e-4)
    learned = [*learner.model.unet.parameters(), learner.rows.rows]
    for gradient, parameter in zip(found, learned, strict=True):
        torch.testing.assert_close(gradient, parameter.grad)


def test_a_prompt_that_does_not_fit_leaves_nothing(base, product, tune_settings, tmp_path):
    settings = tune_settings.model_copy(update={"anomaly_tokens": 30})
    with pytest.raises(SettingsError, match="fewer anomaly tokens"):
        tune.train(product, str(base), tmp_path / "run", settings, {})
    assert not (tmp_path / "run").exists()


@pytest.fixture
def copy(tuned, tmp_path):
    """A copy of the finished run, to be spoiled."""
    return shutil.copytree(tuned, tmp_path / "copy")


def test_a_missing_run(tmp_path):
    assert "no such folder" in data_error(run_folder.load, tmp_path / "absent")


def test_a_run_that_was_never_tuned(base):
    assert "without run.json" in data_error(run_folder.load, base)


@pytest.mark.parametrize(
    "file",
    [
        "tokens.safetensors",
        "normals.safetensors",
        "rmp/model.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
        "rmp/config.json",
        "unet/config.json",
        "text_encoder/config.json",
        "scheduler/scheduler_config.json",
    ],
)
@pytest.mark.parametrize("spoil", ["truncated", "garbage"])
def test_a_spoiled_file(copy, file, spoil):
    path = copy / file
    path.write_bytes(path.read_bytes()[:-20] if spoil == "truncated" else b"\xff" * 100)
    assert str(copy) in data_error(run_folder.load, copy)


@pytest.mark.parametrize(("file", "key"), [("tokens", "rows"), ("normals", "mean"), ("normals", "std")])
def test_a_file_without_a_tensor(copy, file, key):
    path = copy / f"{file}.safetensors"
    tensors = load_file(path)
    save_file({**{k: v for k, v in tensors.items() if k != key}, "other": torch.zeros(1)}, path)
    assert key in data_error(run_folder.load, copy)


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"format": 1,', "\n"])
def test_a_spoiled_run_json(copy, content):
    (copy / "run.json").write_text(content)
    assert "not a run of format 1" in data_error(run_folder.load, copy)


def test_a_run_of_a_later_format(copy):
    facts = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps({**facts, "format": 2}))
    assert "not a run of format 1" in data_error(run_folder.load, copy)


def test_a_run_without_a_mask_branch(copy):
    shutil.rmtree(copy / "rmp")
    loaded = run_folder.load(copy)
    with pytest.raises(DataError, match="train it with `seas-train masks"):
        run_folder.require_masks(loaded)
