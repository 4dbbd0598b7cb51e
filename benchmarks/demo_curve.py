"""How long a small base should be trained: the demo base's U-Net at a constant learning rate, and what pairs are worth on the way.

    python -m benchmarks.demo_curve train --work out/curve --steps 100000
    python -m benchmarks.demo_curve judge --work out/curve --mark 10000 --mark 20000

`train` is one long training that keeps its average every --every steps; it resumes, and `judge` may run beside it. A judged mark
is fine-tuned, given masks and exported as the demo engine is, and pairs of several guidances are judged by what drawn products
alone have, an oracle. Saves demo_curve.md, .json and .csv. Where a figure is flat, longer training is not worth its time.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks import common, demo_quality
from benchmarks.common import RESULTS
from benchmarks.make_demo import DRAWN, PRODUCT, base_command, drawn_stage, engine_stages
from benchmarks.quality.decomposition import build
from benchmarks.quality.tables import Document, Table, save
from benchmarks.stages import generation, here, interruptible
from seas_runtime.files import write_atomic
from seas_train.base.train import MARKS
from seas_train.pipeline.stages import Stage, Stages

GUIDANCES = (2.0, 4.0, 7.0)
COUNT = 150
"""Pairs of each kind."""
KINDS = {f"guidance {value:g}": ("--guidance", f"{value:g}") for value in GUIDANCES} | {
    "composites, guidance 4": ("--guidance", "4", "--init", "composite", "--background", "real")
}
"""How pairs are made, by what the table calls it."""
WORK = click.option("--work", type=click.Path(path_type=Path), default=Path("out/curve"), show_default=True)


@dataclass(frozen=True)
class Curve:
    """The folder of it.

    work/near varied few     drawn data
    work/long                the long training, its averages in work/long/marks/STEP
    work/STEP                what is made of a mark: base, run, engine, pairs, judged.json
    """

    work: Path
    log: Callable[[str], object]

    def run(self, stage: Stage) -> None:
        """Run a stage that is not done."""
        Stages(self.work, self.log, here).run(stage)

    def draw(self) -> None:
        """Draw what is learned from."""
        for name in DRAWN:
            self.run(drawn_stage(name, self.work / name))

    def train(self, steps: int, every: int) -> None:
        """The long training; its decoder is sharpened at the end."""
        self.draw()
        words = ("--steps", str(steps), "--lr-schedule", "constant", "--keep-every", str(every))
        out = self.work / "long"
        self.run(Stage("long", base_command(self.work, out, *words), out / "base.json", whole=True))

    def base_of(self, step: int) -> Path:
        """The base that a mark is: the U-Net of then. The decoder is sharpened once for all marks, as no U-Net has part in it."""
        source, base = self.work / "long", self.work / str(step) / "base"
        if base.joinpath("base.json").is_file():
            return base
        sharp = next((path for path in sorted(self.work.glob("[0-9]*/base")) if (path / "base.json").is_file()), None)
        for name in ("tokenizer", "text_encoder", "vae"):
            shutil.copytree((sharp or source) / name, base / name, dirs_exist_ok=True)
        shutil.copytree(source / MARKS / str(step) / "unet", base / "unet", dirs_exist_ok=True)
        if sharp is not None:
            shutil.copytree(sharp / "scheduler", base / "scheduler", dirs_exist_ok=True)
            shutil.copyfile(sharp / "base.json", base / "base.json")
            return base
        (base / "log.jsonl").write_text(json.dumps({"stage": "base-unet", "step": step}) + "\n", encoding="utf-8")
        self.run(Stage(f"{step} base", base_command(self.work, base, "--steps", str(step)), base / "base.json", whole=True))
        return base

    def judge(self, step: int) -> dict[str, Any]:
        """Figures of a mark's pairs by kind."""
        folder, base = self.work / str(step), self.base_of(step)
        kept = folder / "judged.json"
        if kept.is_file():
            return dict(json.loads(kept.read_text(encoding="utf-8")))
        engine = folder / "bottle.plan"
        for stage in engine_stages(
            self.work / "few" / PRODUCT, base, folder / "run", engine, "--photographs", "--composites", "200"
        ):
            self.run(replace(stage, name=f"{step} {stage.name}"))
        found = {}
        for name, words in KINDS.items():
            out = folder / name.replace(" ", "-").replace(",", "")
            self.run(generation(f"{step} {name}", engine, out, COUNT, "--seed", "5", *words))
            found[name] = self.figures(out)
        write_atomic(kept, json.dumps(found, indent=1) + "\n")
        return found

    def figures(self, pairs: Path) -> dict[str, Any]:
        """What the oracle says of a folder of pairs, as demo_quality.py takes it."""
        asked = replace(demo_quality.request(self.work, None, COUNT), pairs={0: pairs})
        measured, _, _ = demo_quality.measured(asked, build.stock_of(asked, self.work / "quality", self.log))
        found = measured["generated"]
        return {
            "IoU with the oracle": found["iou"],
            "asked type": found["type"],
            "large breaks": found["type by type"]["broken_large"],
            "share of pixels": found["area"],
            "diversity": float(np.mean(list(found["diversity"].values()))),
            "distance to real": found["fidelity"],
            "without a mask": measured["empty"],
        }


def table(judged: dict[int, dict[str, Any]]) -> Table:
    """A row for each mark and kind."""
    columns = tuple(next(iter(next(iter(judged.values())).values())))
    rows = [(step, kind, *row.values()) for step, kinds in sorted(judged.items()) for kind, row in kinds.items()]
    notes = (
        f"{COUNT} pairs of each kind, first attempts; the oracle, 15 training anomalies and all else are those of demo_quality.",
    )
    return Table("The demo base by steps of its U-Net", ("steps", "pairs", *columns), tuple(rows), notes, digits=3)


@click.group(help=__doc__)
def main() -> None:
    """Train or judge."""


@main.command()
@WORK
@click.option("--steps", type=click.IntRange(1), default=100_000, show_default=True, help="Of the U-Net.")
@click.option("--every", type=click.IntRange(1), default=10_000, show_default=True, help="Steps between averages that are kept.")
def train(work: Path, steps: int, every: int) -> None:
    """Train the demo base long, at a constant learning rate."""
    with interruptible():
        Curve(work, lambda line: click.echo(line, err=True)).train(steps, every)


@main.command()
@WORK
@click.option("--mark", "marks", type=int, multiple=True, required=True, help="Steps that were kept; may be repeated.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, show_default=True, help="Folder of the tables.")
def judge(work: Path, marks: tuple[int, ...], out: Path) -> None:
    """Judge what the training left at some steps."""
    curve = Curve(work, lambda line: click.echo(line, err=True))
    missing = [step for step in marks if not (work / "long" / MARKS / str(step) / "unet").is_dir()]
    if missing:
        raise click.UsageError(f"--mark {missing[0]}: nothing was kept then in {work / 'long'}; train further, or choose another")
    with interruptible():
        found = table({step: curve.judge(step) for step in marks})
    facts = {"command": " ".join(["python -m benchmarks.demo_curve judge", *sys.argv[2:]]), **common.machine()}
    opening = (
        "The demo base's U-Net at a constant learning rate; each mark is fine-tuned, given masks and exported as the engine is.",
    )
    document = Document("demo_curve", "Longer training", opening, (found,), facts)
    click.echo(document.markdown())
    save(document, out)


if __name__ == "__main__":
    main()
