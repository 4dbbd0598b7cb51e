"""Distillation of a finished run: what it learns from, what it leaves, and a killed one."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from seas_runtime.errors import TrainError
from seas_runtime.sampling.noise import START, Stream
from seas_train import masks, reference, run_folder, samples
from seas_train.cli import main
from seas_train.distill import latents, train
from seas_train.distill.consistency import levels_of
from seas_train.distill.latents import Pool
from seas_train.distill.settings import DistillSettings
from seas_train.models import components
from seas_train.training.compute import Machine
from tests.smallest import MASKS
from tests.train.refusals import data_error
from tests.train.small_stage import killed_at

SMALL = DistillSettings(
    steps=2,
    guidance=3.0,
    solver_steps=4,
    generated=5,
    teacher_steps=2,
    train_steps=3,
    batch=2,
    lr=1e-3,
    checkpoint_every=1,
    log_every=1,
)
UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def fast(tuned, product, tmp_path_factory):
    """A student of the finished run, with a mask branch of its own."""
    out = tmp_path_factory.mktemp("fast") / "fast"
    train.train(tuned, product, out, SMALL)
    masks.train(out, product, MASKS.model_copy(update={"look": "final"}))
    return out


def log_of(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def test_the_student_is_a_run_that_differs_in_its_unet_alone(fast, tuned):
    old, new = run_folder.load(tuned), run_folder.load(fast)
    assert new.facts.student == SMALL.student
    assert (old.facts.student, new.facts.provenance["teacher"]) == (None, "tuned")
    for part in ("prompts", "tune", "train", "held_out", "normals", "product"):
        assert getattr(new.facts, part) == getattr(old.facts, part)
    for name in ("vae", "text_encoder"):
        theirs = old.model.networks[name].state_dict()
        assert all(torch.equal(theirs[key], value) for key, value in new.model.networks[name].state_dict().items())
    moved = [not torch.equal(a, b) for a, b in zip(old.model.unet.parameters(), new.model.unet.parameters(), strict=True)]
    assert all(moved)
    assert torch.equal(old.normal_mean, new.normal_mean)
    assert torch.equal(old.embed(["", new.facts.prompts.normal]), new.embed(["", new.facts.prompts.normal]))
    assert [file.name for file in run_folder.require_photographs(new)] == ["000.png", "001.png"]
    assert not {"checkpoint", "teacher"} & {path.name for path in fast.iterdir()}


@pytest.mark.parametrize(
    "switch", [{}, {"unet": "lora", "lora_rank": 2, "precision": "bf16"}, {"method": "guidance", "accumulation": 2}]
)
def test_a_killed_distillation_ends_bit_equal_with_the_same_log(tuned, tmp_path, monkeypatch, switch):
    if switch.get("unet") == "lora":
        pytest.importorskip("peft")
    settings = SMALL.model_copy(update={"generated": 2, "train_steps": 2, **switch})
    train.train(tuned, None, tmp_path / "whole", settings)
    killed_at(monkeypatch, train, settings.accumulation, lambda: train.train(tuned, None, tmp_path / "broken", settings))
    assert (tmp_path / "broken" / "checkpoint" / "state.json").is_file()
    made, whole = [], latents._generate
    monkeypatch.setattr(latents, "_generate", lambda *given: made.append(1) or whole(*given))
    train.train(tuned, None, tmp_path / "broken", settings)
    assert made == []  # the teacher's latents were kept
    assert (tmp_path / "whole" / UNET).read_bytes() == (tmp_path / "broken" / UNET).read_bytes()
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "broken")
    unet = load_file(tmp_path / "whole" / UNET)
    assert set(unet) == set(load_file(tuned / UNET))  # a stock U-Net again
    assert any(not torch.equal(value, load_file(tuned / UNET)[name]) for name, value in unet.items())


def test_the_teachers_latents_are_those_of_its_sampler(tuned, tmp_path):
    run = run_folder.load(tuned)
    pool = latents.generated(run, tmp_path, SMALL)
    names = [None, *run.facts.defects]
    assert [names[number] for number in pool.prompts] == [*run.facts.defects, None, run.facts.defects[0]]
    stream = Stream(0, 4)
    order = samples.Order(run.facts.defects, 5, 0, 1, 0.5)
    draw = samples.draw(run, order, 4)
    assert np.array_equal(draw.noise.numpy(), stream.normals(START, (4, 8, 8)))
    settings = reference.SampleSettings(2, 3.0)
    *_, last = reference.trajectory(run, [run.facts.defects[0]], draw.latent[None], draw.noise[None], settings)
    torch.testing.assert_close(pool.mean[4:], last.leaving, rtol=1e-3, atol=1e-3)
    other = latents.generated(run, tmp_path, SMALL.model_copy(update={"guidance": 1.0}))
    assert not torch.equal(other.mean, pool.mean)  # what was kept was of another guidance
    (tmp_path / "teacher/000000.safetensors").write_bytes(b"torn")
    again = latents.generated(run, tmp_path, SMALL)
    assert torch.equal(again.mean, pool.mean)


def test_images_are_seen_in_every_view(tuned, images):
    run = run_folder.load(tuned)
    pool = latents.of_images(run, images[0])
    assert len(pool.mean) == 2 + 8 * len(images[0])
    mean, _ = components.encode_moments(run.model.vae, images[0][0][0].flip(-1)[None])
    assert any(torch.allclose(mean[0], other, atol=1e-4) for other in pool.mean[2:10])
    assert set(pool.prompts[2:10].tolist()) == {1 + run.facts.defects.index(images[0].records[0].defect)}
    assert len(latents.of_images(run, None).mean) == 2


def test_a_batch_by_hand():
    """Latents that are their own number: where they come from, and how much of them is left."""
    levels = levels_of(components.build_scheduler(), 4)

    def pool(*values):
        mean = torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 2, 4, 4)
        return Pool(mean, torch.zeros_like(mean), torch.arange(len(values)))

    pools, normals = (pool(1000.0), pool(2000.0, 3000.0)), pool(5000.0)
    settings = SMALL.model_copy(update={"batch": 64, "generated_share": 0.5})
    seen = {0: 0, 1: 0, 2: 0, 3: 0}
    for process in range(2):
        machine = Machine(rank=process, processes=2)
        batch = train.draw_batch(pools, normals, levels, (0.5, 2.0), settings, 7, machine)
        for latent, level, prompt in zip(batch.latents, batch.levels.tolist(), batch.prompts.tolist(), strict=True):
            seen[level] += 1
            found = float(latent.mean()) / (0.5 if level == 0 else float(levels.alpha[level]))
            expected = {5000} if level == 0 else {1000, 2000} if prompt == 0 else {3000}
            assert min(abs(found - value) for value in expected) < 100
    assert min(seen.values()) > 10
    one = train.draw_batch(pools, normals, levels, (0.5, 2.0), settings, 7, Machine())
    two = train.draw_batch(pools, normals, levels, (0.5, 2.0), settings, 8, Machine())
    assert not torch.equal(one.latents, two.latents)


def test_a_student_is_called_once_a_step_and_adds_its_own_noise(fast, monkeypatch):
    run = run_folder.load(fast)
    rows, whole = [], run.model.unet.forward
    monkeypatch.setattr(run.model.unet, "forward", lambda x, t, *a, **k: rows.append((len(x), int(t[0]))) or whole(x, t, *a, **k))
    order = samples.Order(run.facts.defects, 2, 3, 2, 0.5)
    made = list(samples.pairs(run, order, reference.usual(run)))
    assert rows == [(2, 999), (2, 500), (2, 20)]  # two steps, one look
    alone = list(samples.pairs(run, samples.Order(run.facts.defects, 2, 3, 1, 0.5), reference.usual(run)))
    for one, other in zip(made, alone, strict=True):
        assert np.abs(np.asarray(one.image, int) - np.asarray(other.image, int)).max() <= 1


def test_a_branch_of_steps_learns_at_the_students_own_timesteps(fast):
    run = run_folder.load(fast)
    assert reference.last_timesteps(run).tolist() == [999, 500]
    own = dataclasses.replace(run, facts=run.facts.model_copy(update={"distill": None}))
    assert len(reference.last_timesteps(own)) == 0  # of a run that is no student they are drawn from all


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--steps", "3"), "knows the timesteps of 1, 2, 4"),
        (("--guidance", "5"), "guidance 3 inside"),
        (("--guidance-interval", "0.1:0.5"), "guidance 3 inside"),
    ],
)
def test_what_a_student_was_not_made_for_is_one_line(fast, tmp_path, words, said):
    result = CliRunner().invoke(main, ["sample", str(fast), "--out", str(tmp_path / "o"), "--count", "1", *words])
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert not (tmp_path / "o").exists()


def test_the_command(tuned, product, fast, tmp_path):
    words = ["--steps", "2", "--solver-steps", "4", "--generated", "0", "--train-steps", "1", "--batch", "1", "--unet", "full"]
    call = ["distill", str(tuned), "--out", str(tmp_path / "out"), *words]
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 0, done.output
    assert "distilled" in done.output
    assert "already done" in CliRunner().invoke(main, call).output
    other = CliRunner().invoke(main, [*call, "--guidance", "2"])
    assert other.exit_code == 5
    assert "guidance 8.0, now 2.0" in other.output
    again = CliRunner().invoke(main, ["distill", str(fast), "--out", str(tmp_path / "again"), *words])
    assert again.exit_code == 3
    assert "is a student already" in again.output
    odd = CliRunner().invoke(main, ["distill", str(tuned), "--out", str(tmp_path / "odd"), "--steps", "5"])
    assert odd.exit_code == 2
    assert "no multiple of steps 5" in odd.output
    missing = CliRunner().invoke(main, ["distill", str(tmp_path / "none"), "--out", str(tmp_path / "odd")])
    assert missing.exit_code == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_a_data_set_without_the_runs_images(tuned, product, tmp_path):
    other = dataclasses.replace(product, anomalies=())
    assert "which the run was tuned on" in data_error(train.train, tuned, other, tmp_path / "out", SMALL)
    assert not (tmp_path / "out").exists()


def test_a_weight_that_is_nan_ends_in_one_line(tuned, tmp_path):
    broken = shutil.copytree(tuned, tmp_path / "run")
    model = components.load(broken)
    with torch.no_grad():
        model.unet.conv_out.weight[0, 0, 0, 0] = float("nan")
    model.unet.save_pretrained(broken / "unet")
    with pytest.raises(TrainError, match="the loss of step 0 is nan"):
        train.train(broken, None, tmp_path / "out", SMALL.model_copy(update={"generated": 0}))
