"""The whole pipeline on a real data set: base, tune, masks, export, gen, each a command of its own.

    python benchmarks/real_run.py --data DIR --work DIR --budget smoke

DIR is one product in MVTec AD layout. Every stage resumes and a finished one is skipped: run the same command
again after an interruption. The base learns from the data set's normal training images and from procedural
products; no anomaly image is seen before fine-tuning, and the held-out ones never. Saves real_run_BUDGET.md,
.json and .png.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click
from PIL import Image

from seas_runtime.dataset.sheet import overlay, sheet
from seas_train import run_folder
from seas_train.data.images import read_rgb


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
RESULTS = Path(__file__).parent / "results"
PACKAGES = ("seas", "torch", "diffusers", "transformers", "onnx", "onnxruntime", "numpy", "pillow")
ROWS_PER_TYPE = 3
PNG_LIMIT = 1_000_000
GATE_GAVE_UP = 6  # seas-gen's exit code where masks were empty: a result to report, not a failure of the pipeline
Stages = dict[str, list[str]]


def stages(data: Path, work: Path, budget: Budget, licence: str) -> Stages:
    """Every stage's command, in order."""
    run, plan = str(work / "run"), str(work / f"{data.name}.plan")
    found: Stages = {}
    varied = ("bottle", "tile") if budget.variety else ()
    for product in varied:
        counts = ["--normals", "150", "--per-defect", "2", "--test-normals", "0", "--variety", "0.5"]
        found[f"draw {product}"] = [
            "seas-train",
            "demo-data",
            str(work / product),
            "--product",
            product,
            *counts,
        ]
    folders = [str(data), *(str(work / product / product) for product in varied)]
    tiny = ["--preset", "tiny", "--checkpoint-every", "100", "--steps"]
    found["base"] = [
        *(
            "seas-train",
            "base",
            *folders,
            "--out",
            str(work / "base"),
            "--symmetries",
            "8",
            "--licence",
            licence,
        ),
        *("--vae-steps", str(budget.vae), "--steps", str(budget.unet), "--checkpoint-every", "100"),
    ]
    found["tune"] = [
        *("seas-train", "tune", str(data), "--base", str(work / "base"), "--out", run, "--licence", licence),
        *(*tiny, str(budget.tune)),
    ]
    found["masks"] = ["seas-train", "masks", run, str(data), *tiny, str(budget.masks)]
    found["export"] = ["seas-export", run, "--out", plan, "--fp16"]
    found["gen"] = [
        *("seas-gen", "--engine", plan, "--out", str(work / "out")),
        *("--count", str(budget.count), "--steps", str(budget.steps)),
        *("--retries", "0", "--max-area", "1"),  # the pictures as they come, not the gate's choice of them
    ]
    return found


def measure(work: Path, commands: Stages) -> dict[str, dict[str, Any]]:
    """Run the stages that are not done yet; seconds add up over interrupted attempts.

    Returns:
        by stage: command, seconds, peak_mib (resident memory, largest of all attempts), done.
    """
    path = work / "times.json"
    times = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for stage, command in commands.items():
        entry = times.setdefault(stage, {"command": command, "seconds": 0.0, "peak_mib": 0.0, "done": False})
        if entry["command"] != command:
            raise click.ClickException(f"{work} holds stage {stage!r} of another command; give another --work")
        if entry["done"]:
            click.echo(f"{stage}: already done ({entry['seconds']:.0f} s)")
            continue
        click.echo(f"{stage}: {' '.join(command)}")
        status, seconds, peak = _spawn([executable(command[0]), *command[1:]])
        entry["seconds"] += seconds
        entry["peak_mib"] = max(entry["peak_mib"], peak)
        entry["done"] = status == 0 or (stage, status) == ("gen", GATE_GAVE_UP)
        path.write_text(json.dumps(times, indent=2) + "\n", encoding="utf-8")
        if not entry["done"]:
            raise click.ClickException(f"{stage} ended with exit code {status}; the same command continues")
    return {stage: times[stage] for stage in commands}


def _spawn(command: list[str]) -> tuple[int, float, float]:
    """Exit code, wall seconds and peak resident MiB of one process (the largest of it and its children)."""
    began = time.monotonic()
    process = subprocess.Popen(command)
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except KeyboardInterrupt:  # the terminal interrupts the stage too: let it save what it has
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    per_mib = 2**20 if sys.platform == "darwin" else 2**10
    return process.returncode, time.monotonic() - began, usage.ru_maxrss / per_mib


def executable(name: str) -> str:
    """Path of one of this project's commands: beside the running Python, else on the PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise click.ClickException(f'{name} is not installed; run pip install ".[cpu,train,export]"')
    return found


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


def report(data: Path, work: Path, budget: str, count: int | None, times: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """All facts of the run; the places of data and work are replaced by their roles."""

    def plain(word: str) -> str:
        return word.replace(str(work), "WORK").replace(str(data), data.name)

    facts = {
        "command": f"python benchmarks/real_run.py --data {data.name} --work WORK --budget {budget}",
        "budget": vars(BUDGETS[budget]),
        "machine": {"cpu": _cpu(), "cores": len(os.sched_getaffinity(0)), "system": platform.platform()},
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "commit": _commit(),
        "pairs": f"{len(_pairs(work))} written of {BUDGETS[budget].count if count is None else count} asked",
        "stages": {
            stage: {
                "command": " ".join(map(plain, entry["command"])),
                "seconds": round(entry["seconds"], 1),
                "peak_mib": round(entry["peak_mib"]),
            }
            for stage, entry in times.items()
        },
    }
    return facts


def table(facts: dict[str, Any], budget: str) -> str:
    """The facts as Markdown."""
    lines = [f"# Real run, budget {budget}", "", "| stage | seconds | peak MiB |", "|---|---:|---:|"]
    found = facts["stages"].items()
    lines += [f"| {stage} | {entry['seconds']:.1f} | {entry['peak_mib']} |" for stage, entry in found]
    total, peak = sum(entry["seconds"] for _, entry in found), max(entry["peak_mib"] for _, entry in found)
    lines += [f"| all | {total:.1f} | {peak} |"]
    lines += [
        "",
        *(f"- {k}: {', '.join(f'{a} {b}' for a, b in facts[k].items())}" for k in ("budget", "machine")),
    ]
    lines += [f"- versions: {', '.join(f'{a} {b}' for a, b in facts['versions'].items())}"]
    lines += [f"- pairs: {facts['pairs']}"]
    lines += [f"- commit: {facts['commit']}", f"- command: `{facts['command']}`"]
    return "\n".join([*lines, "", f"![normal, generated, overlay](real_run_{budget}.png)", ""])


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    asked = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--work", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--budget", type=click.Choice(tuple(BUDGETS)), default="smoke", show_default=True)
@click.option("--count", type=click.IntRange(1), help="Pairs to make, instead of the budget's.")
@click.option("--licence", default="not stated", show_default=True, help="Licence of the data set.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="Where the table goes.")
def main(*, data: Path, work: Path, budget: str, count: int | None, licence: str, results: Path) -> None:
    """Run what is not done yet, then save table and contact sheet."""
    chosen = BUDGETS[budget] if count is None else Budget(**{**vars(BUDGETS[budget]), "count": count})
    data, work = data.resolve(), work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    times = measure(work, stages(data, work, chosen, licence))
    facts = {**report(data, work, budget, count, times), "budget": vars(chosen)}
    results.mkdir(parents=True, exist_ok=True)
    (results / f"real_run_{budget}.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    (results / f"real_run_{budget}.md").write_text(table(facts, budget), encoding="utf-8")
    save_picture(data, work, results / f"real_run_{budget}.png")
    click.echo(f"saved {results / f'real_run_{budget}.md'}")


if __name__ == "__main__":
    main()
