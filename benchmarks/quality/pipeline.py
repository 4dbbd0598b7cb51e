"""The pipeline from real images to generated pairs, each stage one of this project's commands.

All of them see the folder that `real.write_learnable` wrote and nothing else, so no test image can reach a generator.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.stages import generation, here
from seas_train.pipeline.stages import Log, Runner, Stage, Stages
from seas_train.prompts import spoken
from seas_train.training.compute import has_bf16

COMPOSITES = 200
"""Of each type, in a bundle."""


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


@dataclass(frozen=True)
class Pipeline:
    """The stages of one product.

    Attributes:
        work: Folder of everything that is made.
        log: Where progress goes.
        augment: Whether everything learns from quarter-turned and flipped images too; not for a fixed pose.
        runner: Of the commands.
    """

    work: Path
    log: Log
    augment: bool = True
    runner: Runner = here

    def base(self, data: Path, effort: Effort, licence: str) -> Path:
        """Train a small base model on all images of `data`."""
        out = self.work / "base"
        precision = "bf16" if has_bf16() else "fp32"
        self._run(out / "base.json", [
            *("seas-train", "base", str(data), "--out", str(out), "--symmetries", "8" if self.augment else "1"),
            *("--licence", licence, "--preset", "demo", "--vae-precision", precision),
            *("--vae-steps", str(effort.vae), "--align-steps", str(effort.align), "--steps", str(effort.unet)),
            *("--sharpen-steps", str(effort.sharpen), "--checkpoint-every", str(effort.every)),
        ])  # fmt: skip
        return out

    def tune(self, data: Path, base: Path, run: Path, effort: Effort, words: Sequence[str] = ()) -> None:
        """Fine-tune on every anomaly of `data`; `words` come last and prevail."""
        how = ("demo", "--init-product", spoken(data.name)) if knows_anomalies(base) else ("tiny",)
        self._run(run / "run.json", [
            *("seas-train", "tune", str(data), "--base", str(base), "--out", str(run), "--preset", *how, "--cache-latents"),
            *("--train-share", "1", "--steps", str(effort.tune), "--checkpoint-every", str(effort.every), *self._pose, *words),
        ])  # fmt: skip

    def masks(self, data: Path, run: Path, effort: Effort, words: Sequence[str] = ()) -> None:
        """Train the mask branch."""
        self._run(run / "rmp" / "config.json", [
            *("seas-train", "masks", str(run), str(data), "--preset", "demo"),
            *("--steps", str(effort.masks), "--checkpoint-every", str(effort.every), *self._pose, *words),
        ])  # fmt: skip

    def export(self, run: Path, plan: Path) -> None:
        """Export the run as a bundle of single precision, with all that pairs can start from."""
        words = ("--photographs", "--composites", str(COMPOSITES))
        self._run(plan / "manifest.json", ["seas-export", str(run), "--out", str(plan), *words], whole=True)

    def generate(self, plan: Path, out: Path, effort: Effort, words: Sequence[str] = ()) -> None:
        """Generate pairs from a bundle as they come."""
        made = generation("gen", plan, out, effort.count, "--steps", str(effort.solver), "--quiet", *words)
        self._run(made.result, list(made.command))

    def sample(self, run: Path, out: Path, effort: Effort, count: int, words: Sequence[str] = ()) -> None:
        """Generate pairs with the reference sampler, which every ablation has a form for."""
        how = ["--count", str(count), "--steps", str(effort.solver), *words]
        self._run(out / "sheet.png", ["seas-train", "sample", str(run), "--out", str(out), *how])

    @property
    def _pose(self) -> tuple[str, ...]:
        return () if self.augment else ("--no-augment",)

    def _run(self, result: Path, command: list[str], whole: bool = False) -> None:
        folder = result.parent.parent if result.parent.name == "rmp" else result.parent
        verb = command[1] if command[0] == "seas-train" else command[0].removeprefix("seas-")
        where = str(folder.relative_to(self.work) if folder.is_relative_to(self.work) else folder)
        name = verb if where == verb else f"{verb} {where}"
        Stages(self.work, self.log, self.runner).run(Stage(name, tuple(command), result, whole))


def knows_anomalies(base: Path) -> bool:
    """Whether a base was trained on anomalies too, with the names of their types in its captions."""
    path = base / "base.json"
    return path.is_file() and bool(json.loads(path.read_text(encoding="utf-8"))["settings"]["defects"])
