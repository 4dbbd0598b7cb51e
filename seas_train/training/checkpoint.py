"""Training state on disk: safetensors and JSON, whole or not at all, the previous one kept until the new one is whole."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from seas_runtime.errors import DataError, OutputError
from seas_runtime.files import flush_folder, write_atomic
from seas_train.training.kept import CURRENT, NEXT, PREVIOUS, newest

SHOWN = 40
"""Characters of a setting that a message shows; hashes and lists are longer."""


def _optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and, of 8-bit optimisers, plain numbers, by "index/key"."""
    slots = optimizer.state_dict()["state"].items()
    flat = {f"{index}/{key}": value for index, slot in slots for key, value in slot.items()}
    tensors = {f"optimizer/{name}": value for name, value in flat.items() if torch.is_tensor(value)}
    return tensors, {name: value for name, value in flat.items() if not torch.is_tensor(value)}


def save(
    folder: Path,
    step: int,
    task: dict[str, Any],
    modules: dict[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler | None = None,
) -> None:
    """Save modules and optimiser after `step` steps.

    Args:
        folder: the run folder; the checkpoint is its subfolder `checkpoint`.
        step: steps done.
        task: what the state belongs to (stage name and settings); resuming another task is refused.
        modules: by name; only their state dicts are written.
        optimizer: its state is written, its hyper-parameters come from the settings.
        scaler: the loss scale of fp16, if there is one.

    Raises:
        OutputError: the disk is full or the folder cannot be written; the previous checkpoint stays.
    """
    tensors = {
        f"{name}/{key}": value.detach().contiguous()
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
    moments, numbers = _optimizer_state(optimizer)
    head = {"step": step, "task": task, "numbers": numbers, "scaler": scaler.state_dict() if scaler else {}}
    fresh = folder / NEXT
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        save_file(tensors | moments, fresh / "state.safetensors")
        with (fresh / "state.safetensors").open("rb") as stream:
            os.fsync(stream.fileno())
        write_atomic(fresh / "state.json", json.dumps(head))
        flush_folder(fresh)
        if (folder / CURRENT).exists():
            shutil.rmtree(folder / PREVIOUS, ignore_errors=True)
            (folder / CURRENT).rename(folder / PREVIOUS)
        fresh.rename(folder / CURRENT)
        flush_folder(folder)
        shutil.rmtree(folder / PREVIOUS, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(fresh, ignore_errors=True)  # it may be what fills the disk
        raise OutputError(f"cannot save a checkpoint in {folder}: {error}; the last one is kept") from error


def load(
    folder: Path,
    task: dict[str, Any],
    modules: dict[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler | None = None,
) -> int:
    """Restore the newest whole checkpoint of this task; returns the steps done, 0 where there is none.

    A checkpoint of an earlier version may lack a setting; what it does not state is not compared.

    Raises:
        OutputError: the checkpoint was made with other settings.
        DataError: it was made for other networks, or cannot be read.
    """
    source = newest(folder)
    if source is None:
        return 0
    try:
        return _restore(source, task, modules, optimizer, scaler)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"{source} cannot be continued ({reason}); delete it to start again") from error


def _changed(saved: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """What differs, with both values where they are short; what `saved` lacks does not, in nested settings too."""
    found = []
    for key, old in sorted(saved.items()):
        new = asked.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _changed(old, new)
        elif key not in asked or old != new:
            told = max(len(str(old)), len(str(new))) <= SHOWN
            found.append(f"{key} {old!r}, now {new!r}" if told else f"other {key}")
    return found


def _restore(
    source: Path,
    task: dict[str, Any],
    modules: dict[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler | None,
) -> int:
    head = json.loads((source / "state.json").read_text(encoding="utf-8"))
    if head["task"].get("stage") != task.get("stage"):
        return 0
    if changed := _changed(head["task"], json.loads(json.dumps(task))):
        raise OutputError(
            f"{source} was made with other settings ({'; '.join(changed)}); give the same settings to continue, or another --out"
        )
    tensors = load_file(source / "state.safetensors")
    for name, module in modules.items():
        prefix = f"{name}/"
        module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    state = {k.removeprefix("optimizer/"): v for k, v in tensors.items() if k.startswith("optimizer/")}
    slots: dict[int, dict[str, Any]] = {}
    for name, value in {**state, **head.get("numbers", {})}.items():
        index, key = name.split("/")
        slots.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
    if scaler is not None and head.get("scaler"):
        scaler.load_state_dict(head["scaler"])
    return int(head["step"])
