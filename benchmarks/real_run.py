"""The whole pipeline on a real data set: base, tune, masks, export, gen, each a command of its own.

    python -m benchmarks.real_run --data DIR --work DIR --budget smoke

DIR is one product in MVTec AD layout. Every stage resumes and a finished one is skipped: run the same command
again after an interruption. The base learns from the data set's normal training images and from procedural
products; no anomaly image is seen before fine-tuning, and the held-out ones never. Saves real_run_BUDGET.md,
.json and .png.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from PIL import Image

from benchmarks import common
from benchmarks.stages import generation, interruptible
from seas_runtime.dataset.sheet import overlay, sheet
from seas_train import run_folder
from seas_train.data.images import read_rgb
from seas_train.pipeline.child import apart
from seas_train.pipeline.stages import Stage, Stages, times


@dataclass(frozen=True)
class Budget:
    """Steps of each training, pairs, their solver steps; `variety` also teaches procedural products."""

    vae: int
    unet: int
    tune: int
    masks: int
    count: int
    steps: int
    variety: bool


BUDGETS = {
    "smoke": Budget(vae=60, unet=60, tune=20, masks=20, count=10, steps=10, variety=False),  # under 5 minutes
    "small": Budget(vae=400, unet=450, tune=250, masks=100, count=20, steps=25, variety=True),  # about 15 minutes
    "full": Budget(vae=2500, unet=4500, tune=2000, masks=800, count=100, steps=25, variety=True),  # up to 2 hours
}
ROWS_PER_TYPE = 3
PNG_LIMIT = 1_000_000


def stages(data: Path, work: Path, budget: Budget, licence: str) -> list[Stage]:
    """Every stage, in order."""
    run, plan, base, out = work / "run", work / f"{data.name}.plan", work / "base", work / "out"
    varied = ("bottle", "tile") if budget.variety else ()
    folders = [str(data), *(str(work / product / product) for product in varied)]
    tiny = ("--preset", "tiny", "--checkpoint-every", "100", "--steps")
    learn = ("--symmetries", "8", "--vae-steps", str(budget.vae), "--steps", str(budget.unet), "--checkpoint-every", "100")
    tuned = ("seas-train", "tune", str(data), "--base", str(base), "--out", str(run), "--licence", licence)
    return [
        *(_drawn(product, work / product) for product in varied),
        Stage("base", ("seas-train", "base", *folders, "--out", str(base), "--licence", licence, *learn), base / "base.json"),
        Stage("tune", (*tuned, *tiny, str(budget.tune)), run / "run.json"),
        Stage("masks", ("seas-train", "masks", str(run), str(data), *tiny, str(budget.masks)), run / "rmp" / "config.json"),
        Stage("export", ("seas-export", str(run), "--out", str(plan), "--fp16"), plan, whole=True),
        generation("gen", plan, out, budget.count, "--steps", str(budget.steps)),
    ]


def _drawn(product: str, out: Path) -> Stage:
    counts = ("--normals", "150", "--per-defect", "2", "--test-normals", "0", "--variety", "0.5")
    return Stage(f"draw {product}", ("seas-train", "demo-data", str(out), "--product", product, *counts), out, whole=True)


def picture(data: Path, work: Path, side: int) -> Image.Image:
    """Rows of normal image | image generated from it | the same with its mask, a few for each defect type."""
    normals = run_folder.load_facts(work / "run").normals
    pairs = _pairs(work)
    rows, labels = [], []
    for defect in sorted({pair["defect"] for pair in pairs}):
        shown = [pair for pair in pairs if pair["defect"] == defect][:ROWS_PER_TYPE]
        for pair in shown:
            image, mask = (read_rgb(work / "out" / pair[key]) for key in ("file_name", "mask_file_name"))
            rows.append([read_rgb(data / normals[pair["normal"]]), image, overlay(image, mask)])
        labels += [defect, *[""] * (len(shown) - 1)]
    return sheet(rows, side, ["normal", "generated", "overlay"], labels)


def _pairs(work: Path) -> list[dict[str, Any]]:
    lines = (work / "out" / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def save_picture(data: Path, work: Path, path: Path) -> None:
    """Save the contact sheet, as large as the limit allows."""
    for side in (128, 112, 96, 80, 64):
        picture(data, work, side).save(path, optimize=True)
        if path.stat().st_size < PNG_LIMIT:
            return


def report(data: Path, work: Path, name: str, budget: Budget) -> dict[str, Any]:
    """All facts of the run; the place of the data is replaced by its name."""
    return {
        "command": f"python -m benchmarks.real_run --data {data.name} --work WORK --budget {name}",
        "budget": vars(budget),
        **common.machine(),
        "pairs": f"{len(_pairs(work))} written of {budget.count} asked",
        "stages": {
            stage: {
                "command": " ".join(note["command"]).replace(str(data), data.name),
                "seconds": round(note["seconds"], 1),
                "peak_mib": round(note["peak_mib"]),
            }
            for stage, note in times(work).items()
        },
    }


def table(facts: dict[str, Any], budget: str) -> str:
    """The facts as Markdown."""
    lines = [f"# Real run, budget {budget}", "", "| stage | seconds | peak MiB |", "|---|---:|---:|"]
    found = facts["stages"].items()
    lines += [f"| {stage} | {entry['seconds']:.1f} | {entry['peak_mib']} |" for stage, entry in found]
    total, peak = sum(entry["seconds"] for _, entry in found), max(entry["peak_mib"] for _, entry in found)
    lines += [f"| all | {total:.1f} | {peak} |"]
    lines += ["", *common.listed(facts, "budget", "pairs", "machine", "versions", "commit", "command")]
    return "\n".join([*lines, "", f"![normal, generated, overlay](real_run_{budget}.png)", ""])


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--work", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--budget", type=click.Choice(tuple(BUDGETS)), default="smoke", show_default=True)
@click.option("--count", type=click.IntRange(1), help="Pairs to make, instead of the budget's.")
@click.option("--licence", default="not stated", show_default=True, help="Licence of the data set.")
@click.option("--results", type=click.Path(path_type=Path), default=common.RESULTS, help="Where the table goes.")
def main(*, data: Path, work: Path, budget: str, count: int | None, licence: str, results: Path) -> None:
    """Run what is not done yet, then save table and contact sheet."""
    chosen = BUDGETS[budget] if count is None else replace(BUDGETS[budget], count=count)
    data, work = data.resolve(), work.resolve()
    runner = Stages(work, click.echo, apart)
    with interruptible():
        for stage in stages(data, work, chosen, licence):
            runner.run(stage)
    facts = report(data, work, budget, chosen)
    common.save(results / f"real_run_{budget}", facts, table(facts, budget))
    save_picture(data, work, results / f"real_run_{budget}.png")
    click.echo(f"saved {results / f'real_run_{budget}.md'}")


if __name__ == "__main__":
    main()
