"""Seconds per pair, side by side: PyTorch twice and the runtime on each backend, taking turns in processes of their own.

    python -m benchmarks.latency --work DIR --preset tiny --batch 1 --batch 4 --batch 8 --backend cpu

Makes a run of random weights and its bundle in DIR first (as export_sd14.py; speed does not need trained weights). At sd14 one
request of each kind is measured and a pair is composed of 25 U-Net steps, 3 masks and 1 decode; at tiny whole pairs are measured
too.
Saves latency_PRESET.md, .json and .png.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import click

from benchmarks.contestants import BASELINES, MASK_STEPS, STEPS, make
from benchmarks.export_sd14 import RESULTS, export_bundle, machine, make_run

REQUESTS = ("unet", "mask", "decode")
CALLS = {"unet": STEPS, "mask": MASK_STEPS, "decode": 1}  # of one batch of pairs
Seconds = dict[str, list[float]]


def _serve(pipe: Connection, name: str, work: Path, preset: str, n: int) -> None:
    """A contestant's process: makes itself ready, then answers each request with its seconds."""
    began = time.perf_counter()
    contestant = make(name, work, preset, n)
    pipe.send(time.perf_counter() - began)
    while (request := pipe.recv()) is not None:
        began = time.perf_counter()
        getattr(contestant, request)()
        took = time.perf_counter() - began
        inside = getattr(contestant, "inside", None) if request == "pairs" else None
        pipe.send((took, None if inside is None else took - inside))


class Guest:
    """A contestant in its own process."""

    def __init__(self, name: str, work: Path, preset: str, n: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, name, work, preset, n), daemon=True)
        self.process.start()
        other.close()
        self.ready = float(self.pipe.recv())

    def time(self, request: str) -> tuple[float, float | None]:
        """Seconds of one request, and how many of them a runtime spent outside its graphs."""
        self.pipe.send(request)
        took, outside = self.pipe.recv()
        return took, outside

    def peak_gib(self) -> float:
        """Peak resident memory of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**20

    def leave(self) -> None:
        """End the process."""
        self.pipe.send(None)
        self.process.join()


def together(names: list[str], work: Path, preset: str, n: int, rounds: int) -> dict[str, dict[str, Any]]:
    """All contestants stay in memory and take turns, request by request; the first round warms up and does not count."""
    guests = {name: Guest(name, work, preset, n) for name in names}
    seconds: dict[str, Seconds] = {name: {} for name in names}
    for round_ in range(rounds + 1):
        for request in (*REQUESTS, "pairs"):
            for name, guest in guests.items():
                took, outside = guest.time(request)
                if round_:
                    seconds[name].setdefault(request, []).append(took)
                    if outside is not None:
                        seconds[name].setdefault("outside", []).append(outside / took)
    result = {name: _entry(seconds[name], guests[name]) for name in names}
    for guest in guests.values():
        guest.leave()
    return result


def in_turn(names: list[str], work: Path, preset: str, n: int, rounds: int) -> dict[str, dict[str, Any]]:
    """One contestant in memory at a time, for models that do not fit side by side; several rounds of all of them."""
    seconds: dict[str, Seconds] = {name: {} for name in names}
    result = {}
    for _ in range(rounds):
        for name in names:
            guest = Guest(name, work, preset, n)
            guest.time("unet")  # warm up
            for request in REQUESTS:
                seconds[name].setdefault(request, []).append(guest.time(request)[0])
            result[name] = _entry(seconds[name], guest)
            guest.leave()
            click.echo(f"{name}: {({key: round(values[-1], 2) for key, values in seconds[name].items()})}")
    return result


def _entry(seconds: Seconds, guest: Guest) -> dict[str, Any]:
    median = {request: statistics.median(values) for request, values in seconds.items()}
    composed = sum(CALLS[request] * median[request] for request in REQUESTS)
    return {
        "ready": guest.ready,
        "peak_gib": guest.peak_gib(),
        "seconds": seconds,
        "median": {**median, "composed": composed},
    }


def table(facts: dict[str, Any]) -> str:
    """Medians in milliseconds per batch, pairs per second, and ratios to the two PyTorch baselines."""
    lines = [f"# Latency, {facts['preset']}", ""]
    whole = facts["preset"] == "tiny"
    for n, entries in facts["batches"].items():
        lines += [f"## Batch {n}", ""]
        head = ["", "U-Net step", "mask", "decode", "a batch, composed", *(["whole batch, measured", "outside"] if whole else [])]
        head += ["pairs/s", "x reference", "x best PyTorch", "ready, s", "peak GiB"]
        lines += [f"| {' | '.join(head)} |", "|---" + "|---:" * (len(head) - 1) + "|"]
        key = "pairs" if whole else "composed"
        for name, entry in entries.items():
            median = entry["median"]
            cells = [name, *(f"{1e3 * median[request]:.1f}" for request in (*REQUESTS, "composed"))]
            if whole:
                cells += [f"{1e3 * median['pairs']:.1f}", f"{100 * median['outside']:.1f} %" if "outside" in median else ""]
            cells += [f"{int(n) / median[key]:.3f}"]
            cells += [f"{entries[base]['median'][key] / median[key]:.2f}" if base in entries else "" for base in BASELINES]
            cells += [f"{entry['ready']:.1f}", f"{entry['peak_gib']:.1f}"]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    lines.append("Milliseconds, medians of the rounds. `outside`: share of a whole batch's time that is not spent in graphs.")
    if not whole:
        lines.append(f"A batch is composed of {STEPS} U-Net steps, {MASK_STEPS} masks and one decode, not measured whole.")
    lines += ["", f"![pairs per second](latency_{facts['preset']}.png)", ""]
    lines += [f"- {key}: {json.dumps(facts[key])}" for key in ("rounds", "threads", "machine", "versions", "commit", "command")]
    return "\n".join([*lines, ""])


def plot(facts: dict[str, Any], path: Path) -> None:
    """Bars of pairs per second by batch and contestant."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    batches = facts["batches"]
    names = list(next(iter(batches.values())))
    key = "pairs" if facts["preset"] == "tiny" else "composed"
    figure, axes = pyplot.subplots(figsize=(7, 3.5), layout="constrained")
    for i, name in enumerate(names):
        rates = [int(n) / entries[name]["median"][key] for n, entries in batches.items()]
        axes.bar([x + (i - len(names) / 2) * 0.8 / len(names) for x in range(len(batches))], rates, 0.8 / len(names), label=name)
    axes.set_xticks(range(len(batches)), [f"batch {n}" for n in batches])
    axes.set_ylabel("pairs per second")
    axes.legend()
    figure.savefig(path, dpi=120)


@click.command(help=__doc__)
@click.option("--work", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--preset", type=click.Choice(["tiny", "sd14"]), default="tiny", show_default=True)
@click.option("--batch", "batches", type=click.IntRange(1), multiple=True, default=(1, 4, 8), show_default=True)
@click.option("--backend", "backends", multiple=True, default=("cpu",), show_default=True, help="Of seas-gen; may be repeated.")
@click.option("--rounds", type=click.IntRange(1), default=7, show_default=True)
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="Where the table goes.")
def main(*, work: Path, preset: str, batches: tuple[int, ...], backends: tuple[str, ...], rounds: int, results: Path) -> None:
    """Measure, then save table and plot."""
    work = work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "run" / "rmp").exists():
        make_run(work, preset)
    if not (work / f"{preset}.plan").exists():
        export_bundle(work, preset)
    names = [*BASELINES, *backends]
    measure = together if preset == "tiny" else in_turn
    shown = [f"--batch {n}" for n in batches] + [f"--backend {name}" for name in backends]
    facts = {
        "preset": preset,
        "rounds": rounds,
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        **machine(),
        "command": f"python -m benchmarks.latency --work WORK --preset {preset} {' '.join(shown)} --rounds {rounds}",
        "batches": {str(n): measure(names, work, preset, n, rounds) for n in batches},
    }
    results.mkdir(parents=True, exist_ok=True)
    (results / f"latency_{preset}.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    (results / f"latency_{preset}.md").write_text(table(facts), encoding="utf-8")
    plot(facts, results / f"latency_{preset}.png")
    click.echo(f"saved {results / f'latency_{preset}.md'}")


if __name__ == "__main__":
    main()
