"""What a training will take, from one timed step on this machine. Nothing is written."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from seas_runtime.footprint import duration, peak_bytes, size
from seas_train.training import loop

BUSY = 1.0
"""Load above the number of cores that is not this process's own."""
PATIENCE = 20.0
"""Seconds; where the first step, which also reserves memory, takes longer, there is no second one."""


@dataclass(frozen=True)
class Estimate:
    """One stage of a training.

    Attributes:
        name: Of the stage.
        steps: How many it has.
        seconds: Of one of them.
        memory: Peak of the process so far, or of the GPU, in bytes; None where the system does not say.
        checkpoint: Bytes of its state on the disk; while one is written there are two.
    """

    name: str
    steps: int
    seconds: float
    memory: int | None
    checkpoint: int

    def line(self) -> str:
        """The stage in words."""
        return f"{self.name}: {self.steps} steps of {self.seconds:.3g} s, {duration(self.steps * self.seconds)}"


def measure(stage: loop.Stage[Any]) -> Estimate:
    """Run a stage's first step, and its second for the time; what learns is of no use afterwards.

    Raises:
        TrainError: The loss is not finite.
    """
    device = stage.machine.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = _timed(stage, 0)
    if seconds < PATIENCE and stage.steps > 1:
        seconds = _timed(stage, 1)
    memory = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_bytes()
    return Estimate(stage.name, stage.steps, seconds, memory, _state_bytes(stage))


def told(estimates: Iterable[Estimate], left: int) -> Iterator[str]:
    """All stages in words; `left` bytes are what the training leaves on the disk."""
    stages = list(estimates)
    yield from (f"estimate: {stage.line()}" for stage in stages)
    yield from _busy()
    total = sum(stage.steps * stage.seconds for stage in stages)
    peak = max((stage.memory or 0 for stage in stages), default=0)
    memory = f"memory {size(peak)}" if peak else "memory unknown"
    during = left + 2 * max((stage.checkpoint for stage in stages), default=0)
    yield (
        f"estimate: {duration(total)} in all on this machine as it is now, {memory} at most, disk {size(left)}, and {size(during)} "
        "while training; nothing was written"
    )


def _busy() -> Iterator[str]:
    """Say so where other programs compute here: threads that wait for one another by spinning then cost several times as much."""
    load, cores = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0, os.cpu_count() or 1
    if load > cores + BUSY:
        yield (
            f"estimate: this machine is busy (load {load:.1f} on {cores} cores), and idle it is faster; beside other programs "
            "OMP_WAIT_POLICY=PASSIVE in the environment helps"
        )


def module_bytes(modules: Iterable[nn.Module]) -> int:
    """Bytes of the weights of modules."""
    return sum(_bytes(module.state_dict().values()) for module in modules)


def _timed(stage: loop.Stage[Any], step: int) -> float:
    began = time.perf_counter()
    loop.optimise(stage, step)
    if stage.average is not None:
        stage.average.follow()
    if stage.machine.device.type == "cuda":
        torch.cuda.synchronize(stage.machine.device)
    return time.perf_counter() - began


def _state_bytes(stage: loop.Stage[Any]) -> int:
    moments = [value for slot in stage.optimizer.state_dict()["state"].values() for value in slot.values()]
    return module_bytes(stage.state.values()) + _bytes(value for value in moments if torch.is_tensor(value))


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
