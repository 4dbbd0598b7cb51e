"""The latency benchmark's figures as tables and a plot: medians of the rounds, and ratios to both PyTorch baselines."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import common
from benchmarks.speed.job import MASK_STEPS, STEPS

CALLS = {"unet": STEPS, "mask": MASK_STEPS, "decode": 1}  # of a pair
Entry = dict[str, Any]


def seconds_per_pair(entry: Entry) -> float:
    """Measured on whole pairs, or composed of the median stages where none were made."""
    seconds = entry["seconds"]
    if "pairs" in seconds:
        return median(seconds["pairs"])
    return sum(calls * median(seconds[request]) for request, calls in CALLS.items())


def in_bf16(name: str) -> bool:
    """Whether a candidate rounds to bf16; such are compared with one another."""
    return name.endswith("-bf16")


def best_pytorch(entries: dict[str, Entry], bf16: bool = False) -> str | None:
    """The fastest of the baselines that are not the plain reference, of those in bf16 or of the others."""
    ours = [name for name in entries if name.startswith("torch") and in_bf16(name) == bf16]
    return min(ours, key=lambda name: seconds_per_pair(entries[name])) if ours else None


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _head(*cells: str) -> list[str]:
    return [_row(*cells), "|---" + "|---:" * (len(cells) - 1) + "|"]


def outside_graphs(entry: Entry) -> str:
    """Share of the time that is not spent in graphs: measured, or the loop alone against what was composed."""
    if "outside" in entry:
        return f"{100 * median(entry['outside']):.1f} %"
    if "loop" not in entry["seconds"]:
        return ""
    loop = median(entry["seconds"]["loop"])
    return f"{100 * loop / (loop + seconds_per_pair(entry)):.2f} %"


def rates(entries: dict[str, Entry], first: dict[str, list[float]]) -> list[str]:
    """Pairs per second and what they cost, a row for each candidate."""
    best = {bf16: best_pytorch(entries, bf16) for bf16 in (False, True)}
    named = "; in bf16: ".join(filter(None, best.values()))
    lines = _head(
        "", "pairs/s", "x reference", f"x best PyTorch ({named})", "first pair, s", "opening, s", "peak GiB", "outside graphs"
    )
    for name, entry in entries.items():
        own = seconds_per_pair(entry)
        bases = ("reference", best[in_bf16(name)])
        ratios = [f"{seconds_per_pair(entries[base]) / own:.2f}" if base in entries else "" for base in bases]
        costs = [f"{median(first[name]):.1f}" if name in first else "", f"{median(entry['ready']):.1f}", f"{entry['peak_gib']:.1f}"]
        lines.append(_row(name, f"{1 / own:.4f}", *ratios, *costs, outside_graphs(entry)))
    return lines


def stages(entries: dict[str, Entry], gflop: dict[str, float], product: float) -> list[str]:
    """Milliseconds per pair and GFLOP/s of each stage, a row for each candidate."""
    names = {"unet": "U-Net step", "mask": "mask", "decode": "decode"}
    rates = [f"{name}, GFLOP/s (of {product:.0f})" for name in names.values()]
    lines = _head("", *(f"{name}, ms" for name in names.values()), "composed, ms", "writing, ms", *rates)
    for name, entry in entries.items():
        taken = {request: median(values) for request, values in entry["seconds"].items()}
        composed = sum(calls * taken[request] for request, calls in CALLS.items())
        speeds = [f"{gflop[request] / taken[request]:.0f}" for request in names]
        write = f"{1e3 * taken['write']:.1f}" if "write" in taken else ""
        lines.append(_row(name, *(f"{1e3 * taken[r]:.1f}" for r in names), f"{1e3 * composed:.0f}", write, *speeds))
    return lines


def table(facts: dict[str, Any], stem: str) -> str:
    """Everything as Markdown."""
    whole = facts["preset"] == "tiny"
    lines = [f"# Latency, {facts['preset']}", ""]
    for n, entries in facts["batches"].items():
        rounds = sorted({len(entry["seconds"]["unet"]) for entry in entries.values()})
        lines += [f"## Batch {n}, {' or '.join(map(str, rounds))} rounds", "", *rates(entries, facts["first"]), ""]
        lines += [*stages(entries, facts["gflop"], median(facts["product"])), ""]
    lines += ["Medians, per pair. All candidates took turns on the same machine and may use all its cores."]
    if whole:
        lines += ["First pair: from the start of the command (`seas-gen --count 1`; `seas-train sample --count 1` until it ends)."]
        lines += [
            "Outside graphs: share of all workers' time, idle workers included. Writing: alone; a run does it beside the graphs."
        ]
    else:
        lines += [f"A pair is composed of {STEPS} U-Net steps, {MASK_STEPS} masks and a decode, not measured whole."]
        lines += ["Outside graphs: the sampler's loop with graphs that take no time, against a pair."]
    work = ", ".join(f"{request} {value:.2f}" for request, value in facts["gflop"].items())
    lines += [f"GFLOP per pair, two for each multiply-add: {work}. Winograd convolutions do fewer and are counted in full."]
    lines += ["", f"![pairs per second]({stem}.png)", ""]
    lines += common.listed(facts, "machine", "versions", "commit", "commands")
    return "\n".join([*lines, ""])


def plot(facts: dict[str, Any], path: Path) -> None:
    """Bars of pairs per second by batch and candidate."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    batches = facts["batches"]
    names = list(dict.fromkeys(name for entries in batches.values() for name in entries))
    figure, axes = pyplot.subplots(figsize=(7, 3.5), layout="constrained")
    for i, name in enumerate(names):
        rates = [1 / seconds_per_pair(entries[name]) if name in entries else 0 for entries in batches.values()]
        axes.bar([x + (i - len(names) / 2) * 0.8 / len(names) for x in range(len(batches))], rates, 0.8 / len(names), label=name)
    axes.set_xticks(range(len(batches)), [f"batch {n}" for n in batches])
    axes.set_ylabel("pairs per second")
    axes.legend()
    figure.savefig(path, dpi=120)


def write(facts: dict[str, Any], stem: Path) -> None:
    """Save STEM.json, STEM.md and STEM.png."""
    common.save(stem, facts, table(facts, stem.name))
    plot(facts, Path(f"{stem}.png"))
