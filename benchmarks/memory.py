"""Memory and seconds of one training step at v1-4's size, one way of saving memory after another; random weights.

    python -m benchmarks.memory                          # many minutes on a CPU
    python -m benchmarks.memory --device auto            # on a GPU
    python -m benchmarks.memory --geometry tiny --only fp32 --only lora

Every row is a process of its own, see `benchmarks.train_step`; the last rows are what `--memory` of `seas-train tune` and `masks`
picks. On a CPU 8-bit AdamW is left out, and bf16 where the processor has none: fp32 takes its place in what `--memory` picks.
A row that this machine's memory does not hold says so. Saves memory_GEOMETRY_DEVICE.json and .md after every row.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from benchmarks import common
from benchmarks.train_step import Case, measure
from seas_train.config import MaskSettings, TuneSettings
from seas_train.training.compute import has_bf16

Figures = dict[str, Any]
ROWS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "bf16": {"precision": "bf16"},
    "lora": {"unet": "lora"},
    "checkpointing": {"checkpointing": True},
    "slicing": {"slicing": True},
    "cached, VAE unloaded": {"settings": (("cache_latents", True),), "unload": True},
    "masks": {"stage": "masks"},
    "masks, bf16": {"stage": "masks", "precision": "bf16"},
    "masks, checkpointing": {"stage": "masks", "checkpointing": True},
}
"""What is measured beside `--memory`, each alone: by its name, what differs from a step of `tune` in fp32."""
_FIELDS = {"precision": "precision", "unet": "unet", "optimizer": "optimizer", "gradient_checkpointing": "checkpointing"}


def picked(stage: str, picks: dict[str, Any]) -> dict[str, Any]:
    """The case of a choice of `--memory`."""
    fields: dict[str, Any] = {_FIELDS[name]: value for name, value in picks.items() if name in _FIELDS}
    rest = tuple((name, value) for name, value in picks.items() if name not in _FIELDS)
    return {"stage": stage, **fields, "settings": rest, "unload": stage == "tune" and bool(picks.get("cache_latents"))}


def rows() -> dict[str, dict[str, Any]]:
    """All rows by name."""
    found = dict(ROWS)
    for stage, cls in (("tune", TuneSettings), ("masks", MaskSettings)):
        found.update({f"{stage} --memory {size}": picked(stage, picks) for size, picks in cls.memories.items()})
    return found


def cases(geometry: str, device: str, only: Sequence[str] = ()) -> dict[str, Case]:
    """What is measured on a device, by the rows' names: those of `only`, or all; rows that are the same are one."""
    plain = {"precision": "fp32", "checkpointing": False, "unet": "full", "optimizer": "adamw"}
    everywhere = {"geometry": geometry, "device": device, "steps": 1, "threads": 0}
    without_bf16 = device == "cpu" and not has_bf16()
    names: dict[Case, list[str]] = {}
    for name, how in rows().items():
        case = Case(**{"stage": "tune", **plain, **how, **everywhere})
        if (only and name not in only) or (device == "cpu" and case.optimizer == "adamw8bit"):
            continue
        if without_bf16 and case.precision == "bf16":
            if name in ROWS:  # bf16 is all that the row is about
                continue
            case = replace(case, precision="fp32")
        names.setdefault(case, []).append(name)
    return {", ".join(known): case for case, known in names.items()}


def table(found: dict[str, Figures], geometry: str) -> str:
    """The figures as Markdown."""
    lines = [f"# One training step at {geometry}'s size, random weights", ""]
    lines += ["| way | arithmetic | device | learning | seconds of the first step | peak memory, GiB |"]
    lines += ["|---|---|---|---:|---:|---:|"]
    for name, row in found.items():
        figures = "| | | more than there is"
        if "peak_gib" in row:
            figures = f"| {row['learning_parameters'] / 1e6:.1f} M | {row['seconds'][0]:.1f} | {row['peak_gib']:.2f}"
        lines.append(f"| {name} | {row['precision']} | {row['device']} {figures} |")
    return "\n".join(lines) + "\n"


@click.command(context_settings={"show_default": True})
@click.option("--geometry", type=click.Choice(["tiny", "sd14", "sd21-base"]), default="sd14")
@click.option("--device", type=click.Choice(["auto", "cpu"]), default="cpu")
@click.option("--only", type=click.Choice(list(rows())), multiple=True, help="These rows; may be repeated.")
@click.option("--out", type=click.Path(path_type=Path), default=common.RESULTS, help="Folder of the tables.")
def main(geometry: str, device: str, only: tuple[str, ...], out: Path) -> None:
    """Measure one step of every row and save the table."""
    found: dict[str, Figures] = {}
    memory = f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB"
    command = f"python -m benchmarks.memory --geometry {geometry} --device {device}"
    for name, case in cases(geometry, device, only).items():
        try:
            figures = common.alone(measure, case)
        except MemoryError:
            figures = {}
        found[name] = {"precision": case.precision, "device": device, **figures}
        where = {**common.machine(), "memory": memory, "command": command}
        text = table(found, geometry) + "\n".join(["", *common.listed(where, *where), ""])
        common.save(out / f"memory_{geometry}_{'gpu' if device == 'auto' else 'cpu'}", {"rows": found, **where}, text)
        click.echo(text.splitlines()[len(found) + 3])


if __name__ == "__main__":
    main()
