"""The loop that all trainings share: resume, progress, log, checkpoints, and a stop at the first loss that is not a number."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from seas_runtime import voice
from seas_runtime.errors import TrainError
from seas_runtime.files import write_atomic
from seas_train.config import LoopSettings
from seas_train.training import checkpoint
from seas_train.training.compute import Machine, average_gradients
from seas_train.training.interrupts import held_back

LOG = "log.jsonl"
B = TypeVar("B")
Losses = dict[str, torch.Tensor]
Values = dict[str, float]
Tensors = tuple[torch.Tensor, ...] | list[torch.Tensor]


class Average(AveragedModel):
    """An exponential average of a module's weights, faster at the start."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        def move(kept: Tensors, new: Tensors, n: torch.Tensor | int) -> None:
            torch._foreach_lerp_(kept, new, 1 - min(decay, (1 + int(n)) / (10 + int(n))))

        super().__init__(module, multi_avg_fn=move)
        self.followed = (module,)  # in a tuple: no part of this module, nor of its state

    def follow(self) -> None:
        """Move towards the module's weights of now."""
        self.update_parameters(self.followed[0])

    def adopt(self) -> None:
        """Give the module the average for its weights."""
        self.followed[0].load_state_dict(self.module.state_dict())


def constant(_step: int) -> float:
    """The same learning rate at every step."""
    return 1.0


@dataclass
class Stage(Generic[B]):
    """One training: what it sees, what is minimised, what learns, and where that is kept.

    folder: of the log and the checkpoint.
    task: names the stage and the settings it runs with; a checkpoint of another task is not continued.
    modules: what learns, by its name in a checkpoint.
    batch_of(index): a batch; all its randomness comes from a generator made of (seed, index).
    losses_of(batch): the batch's losses, of which "loss" is minimised; draws nothing and calls backward on nothing.
    lr(step): the factor of every parameter group's learning rate.
    accumulation: batches of a step, numbered through.
    average: of what learns; it is what is left in the end.
    describe(batch): names it in an error.
    after(steps done): called when the weights have moved, before they are saved.
    watch(steps done, losses, batch): called every `watch_every` steps.
    """

    folder: Path
    task: dict[str, Any]
    steps: int
    modules: dict[str, nn.Module]
    optimizer: torch.optim.Optimizer
    batch_of: Callable[[int], B]
    losses_of: Callable[[B], Losses]
    settings: LoopSettings
    lr: Callable[[int], float] = constant
    accumulation: int = 1
    machine: Machine = field(default_factory=Machine)
    average: Average | None = None
    describe: Callable[[B], str] | None = None
    after: Callable[[int], None] | None = None
    watch: Callable[[int, Values, B], None] | None = None
    watch_every: int = 0

    def __post_init__(self) -> None:
        self.rates = [float(group["lr"]) for group in self.optimizer.param_groups]

    @property
    def name(self) -> str:
        """The stage's name in the log."""
        return str(self.task["stage"])

    @property
    def state(self) -> dict[str, nn.Module]:
        """All modules of a checkpoint."""
        return self.modules if self.average is None else {**self.modules, "average": self.average}

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What the optimiser moves."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]


def run(stage: Stage[Any]) -> None:
    """Run a stage to its last step, continuing where a killed run stopped.

    The state is the weights, the optimiser's and the loss scale of fp16, so on the same CPU a continued run ends with the same
    weights as an unbroken one, to the bit.

    Raises:
        TrainError: the loss or a gradient is not finite; the last good checkpoint stays.
        DataError, OutputError: the checkpoint cannot be read or written.
    """
    settings, machine = stage.settings, stage.machine

    # Resume.
    done = checkpoint.load(stage.folder, stage.task, stage.state, stage.optimizer, machine.scaler)
    if machine.main:
        _forget(stage.folder / LOG, stage.name, done)
        _open(stage, done)
    began = time.monotonic()

    shown = voice.progress(stage.steps, stage.name, "step", done)
    # Several processes would stop at several steps, each waiting for the others: there, an interrupt does not wait.
    with shown as bar, held_back() if machine.processes == 1 else nullcontext(lambda: False) as asked_to_stop:
        for step in range(done, stage.steps):
            # One step.
            losses, batch = optimise(stage, step)
            if stage.average is not None:
                stage.average.follow()
            done = step + 1
            if stage.after is not None:
                stage.after(done)
            bar.update()

            # Log and show.
            logged = done % settings.log_every == 0 or done == stage.steps
            watched = stage.watch_every > 0 and done % stage.watch_every == 0
            if logged or watched:
                values = {key: float(value) for key, value in losses.items()}
                bar.values(values)
                if logged and machine.main:
                    _log(stage.folder, {"stage": stage.name, "step": done, "seconds": time.monotonic() - began, **values})
                if watched and machine.main and stage.watch is not None:
                    stage.watch(done, values, batch)

            # Checkpoint.
            if (done % settings.checkpoint_every == 0 and done < stage.steps) or asked_to_stop():
                _save(stage, done)
            if asked_to_stop():
                raise KeyboardInterrupt

        # What is left.
        _save(stage, done)
        if asked_to_stop():
            raise KeyboardInterrupt
    if stage.average is not None:
        stage.average.adopt()


def optimise(stage: Stage[B], step: int) -> tuple[Losses, B]:
    """One step of the optimiser: its losses, averaged over batches and processes, and its last batch.

    Raises:
        TrainError: the loss or a gradient is not finite; no weight has moved.
    """
    machine, parts = stage.machine, []

    # Learning rates.
    for group, rate in zip(stage.optimizer.param_groups, stage.rates, strict=True):
        group["lr"] = rate * stage.lr(step)

    # Forward and backward.
    stage.optimizer.zero_grad(set_to_none=True)
    for index in range(step * stage.accumulation, (step + 1) * stage.accumulation):
        batch = stage.batch_of(index)
        with machine.autocast():
            losses = stage.losses_of(batch)
        if not torch.isfinite(losses["loss"]):
            raise _stopped(stage, batch, f"the loss of step {step} is {float(losses['loss'].detach())}")
        loss = losses["loss"] / stage.accumulation
        (machine.scaler.scale(loss) if machine.scaler else loss).backward()
        parts.append({key: value.detach() for key, value in losses.items()})

    # Mean over processes.
    average_gradients(stage.parameters, machine.processes)
    means = {key: machine.mean(torch.stack([part[key] for part in parts]).mean()) for key in parts[0]}

    # Step.
    _move(stage, batch, step)
    return means, batch


def _move(stage: Stage[B], batch: B, step: int) -> None:
    """Let the optimiser step, unless a gradient is not finite: fp16 then lowers its scale, others stop."""
    scaler = stage.machine.scaler
    if scaler is not None:
        scaler.step(stage.optimizer)  # leaves a step out that overflows
        scaler.update()
        if scaler.get_scale() < 1:
            raise _stopped(stage, batch, f"the gradients of step {step} overflow fp16 at every loss scale")
        return
    norms = torch._foreach_norm([p.grad for p in stage.parameters if p.grad is not None])
    if norms and not torch.isfinite(torch.stack([norm.float() for norm in norms])).all():
        raise _stopped(stage, batch, f"a gradient of step {step} is not finite")
    stage.optimizer.step()


def _stopped(stage: Stage[B], batch: B, found: str) -> TrainError:
    images = f" (batch: {stage.describe(batch)})" if stage.describe else ""
    return TrainError(
        f"{stage.name}: {found}{images}; training stopped, the last good checkpoint is kept. Lower the learning rate or look at "
        "the images of that step."
    )


def cosine(step: int, steps: int, warmup: int = 100) -> float:
    """Linear warm-up, then half a cosine down to 2 % of the peak; a function of the step alone, so it needs no state."""
    warmup = min(warmup, max(1, steps // 10))
    if step < warmup:
        return (step + 1) / warmup
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def warm_up(step: int, warmup: int = 100) -> float:
    """Linear warm-up, then the peak; it does not depend on the number of steps, which may be raised on the way."""
    return min(1.0, (step + 1) / warmup)


def _save(stage: Stage[Any], done: int) -> None:
    if stage.machine.main:
        checkpoint.save(stage.folder, done, stage.task, stage.state, stage.optimizer, stage.machine.scaler)
    stage.machine.wait()


def _log(folder: Path, line: dict[str, Any]) -> None:
    with (folder / LOG).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


def _open(stage: Stage[Any], done: int) -> None:
    """Say where a training goes on, and what makes it slow."""
    if 0 < done < stage.steps:
        voice.note(f"{stage.name}: going on from step {done} of {stage.steps}")
    if done < stage.steps and stage.machine.imitates:
        voice.warn(
            f"{stage.name}: this processor has no bf16 (AMX or AVX-512 BF16) and imitates it, very slowly; use precision fp32"
        )


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
