"""The pipeline from real images to generated pairs, each stage one of this project's commands, called in this process.

Every command skips what is done and continues what was interrupted. All of them see the folder that `real.write_learnable` wrote
and nothing else, so no test image can reach a generator.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import click
import torch

from seas_runtime.files import write_atomic
from seas_train.prompts import spoken

TIMES = "stages.json"
GATE_GAVE_UP = 6
"""Exit code of seas-gen where masks were empty or full: a figure to report, not a failure of the pipeline."""


@dataclass(frozen=True)
class Effort:
    """How much is trained and generated.

    Attributes:
        vae, unet: Steps of the base model's two parts.
        align, sharpen: Steps of its text encoder before the U-Net's, and of its decoder after them.
        tune, masks: Steps of both trainings of the generator.
        count: Pairs generated.
        solver: Solver steps of each pair.
        every: Steps between checkpoints.
    """

    vae: int
    unet: int
    tune: int
    masks: int
    count: int
    solver: int
    align: int = 0
    sharpen: int = 0
    every: int = 100


@dataclass
class Pipeline:
    """Runs stages and keeps their seconds.

    Attributes:
        work: Folder of everything that is made; stages.json says what each stage took.
        say: Called with a line for each stage.
        turn: Whether everything learns from quarter-turned and flipped images too; not for a fixed pose.
    """

    work: Path
    say: Callable[[str], object]
    turn: bool = True

    def base(self, data: Path, effort: Effort, licence: str) -> Path:
        """Train a small base model on all images of `data`."""
        out = self.work / "base"
        precision = "bf16" if torch.cpu.get_capabilities().get("amx_bf16") else "fp32"
        self._run("seas-train", [
            *("base", str(data), "--out", str(out), "--symmetries", "8" if self.turn else "1", "--licence", licence),
            *("--preset", "demo", "--vae-precision", precision),
            *("--vae-steps", str(effort.vae), "--align-steps", str(effort.align), "--steps", str(effort.unet)),
            *("--sharpen-steps", str(effort.sharpen), "--checkpoint-every", str(effort.every)),
        ])  # fmt: skip
        return out

    def tune(self, data: Path, base: Path, run: Path, effort: Effort, words: Sequence[str] = ()) -> None:
        """Fine-tune on every anomaly of `data`; `words` come last and prevail."""
        how = ("demo", "--init-product", spoken(data.name)) if knows_anomalies(base) else ("tiny",)
        self._run("seas-train", [
            *("tune", str(data), "--base", str(base), "--out", str(run), "--preset", *how, "--cache-latents"),
            *("--train-share", "1", "--steps", str(effort.tune), "--checkpoint-every", str(effort.every), *self._pose, *words),
        ])  # fmt: skip

    def masks(self, data: Path, run: Path, effort: Effort, words: Sequence[str] = ()) -> None:
        """Train the mask branch."""
        self._run("seas-train", [
            *("masks", str(run), str(data), "--preset", "demo"),
            *("--steps", str(effort.masks), "--checkpoint-every", str(effort.every), *self._pose, *words),
        ])  # fmt: skip

    def export(self, run: Path, plan: Path) -> None:
        """Export the run as a bundle of single precision."""
        if not (plan / "manifest.json").is_file():
            self._run("seas-export", [str(run), "--out", str(plan)])

    def generate(self, plan: Path, out: Path, effort: Effort) -> None:
        """Generate pairs from a bundle as they come: no second attempts, so that pairs without a mask can be counted."""
        self._run("seas-gen", [
            *("--engine", str(plan), "--out", str(out), "--count", str(effort.count), "--steps", str(effort.solver)),
            *("--retries", "0", "--max-area", "1", "--quiet"),
        ])  # fmt: skip

    def sample(self, run: Path, out: Path, effort: Effort, count: int, words: Sequence[str] = ()) -> None:
        """Generate pairs with the reference sampler, which every ablation has a form for."""
        done = out / "done.json"
        asked = {"count": count, "solver": effort.solver, "words": list(words)}
        if done.is_file() and json.loads(done.read_text(encoding="utf-8")) == asked:
            return
        how = ["--count", str(count), "--steps", str(effort.solver), *words]
        self._run("seas-train", ["sample", str(run), "--out", str(out), *how])
        write_atomic(done, json.dumps(asked) + "\n")

    @property
    def _pose(self) -> tuple[str, ...]:
        return () if self.turn else ("--no-augment",)

    def _run(self, program: str, words: list[str]) -> None:
        self.say(f"{program} {' '.join(words)}")
        began = time.monotonic()
        try:
            call(program, words)
        finally:
            name = f"{program} {words[0]}" if program == "seas-train" else program
            taken = seconds(self.work)
            taken[name] = round(taken.get(name, 0.0) + time.monotonic() - began, 1)
            self.work.mkdir(parents=True, exist_ok=True)
            write_atomic(self.work / TIMES, json.dumps(taken, indent=1) + "\n")


def knows_anomalies(base: Path) -> bool:
    """Whether a base was trained on anomalies too, with the names of their types in its captions."""
    path = base / "base.json"
    return path.is_file() and bool(json.loads(path.read_text(encoding="utf-8"))["settings"]["defects"])


def seconds(work: Path) -> dict[str, float]:
    """What each stage took by its command, interrupted attempts included; those that were killed are not."""
    path = work / TIMES
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def call(program: str, words: Sequence[str]) -> None:
    """Run one of this project's commands in this process.

    Raises:
        click.ClickException: as the command; an exit code is its own.
        KeyboardInterrupt: the command was interrupted.
    """
    from seas_export.cli import main as export
    from seas_runtime.cli import generate
    from seas_runtime.errors import INTERRUPTED
    from seas_train.cli import main as train

    commands: dict[str, click.Command] = {"seas-train": train, "seas-export": export, "seas-gen": generate}
    try:
        with redirect_stdout(sys.stderr):  # what the command says is progress here
            status = commands[program].main(list(words), prog_name=program, standalone_mode=False)
    except click.ClickException as error:
        if (program, error.exit_code) != ("seas-gen", GATE_GAVE_UP):
            raise
        return
    if status == INTERRUPTED:
        raise KeyboardInterrupt
    if isinstance(status, int) and status:
        raise click.exceptions.Exit(status)
