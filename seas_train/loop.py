"""The loop that all trainings share: resume, progress, log, checkpoints, and a stop at the first loss that is not a number."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from seas_train import checkpoint
from seas_train.errors import TrainError

Losses = dict[str, torch.Tensor]


@dataclass
class Stage:
    """One training: what learns, where it is kept, and how often it is saved and logged.

    `task` names the stage and the settings it runs with; a checkpoint of another task is not continued.
    """

    folder: Path
    task: dict[str, Any]
    steps: int
    modules: dict[str, nn.Module]
    optimizer: torch.optim.Optimizer
    checkpoint_every: int
    log_every: int


def cosine(step: int, steps: int, warmup: int = 100) -> float:
    """Linear warm-up, then half a cosine down to 2 % of the peak; a function of the step alone, so it needs no state."""
    warmup = min(warmup, max(1, steps // 10))
    if step < warmup:
        return (step + 1) / warmup
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def run(stage: Stage, losses_of: Callable[[int], Losses], after: Callable[[int], None] | None = None) -> None:
    """Run a stage to its last step, continuing where a killed run stopped.

    `losses_of(step)` computes the losses of one step, calls backward on nothing, and draws all randomness from a
    generator made of (seed, step); the entry "loss" is what is minimised. So the state is weights and optimiser alone, and
    a continued run ends with the same weights as an unbroken one.

    Raises:
        TrainError: the loss is not finite; the last good checkpoint stays.
        DataError, OutputError: the checkpoint cannot be read or written.
    """
    done = checkpoint.load(stage.folder, stage.task, stage.modules, stage.optimizer)
    name = str(stage.task["stage"])
    bar = tqdm(total=stage.steps, initial=done, desc=name, unit="step", disable=not sys.stderr.isatty())
    began = time.monotonic()
    try:
        for step in range(done, stage.steps):
            losses = losses_of(step)
            _optimise(stage, losses, step)
            if after is not None:
                after(step)
            done = step + 1
            bar.update()
            if done % stage.log_every == 0 or done == stage.steps:
                values = {key: float(value.detach()) for key, value in losses.items()}
                bar.set_postfix({key: f"{value:.4f}" for key, value in values.items()})
                _log(stage.folder, {"stage": name, "step": done, "seconds": time.monotonic() - began, **values})
            if done % stage.checkpoint_every == 0 and done < stage.steps:
                checkpoint.save(stage.folder, done, stage.task, stage.modules, stage.optimizer)
    finally:
        bar.close()
    checkpoint.save(stage.folder, done, stage.task, stage.modules, stage.optimizer)


def _optimise(stage: Stage, losses: Losses, step: int) -> None:
    loss = losses["loss"]
    if not torch.isfinite(loss):
        raise TrainError(
            f"{stage.task['stage']}: the loss of step {step} is {float(loss.detach())}; training stopped, the last good "
            "checkpoint is kept. Lower the learning rate or look at the images of that step."
        )
    stage.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    stage.optimizer.step()


def _log(folder: Path, line: dict[str, Any]) -> None:
    with (folder / "log.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")
