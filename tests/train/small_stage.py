"""A training of seven steps that learns a line, and trainings that die."""

from pathlib import Path

import pytest
import torch

from seas_train.config import LoopSettings
from seas_train.training import loop


class Killed(Exception):  # noqa: N818
    """Stands for a kill: nothing catches it."""


def learner(width: int = 3) -> tuple[dict[str, torch.nn.Module], torch.optim.Optimizer]:
    torch.manual_seed(0)
    module = torch.nn.Linear(width, 2)
    return {"line": module}, torch.optim.AdamW(module.parameters(), lr=0.1)


def stage(folder: Path, every: int = 2, dies_at: int | None = None, loss_at: dict[int, float] | None = None) -> loop.Stage:
    """Seven steps of a linear layer."""
    modules, optimizer = learner()

    def batch_of(step: int) -> tuple[int, torch.Tensor]:
        if step == dies_at:
            raise Killed
        return step, torch.randn(4, 3, generator=torch.Generator().manual_seed(step))

    def losses_of(batch: tuple[int, torch.Tensor]) -> loop.Losses:
        step, x = batch
        return {"loss": modules["line"](x).square().mean() * (loss_at or {}).get(step, 1.0)}

    task = {"stage": "line", "rate": 1}
    settings = LoopSettings(checkpoint_every=every, log_every=1)
    return loop.Stage(folder, task, 7, modules, optimizer, batch_of, losses_of, settings)


def killed_at(monkeypatch, module, dies_at: int, train) -> None:
    whole, calls = module.losses, []

    def dying(*arguments):
        calls.append(1)
        if len(calls) > dies_at:
            raise Killed
        return whole(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, "losses", dying)
        with pytest.raises(Killed):
            train()


def weights(stage: loop.Stage) -> list[list[float]]:
    return stage.modules["line"].weight.tolist()
