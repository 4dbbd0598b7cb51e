"""A student's pair beside its teacher's: PyTorch and the runtime, composed of their graphs, for models of any size.

    python -m benchmarks.few_steps --work DIR                   # Stable Diffusion's size: three runs and bundles
    python -m benchmarks.few_steps --work DIR --preset tiny

The weights are random; speed does not need others. A teacher's pair is 25 guided U-Net steps, 3 masks and a decode; a student's
4 calls without guidance, one more for the look at the finished latent, and the end, which makes image and mask. All take turns,
one in memory at a time. Saves few_steps_PRESET.md and .json after every round.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import click

from benchmarks import common, scale
from benchmarks.speed.candidates import PYTORCH, make
from benchmarks.speed.job import MASK_STEPS, STEPS, Job
from benchmarks.speed.random_bundle import gigaflops, prepare
from seas_train.distill.settings import DistillSettings

STUDENT_STEPS = int(DistillSettings.model_fields["steps"].default)


class Recipe(NamedTuple):
    """A kind of bundle, and what a pair of it is composed of: requests of `Candidate`s, and how often."""

    words: str
    calls: dict[str, int]
    student: bool = True
    decoder: str = "own"


CALLS = {"call": STUDENT_STEPS + 1, "finish": 1}
RECIPES = {
    "teacher": Recipe(f"{STEPS} guided steps", {"unet": STEPS, "mask": MASK_STEPS, "decode": 1}, student=False),
    "student": Recipe(f"student of {STUDENT_STEPS} steps", CALLS),
    "small": Recipe(f"student of {STUDENT_STEPS} steps, small decoder", CALLS, decoder="small"),
}
Measured = dict[str, Any]


def timed(name: str, job: Job, calls: dict[str, int]) -> Measured:
    """Seconds of a candidate's requests, each after one that does not count, and the process's peak memory, in GiB."""
    candidate = make(name, job)
    found: dict[str, float] = {}
    for request in calls:
        getattr(candidate, request)()
        began = time.perf_counter()
        getattr(candidate, request)()
        found[request] = (time.perf_counter() - began) / job.count
    return {"seconds": found, "peak_gib": scale.peak_mib(os.getpid()) / 2**10}


def composed(recipe: Recipe, rounds: list[Measured]) -> float:
    """Seconds of a pair, of the medians over rounds."""
    return sum(often * median(each["seconds"][request] for each in rounds) for request, often in recipe.calls.items())


def table(facts: dict[str, Any]) -> str:
    """Every recipe on every candidate, and how many times as fast it is as PyTorch at the teacher's and at its own."""
    rows = [(RECIPES[entry["recipe"]], entry["candidate"], entry["rounds"]) for entry in facts["measured"]]
    seconds = {(recipe.words, name): composed(recipe, rounds) for recipe, name, rounds in rows}
    base = {recipe.words: min(took for (words, name), took in seconds.items() if words == recipe.words and name in PYTORCH)
            for recipe, *_ in rows}  # fmt: skip
    first = base[RECIPES["teacher"].words]
    lines = [f"# Few steps, {facts['preset']}", ""]
    lines += ["| a pair of | made by | seconds | x PyTorch, 25 guided steps | x PyTorch, the same | peak GiB | TFLOP |"]
    lines += ["|---|---|---:|---:|---:|---:|---:|"]
    for recipe, name, rounds in rows:
        took, peak = seconds[recipe.words, name], max(each["peak_gib"] for each in rounds)
        work = sum(often * facts["gflop"][recipe.words][request] for request, often in recipe.calls.items()) / 1e3
        ratios = f"{first / took:.2f} | {base[recipe.words] / took:.2f}"
        lines.append(f"| {recipe.words} | {name} | {took:.3g} | {ratios} | {peak:.1f} | {work:.3g} |")
    lines += ["", f"Composed of the graphs' medians over {len(rows[0][2])} rounds; batch {facts['batch']}, random weights, fp32."]
    return "\n".join([*lines, "", *common.listed(facts, "machine", "versions", "commit", "command"), ""])


@click.command(help=__doc__)
@click.option("--work", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--preset", type=click.Choice(["tiny", "sd14"]), default="sd14", show_default=True)
@click.option("--candidate", "names", multiple=True, default=("torch", "openvino"), show_default=True)
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=2, show_default=True)
@click.option("--results", type=click.Path(path_type=Path), default=common.RESULTS)
def main(work: Path, preset: str, names: tuple[str, ...], batch: int, rounds: int, results: Path) -> None:
    """Measure, then save the table."""
    if not any(name in PYTORCH for name in names):
        raise click.UsageError(f"--candidate: found {', '.join(names)}, expected one of PyTorch's too: {', '.join(PYTORCH)}")
    folders = {key: work.resolve() / key for key in RECIPES}
    for key, recipe in RECIPES.items():
        prepare(folders[key], preset, [name for name in names if name not in PYTORCH], recipe.student, recipe.decoder)
    chosen = [(key, name) for key in RECIPES for name in names]
    measured: dict[tuple[str, str], list[Measured]] = {each: [] for each in chosen}
    work_of = {recipe.words: common.alone(gigaflops, folders[key]) for key, recipe in RECIPES.items()}
    shown = " ".join(f"--candidate {name}" for name in names)
    command = f"python -m benchmarks.few_steps --work WORK --preset {preset} {shown} --batch {batch} --rounds {rounds}"
    for turn in range(rounds):
        for key, name in chosen:
            found = common.alone(timed, name, Job(folders[key], preset, batch, batch), RECIPES[key].calls)
            measured[key, name].append(found)
            click.echo(f"round {turn + 1} of {rounds}: {key}, {name}: {found}", err=True)
        rows = [{"recipe": key, "candidate": name, "rounds": done} for (key, name), done in measured.items()]
        facts = {"preset": preset, "batch": batch, "gflop": work_of, "measured": rows, **common.machine(), "command": command}
        common.save(results / f"few_steps_{preset}", facts, table(facts))
    click.echo(f"saved {results / f'few_steps_{preset}.md'}")


if __name__ == "__main__":
    main()
