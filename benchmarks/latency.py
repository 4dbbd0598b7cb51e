"""Seconds per pair, side by side: PyTorch and the runtime on its backends, in processes of their own that take turns.

    python -m benchmarks.latency --work DIR --preset tiny
    python -m benchmarks.latency --work DIR --preset sd14 --prepare          # the run and its bundle, nothing measured
    python -m benchmarks.latency --work DIR --preset sd14 --batch 1 --rounds 1
    python -m benchmarks.latency --work DIR --preset sd14 --batch 1 --rounds 1 --add

The weights are random; speed does not need others. At tiny all candidates stay in memory, take turns request by request, and
make whole pairs. At sd14 one is in memory at a time, and a pair is composed of 25 U-Net steps, 3 masks and a decode. `--add` adds
rounds, batches or candidates to the figures of an earlier call. Saves latency_PRESET.md, .json and .png.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from benchmarks import common, scale
from benchmarks.speed import latency_report
from benchmarks.speed.candidates import PYTORCH, Runtime, make
from benchmarks.speed.job import Job
from benchmarks.speed.random_bundle import gigaflops, prepare
from benchmarks.speed.torch_candidates import Product
from seas_runtime.backends.workers import usable_cores
from seas_train.pipeline.child import executable

REQUESTS = ("unet", "mask", "decode")
CANDIDATES = {
    "tiny": ("reference", "torch", "torch-compile", "torch-workers", "openvino", "cpu", "cpu+mnn"),
    "sd14": ("reference", "torch", "openvino", "cpu", "openvino+mnn", "cpu+mnn"),
}
COLD = 3  # cold starts of each command
Entry = dict[str, Any]


def _serve(pipe: Connection, name: str, job: Job) -> None:
    """A candidate's process: makes itself ready, then answers each request with its seconds."""
    began = time.perf_counter()
    candidate = make(name, job)
    pipe.send(time.perf_counter() - began)
    while (request := pipe.recv()) is not None:
        began = time.perf_counter()
        getattr(candidate, request)()
        took = time.perf_counter() - began
        pipe.send((took, candidate.outside(took) if request == "pairs" and isinstance(candidate, Runtime) else None))


class Guest:
    """A candidate in its own process, and the figures it adds to."""

    def __init__(self, name: str, job: Job, entry: Entry) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.name, self.count, self.entry = name, job.count, entry
        self.process = context.Process(target=_serve, args=(other, name, job), daemon=True)
        self.process.start()
        other.close()
        entry.setdefault("ready", []).append(self._answer())

    def time(self, request: str, count: bool = True) -> None:
        """Have a request done; its seconds per pair, and a runtime's share outside its graphs, count or not."""
        self.pipe.send(request)
        took, outside = self._answer()
        if count:
            self.entry.setdefault("seconds", {}).setdefault(request, []).append(took / self.count)
            if outside is not None:
                self.entry.setdefault("outside", []).append(outside)

    def leave(self) -> None:
        """Note the peak resident memory of the process and end it."""
        peak = scale.peak_mib(self.process.pid or 0) / 2**10
        self.entry["peak_gib"] = max(self.entry.get("peak_gib", 0.0), peak)
        self.pipe.send(None)
        self.process.join()

    def _answer(self) -> Any:
        try:
            return self.pipe.recv()
        except EOFError:
            raise click.ClickException(f"{self.name} ended; see its error above") from None


@contextmanager
def guest(name: str, job: Job, entries: dict[str, Entry]) -> Iterator[Guest]:
    """A candidate for the length of a block; its figures are added to its entry."""
    found = Guest(name, job, entries.setdefault(name, {}))
    yield found
    found.leave()


def together(names: list[str], job: Job, rounds: int, entries: dict[str, Entry]) -> None:
    """All candidates stay in memory and take turns, request by request; the first round warms up and does not count."""
    with ExitStack() as stack:
        guests = [stack.enter_context(guest(name, job, entries)) for name in names]
        for round_ in range(rounds + 1):
            for request in (*REQUESTS, "pairs"):
                for one in guests:
                    one.time(request, count=round_ > 0)
            for one in guests:
                if one.name not in PYTORCH:
                    one.time("write", count=round_ > 0)
            click.echo(f"batch {job.batch}: {round_} of {rounds} rounds after the first")


def in_turn(names: list[str], job: Job, rounds: int, entries: dict[str, Entry]) -> None:
    """One candidate in memory at a time, for models that do not fit side by side; several rounds of all of them."""
    for _ in range(rounds):
        for name in names:
            with guest(name, job, entries) as one:
                ours = name not in PYTORCH
                if ours:  # the others warmed up when they were made
                    one.time("unet", count=False)
                for request in (*REQUESTS, *["loop"] * ours):
                    one.time(request)
            click.echo(f"{name}: { ({key: round(values[-1], 2) for key, values in one.entry['seconds'].items()}) }")


def product_rate(job: Job) -> list[float]:
    """GFLOP/s of a large matrix product, a few times."""
    entries: dict[str, Entry] = {}
    with guest("product", job, entries) as one:
        for round_ in range(8):
            one.time("product", count=round_ > 0)
    return [Product.GFLOP / (seconds * job.count) for seconds in entries["product"]["seconds"]["product"]]


def first_pairs(names: Iterable[str], work: Path, preset: str) -> dict[str, list[float]]:
    """Seconds from the start of a command to its first pair, taking turns: `seas-gen`, and `seas-train sample` until it ends."""
    found: dict[str, list[float]] = {}
    for _ in range(COLD):
        for name in names:
            if name == "reference":
                found.setdefault(name, []).append(_sample_once(work))
            elif name not in PYTORCH:
                found.setdefault(name, []).append(scale.case(work / f"{preset}.plan", name, 1, 1)["first"])
    return found


def _sample_once(work: Path) -> float:
    with TemporaryDirectory(dir=work) as folder:
        command = [executable("seas-train"), "sample", str(work / "run"), "--out", f"{folder}/out", "--count", "1"]
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - began


def opened(path: Path, preset: str, add: bool) -> dict[str, Any]:
    """The figures to add to.

    Raises:
        ClickException: those of another machine or of other versions.
    """
    new = {"preset": preset, **common.machine(), "commands": [], "batches": {}, "product": [], "first": {}}
    if not add or not path.exists():
        return new
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for found, wanted in ((kept["versions"], new["versions"]), (kept["machine"]["cpu"], new["machine"]["cpu"])):
        if found != wanted:
            raise click.ClickException(f"{path}: figures of {found} found, {wanted} expected; measure without --add")
    return {**kept, "commit": new["commit"]}


@click.command(help=__doc__)
@click.option("--work", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--preset", type=click.Choice(sorted(CANDIDATES)), default="tiny", show_default=True)
@click.option("--batch", "batches", type=click.IntRange(1), multiple=True, default=(1, 4, 8), show_default=True)
@click.option("--candidate", "names", multiple=True, help=f"{', '.join(PYTORCH)}, or a backend of seas-gen; may be repeated.")
@click.option("--pairs", type=click.IntRange(1), default=8, show_default=True, help="Of a request at tiny, and a batch a core.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--prepare", "only_prepare", is_flag=True, help="Make what will be measured, and end.")
@click.option("--add", is_flag=True, help="Keep the figures there are and add to them.")
@click.option("--results", type=click.Path(path_type=Path), default=common.RESULTS, help="Where the table goes.")
def main(*, work: Path, preset: str, names: tuple[str, ...], only_prepare: bool, results: Path, add: bool, **what: Any) -> None:
    """Measure, then save table and plot."""
    work, chosen = work.resolve(), list(names or CANDIDATES[preset])
    prepare(work, preset, [name for name in chosen if name not in PYTORCH])
    if only_prepare:
        return
    path = results / f"latency_{preset}.json"
    facts = opened(path, preset, add)
    facts.setdefault("gflop", gigaflops(work))
    measure(facts, work, chosen, **what)
    latency_report.write(facts, results / f"latency_{preset}")
    click.echo(f"saved {path.with_suffix('.md')}")


def measure(facts: dict[str, Any], work: Path, names: list[str], batches: tuple[int, ...], pairs: int, rounds: int) -> None:
    """Add the figures of some candidates to `facts`."""
    preset = facts["preset"]
    for n in batches:
        count = n * max(usable_cores(), math.ceil(pairs / n)) if preset == "tiny" else n
        job = Job(work, preset, n, count)
        take_turns = together if preset == "tiny" else in_turn
        take_turns(names, job, rounds, facts["batches"].setdefault(str(n), {}))
        facts["product"] += product_rate(job)
    if preset == "tiny":
        for name, seconds in first_pairs(names, work, preset).items():
            facts["first"].setdefault(name, []).extend(seconds)
    shown = [f"--batch {n}" for n in batches] + [f"--candidate {name}" for name in names] + [f"--pairs {pairs} --rounds {rounds}"]
    facts["commands"].append(f"python -m benchmarks.latency --work WORK --preset {preset} {' '.join(shown)}")


if __name__ == "__main__":
    main()
