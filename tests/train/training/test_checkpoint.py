"""Killed trainings continue to the same end; nothing half-written is taken for whole."""

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from seas_runtime.errors import DataError, OutputError, TrainError
from seas_train import tune
from seas_train.training import checkpoint, kept, loop
from tests.limits import files_of_at_most
from tests.train.small_stage import Killed, killed_at, learner, stage, weights


@pytest.fixture
def unbroken(tmp_path) -> list[list[float]]:
    """Weights after seven steps without a break."""
    folder = tmp_path / "unbroken"
    folder.mkdir()
    whole = stage(folder)
    loop.run(whole)
    return weights(whole)


@pytest.mark.parametrize("dies_at", range(7))
def test_a_killed_loop_ends_bit_equal(tmp_path, unbroken, dies_at):
    with pytest.raises(Killed):
        loop.run(stage(tmp_path, dies_at=dies_at))
    again = stage(tmp_path)
    loop.run(again)
    assert weights(again) == unbroken


def test_a_continued_loop_does_only_the_steps_that_are_left(tmp_path):
    with pytest.raises(Killed):
        loop.run(stage(tmp_path, dies_at=5))
    again, done = stage(tmp_path), []
    again.after = done.append
    loop.run(again)
    assert done == [5, 6, 7]


@pytest.mark.parametrize("dies_at", [1, 2, 3])
def test_a_killed_tune_ends_bit_equal(base, product, tune_settings, tuned, tmp_path, monkeypatch, dies_at):
    def train():
        tune.train(product, str(base), tmp_path / "run", tune_settings, {})

    killed_at(monkeypatch, tune, dies_at, train)
    assert not (tmp_path / "run" / "run.json").exists()
    train()
    for file in ("unet/diffusion_pytorch_model.safetensors", "tokens.safetensors", "normals.safetensors"):
        assert (tmp_path / "run" / file).read_bytes() == (tuned / file).read_bytes()
    assert not (tmp_path / "run" / "checkpoint").exists()


def saved(folder: Path, step: int) -> None:
    with pytest.raises(Killed):
        loop.run(stage(folder, every=1, dies_at=step))


def load(folder: Path, task: dict[str, object] | None = None, width: int = 3) -> int:
    return checkpoint.load(folder, task or {"stage": "line", "rate": 1}, *learner(width))


def test_no_checkpoint_starts_at_step_0(tmp_path):
    assert load(tmp_path) == 0


def test_other_settings_are_refused_and_named(tmp_path):
    saved(tmp_path, 3)
    with pytest.raises(OutputError, match=r"\(rate 1, now 2\)") as caught:
        load(tmp_path, {"stage": "line", "rate": 2})
    assert caught.value.exit_code == 5
    assert load(tmp_path) == 3


def test_tune_with_other_settings_is_refused(base, product, tune_settings, tmp_path, monkeypatch):
    def die(*_):
        raise Killed

    monkeypatch.setattr(tune.run_folder, "save_tuned", die)
    with pytest.raises(Killed):
        tune.train(product, str(base), tmp_path, tune_settings, {})
    other = tune_settings.model_copy(update={"seed": 1})
    with pytest.raises(OutputError, match=r"\(.*seed 0, now 1.*\)"):
        tune.train(product, str(base), tmp_path, other, {})


def test_a_checkpoint_of_another_stage_is_not_continued(tmp_path):
    saved(tmp_path, 3)
    assert load(tmp_path, {"stage": "other", "rate": 1}) == 0


def test_a_checkpoint_of_other_networks_is_refused(tmp_path):
    saved(tmp_path, 3)
    with pytest.raises(DataError, match="cannot be continued") as caught:
        load(tmp_path, width=5)
    assert "\n" not in caught.value.format_message()


@pytest.mark.parametrize("file", ["state.safetensors", "state.json"])
def test_a_spoiled_checkpoint_is_an_error_of_one_line(tmp_path, file):
    saved(tmp_path, 3)
    path = tmp_path / "checkpoint" / file
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="delete it to start again") as caught:
        load(tmp_path)
    assert "\n" not in caught.value.format_message()


def test_a_half_written_next_is_ignored(tmp_path, unbroken):
    saved(tmp_path, 3)
    (tmp_path / "checkpoint.next").mkdir()
    (tmp_path / "checkpoint.next" / "state.safetensors").write_bytes(b"half")
    assert load(tmp_path) == 3
    again = stage(tmp_path)
    loop.run(again)
    assert weights(again) == unbroken
    assert not (tmp_path / "checkpoint.next").exists()


def test_the_previous_one_is_used_where_the_current_is_missing(tmp_path, unbroken):
    saved(tmp_path, 3)
    (tmp_path / "checkpoint").rename(tmp_path / "checkpoint.previous")
    assert load(tmp_path) == 3
    again = stage(tmp_path)
    loop.run(again)
    assert weights(again) == unbroken
    assert not (tmp_path / "checkpoint.previous").exists()


def test_the_only_checkpoint_outlives_a_failing_rename(tmp_path, monkeypatch):
    saved(tmp_path, 3)
    (tmp_path / "checkpoint").rename(tmp_path / "checkpoint.previous")

    def fail(*_):
        raise OSError("the disk is gone")

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OutputError, match="the disk is gone"):
        checkpoint.save(tmp_path, 4, {"stage": "line", "rate": 1}, *learner())
    assert load(tmp_path) == 3


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path):
    saved(tmp_path, 3)
    with files_of_at_most(64), pytest.raises(OutputError, match="the last one is kept") as caught:
        checkpoint.save(tmp_path, 4, {"stage": "line", "rate": 1}, *learner())
    assert caught.value.exit_code == 5
    assert load(tmp_path) == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_and_keeps_the_checkpoint(tmp_path, unbroken, value):
    with pytest.raises(TrainError, match="loss of step 5 is") as caught:
        loop.run(stage(tmp_path, loss_at={5: value}))
    assert "\n" not in caught.value.format_message()
    assert load(tmp_path) == 4
    assert all(v.isfinite().all() for v in load_file(tmp_path / "checkpoint" / "state.safetensors").values())
    again = stage(tmp_path)
    loop.run(again)
    assert weights(again) == unbroken


def test_clear_removes_every_checkpoint_and_nothing_else(tmp_path):
    for name in ("checkpoint", "checkpoint.next", "checkpoint.previous", "unet"):
        (tmp_path / name).mkdir()
    kept.clear(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["unet"]


def test_cosine_rises_falls_and_ends_low():
    rates = [loop.cosine(step, 1000) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[99] == rates[100] == 1
    assert rates[550] == pytest.approx(0.51)
    assert rates[-1] == pytest.approx(0.02, abs=1e-4)
    assert loop.cosine(0, 1) == 1


def test_a_constant_rate_warms_up_and_stays_whatever_the_number_of_steps():
    rates = [loop.warm_up(step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[49] == pytest.approx(0.5)
    assert set(rates[99:]) == {1.0}


@pytest.mark.parametrize("dies_at", [None, 4])
def test_a_step_has_its_own_learning_rate_broken_or_not(tmp_path, dies_at):
    """Every group's own rate times the factor: what plain AdamW does when it is given these rates one by one."""

    def two_rates(**how) -> loop.Stage:
        made, (modules, _) = stage(tmp_path, **how), learner()
        made.modules = modules
        groups = [{"params": [modules["line"].weight], "lr": 0.1}, {"params": [modules["line"].bias], "lr": 0.5}]
        made.optimizer = torch.optim.AdamW(groups)
        made.losses_of = lambda batch: {"loss": modules["line"](batch[1]).square().mean()}
        return dataclasses.replace(made, lr=lambda step: 1 / (1 + step))

    if dies_at is not None:
        with pytest.raises(Killed):
            loop.run(two_rates(dies_at=dies_at))
    found = two_rates()
    loop.run(found)
    expected = two_rates()
    for step in range(7):
        for group, rate in zip(expected.optimizer.param_groups, (0.1, 0.5), strict=True):
            group["lr"] = rate / (1 + step)
        expected.optimizer.zero_grad()
        expected.losses_of(expected.batch_of(step))["loss"].backward()
        expected.optimizer.step()
    for name, value in expected.modules["line"].state_dict().items():
        torch.testing.assert_close(found.modules["line"].state_dict()[name], value, rtol=1e-6, atol=1e-7)
