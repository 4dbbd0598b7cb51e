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
from accelerate import Accelerator
from accelerate.utils import reduce
from torch import nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from seas_runtime.errors import TrainError
from seas_runtime.files import write_atomic
from seas_train.training import checkpoint
from seas_train.training.compute import average_gradients

LOG = "log.jsonl"
Losses = dict[str, torch.Tensor]
Values = dict[str, float]
Tensors = tuple[torch.Tensor, ...] | list[torch.Tensor]


@dataclass
class Stage:
    """One training: what learns, where it is kept, and how often it is saved and logged.

    `task` names the stage and the settings it runs with; a checkpoint of another task is not continued. Without an
    `accelerator` it runs on one CPU in fp32. `batch` describes the latest batch in an error, `watch(step, losses)` is called
    every `watch_every` steps.
    """

    folder: Path
    task: dict[str, Any]
    steps: int
    modules: dict[str, nn.Module]
    optimizer: torch.optim.Optimizer
    checkpoint_every: int
    log_every: int
    accumulation: int = 1
    accelerator: Accelerator | None = None
    batch: Callable[[], str] | None = None
    watch: Callable[[int, Values], None] | None = None
    watch_every: int = 0

    @property
    def name(self) -> str:
        """The stage's name in the log."""
        return str(self.task["stage"])

    @property
    def main(self) -> bool:
        """Whether this is the process that writes."""
        return self.accelerator is None or bool(self.accelerator.is_main_process)

    @property
    def scaler(self) -> torch.amp.GradScaler | None:
        """The loss scale of fp16."""
        return self.accelerator.scaler if self.accelerator else None

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What the optimiser moves."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]


def cosine(step: int, steps: int, warmup: int = 100) -> float:
    """Linear warm-up, then half a cosine down to 2 % of the peak; a function of the step alone, so it needs no state."""
    warmup = min(warmup, max(1, steps // 10))
    if step < warmup:
        return (step + 1) / warmup
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def average(module: nn.Module, decay: float) -> AveragedModel:
    """An exponential average of weights, faster at the start; `update_parameters` moves it."""

    def move(kept: Tensors, new: Tensors, n: torch.Tensor | int) -> None:
        torch._foreach_lerp_(kept, new, 1 - min(decay, (1 + int(n)) / (10 + int(n))))

    return AveragedModel(module, multi_avg_fn=move)


def run(stage: Stage, losses_of: Callable[[int], Losses], after: Callable[[int], None] | None = None) -> None:
    """Run a stage to its last step, continuing where a killed run stopped.

    `losses_of(index)` computes the losses of one batch, calls backward on nothing, and draws all randomness from a
    generator made of (seed, index); the entry "loss" is what is minimised. A step has `accumulation` batches, numbered
    through. So the state is the weights, the optimiser's and the loss scale of fp16, and on the same CPU a continued run ends
    with the same weights as an unbroken one, to the bit.

    Raises:
        TrainError: the loss or a gradient is not finite; the last good checkpoint stays.
        DataError, OutputError: the checkpoint cannot be read or written.
    """
    done = checkpoint.load(stage.folder, stage.task, stage.modules, stage.optimizer, stage.scaler)
    if stage.main:
        _forget(stage.folder / LOG, stage.name, done)
    hidden = not (stage.main and sys.stderr.isatty())
    bar = tqdm(total=stage.steps, initial=done, desc=stage.name, unit="step", disable=hidden)
    began = time.monotonic()
    try:
        for step in range(done, stage.steps):
            losses = optimise(stage, losses_of, step)
            if after is not None:
                after(step)
            done = step + 1
            bar.update()
            logged = done % stage.log_every == 0 or done == stage.steps
            watched = stage.watch_every > 0 and done % stage.watch_every == 0
            if logged or watched:
                values = {key: float(value) for key, value in losses.items()}
                bar.set_postfix({key: f"{value:.4f}" for key, value in values.items()})
                if logged and stage.main:
                    _log(stage.folder, {"stage": stage.name, "step": done, "seconds": time.monotonic() - began, **values})
                if watched and stage.main and stage.watch is not None:
                    stage.watch(done, values)
            if done % stage.checkpoint_every == 0 and done < stage.steps:
                _save(stage, done)
    finally:
        bar.close()
    _save(stage, done)


def optimise(stage: Stage, losses_of: Callable[[int], Losses], step: int) -> Losses:
    """One optimiser step; returns its losses, averaged over batches and processes.

    Raises:
        TrainError: the loss or a gradient is not finite; no weight has moved.
    """
    stage.optimizer.zero_grad(set_to_none=True)
    parts = [_batch(stage, losses_of, step, part) for part in range(stage.accumulation)]
    losses = {key: torch.stack([part[key] for part in parts]).mean() for key in parts[0]}
    processes = stage.accelerator.num_processes if stage.accelerator else 1
    average_gradients(stage.parameters, processes)
    _move(stage, step)
    return losses if processes == 1 else {key: reduce(value, "mean") for key, value in losses.items()}


def _batch(stage: Stage, losses_of: Callable[[int], Losses], step: int, part: int) -> Losses:
    """Losses of one batch, their gradients added to those of the step."""
    index = step * stage.accumulation + part
    if stage.accelerator is None:
        losses = losses_of(index)
    else:
        with stage.accelerator.autocast():
            losses = losses_of(index)
    if not torch.isfinite(losses["loss"]):
        found = f"{stage.name}: the loss of step {step} is {float(losses['loss'].detach())}"
        raise _stopped(stage, found)
    loss = losses["loss"] / stage.accumulation
    (stage.scaler.scale(loss) if stage.scaler else loss).backward()
    return {key: value.detach() for key, value in losses.items()}


def _move(stage: Stage, step: int) -> None:
    """Let the optimiser step, unless a gradient is not finite: fp16 then lowers its scale, others stop."""
    if stage.scaler is not None:
        stage.scaler.step(stage.optimizer)  # leaves a step out that overflows
        stage.scaler.update()
        if stage.scaler.get_scale() < 1:
            raise _stopped(stage, f"{stage.name}: the gradients of step {step} overflow fp16 at every loss scale")
        return
    norms = torch._foreach_norm([p.grad for p in stage.parameters if p.grad is not None])
    if norms and not torch.isfinite(torch.stack([norm.float() for norm in norms])).all():
        raise _stopped(stage, f"{stage.name}: a gradient of step {step} is not finite")
    stage.optimizer.step()


def _stopped(stage: Stage, found: str) -> TrainError:
    batch = f" (batch: {stage.batch()})" if stage.batch else ""
    return TrainError(
        f"{found}{batch}; training stopped, the last good checkpoint is kept. Lower the learning rate or look at the images "
        "of that step."
    )


def _save(stage: Stage, done: int) -> None:
    if stage.main:
        checkpoint.save(stage.folder, done, stage.task, stage.modules, stage.optimizer, stage.scaler)
    if stage.accelerator is not None:
        stage.accelerator.wait_for_everyone()


def _log(folder: Path, line: dict[str, Any]) -> None:
    with (folder / LOG).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


def _forget(log: Path, name: str, done: int) -> None:
    """Remove a stage's lines after step `done`, which are about to come again, and a line torn by a kill."""
    if not log.is_file():
        return
    kept = []
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    for line in lines:
        try:
            fields = json.loads(line)
            again = fields["stage"] == name and fields["step"] > done
        except (ValueError, KeyError, TypeError):
            again = True
        if not again:
            kept.append(line if line.endswith("\n") else line + "\n")
    if kept != lines:
        write_atomic(log, "".join(kept))
