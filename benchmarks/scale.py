"""What `seas-gen` costs as a whole process, against the number of pairs and the batch: seconds, memory, time to the first pair.

    python -m benchmarks.scale --engine engines/bottle.plan

Each case is a fresh process writing a fresh data set: every `--count` in batches of the first `--batch`, and `--pairs` pairs in
each of the other batches. Saves scale.md, .json and .png.

    python -m benchmarks.scale --engine engines/bottle.plan --workers 1,2

measures `seas-gen --ray` on this machine in its place, see `benchmarks.cluster_scale`; saves scale_ray.md and .json.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from benchmarks import common
from seas_train.pipeline.child import executable

POLL = 0.01
REFUSED = 6  # seas-gen's exit code where some masks were refused


def case(engine: Path, backend: str, count: int, batch: int) -> dict[str, Any]:
    """Run `seas-gen` once.

    Returns:
        seconds of the process, seconds until the first pair's mask (written after its image) is in place, peak resident MiB.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command = [executable("seas-gen"), "--engine", str(engine), "--out", str(out), "--backend", backend, "--quiet"]
        command += ["--count", str(count), "--batch", str(batch), "--retries", "0", "--min-area", "1", "--max-area", "1"]
        began = time.perf_counter()
        process = subprocess.Popen(command)
        first, peak = 0.0, 0.0
        while process.poll() is None:
            peak = max(peak, peak_mib(process.pid))
            if not first and any(out.glob("*/ground_truth/*/*_mask.png")):
                first = time.perf_counter() - began
            time.sleep(POLL)
        seconds = time.perf_counter() - began
        if process.returncode not in (0, REFUSED):
            raise click.ClickException(f"{' '.join(command)}: exit code {process.returncode}, 0 expected; see its error above")
        made = len((out / "metadata.jsonl").read_text(encoding="utf-8").splitlines())
    return {
        "count": count,
        "batch": batch,
        "made": made,  # a mask that the gate refuses is not written
        "seconds": round(seconds, 2),
        "first": round(first, 2),
        "peak_mib": round(peak),
    }


def peak_mib(pid: int) -> float:
    """Peak resident memory of a process since it was started; 0 of one that has ended.

    Not `ru_maxrss`: that of a child begins with the memory of the process that started it.
    """
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 2**10
    return 0.0


def table(facts: dict[str, Any]) -> str:
    """The cases as Markdown."""
    lines = [f"# Cost of seas-gen, {facts['engine']}", ""]
    lines += ["| batch | pairs asked | written | seconds | first pair, s | peak MiB | pairs/s |", "|---:" * 7 + "|"]
    for c in facts["cases"]:
        cells = [str(c[key]) for key in ("batch", "count", "made", "seconds", "first", "peak_mib")]
        lines.append(f"| {' | '.join([*cells, format(c['count'] / c['seconds'], '.2f')])} |")
    lines += ["", "![seconds and memory](scale.png)", ""]
    lines += common.listed(facts, "backend", "machine", "versions", "commit", "command")
    return "\n".join([*lines, ""])


def plot(cases: list[dict[str, Any]], path: Path) -> None:
    """Seconds and peak memory against the number of pairs, and against the batch."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, rows = pyplot.subplots(2, 2, figsize=(9, 6), layout="constrained")
    for column, (x, fixed) in enumerate((("count", "batch"), ("batch", "count"))):
        groups: dict[int, list[dict[str, Any]]] = {}
        for c in sorted(cases, key=lambda c: c[x]):
            groups.setdefault(c[fixed], []).append(c)
        value, chosen = max(groups.items(), key=lambda group: len(group[1]))
        for axes, key in zip(rows[:, column], ("seconds", "peak_mib"), strict=True):
            axes.plot([c[x] for c in chosen], [c[key] for c in chosen], "o-", label=f"{fixed} {value}")
            axes.set_xscale("log")
            axes.set_xlabel({"count": "pairs", "batch": "batch"}[x])
            axes.set_ylabel({"seconds": "seconds", "peak_mib": "peak MiB"}[key])
            if (x, key) == ("count", "seconds"):
                axes.set_yscale("log")
            else:
                axes.set_ylim(bottom=0)
            axes.legend()
    figure.savefig(path, dpi=120)


def on_ray(engine: Path, backend: str, workers: list[int], pairs: int, batch: int, results: Path) -> None:
    """Measure clusters of so many actors and save the table."""
    from benchmarks import cluster_scale

    rows = cluster_scale.measure(engine, backend, workers, pairs, batch)
    sums = cluster_scale.on_paper(rows[-1]["driver_ms"])
    words = f"--engine {engine.name} --backend {backend} --workers {','.join(map(str, workers))} --pairs {pairs} --batch {batch}"
    facts = {"engine": engine.name, "backend": backend, "rows": rows, "on_paper": sums, **common.machine()}
    facts["command"] = f"python -m benchmarks.scale {words}"
    shown = [f"# A Ray cluster, {engine.name}", "", cluster_scale.text(rows, sums)]
    shown += common.listed(facts, "backend", "machine", "versions", "commit", "command")
    common.save(results / "scale_ray", facts, "\n".join([*shown, ""]))
    click.echo(f"saved {results / 'scale_ray.md'}")


@click.command(help=__doc__)
@click.option("--engine", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--backend", default="cpu", show_default=True)
@click.option("--count", "counts", type=click.IntRange(1), multiple=True, default=(8, 80, 800), show_default=True)
@click.option("--batch", "batches", type=click.IntRange(1), multiple=True, default=(4, 1, 8, 16), show_default=True)
@click.option("--pairs", type=click.IntRange(1), default=80, show_default=True, help="To compare batches with.")
@click.option("--workers", metavar="N[,N...]", help="Measure a Ray cluster of so many actors of one core instead.")
@click.option("--results", type=click.Path(path_type=Path), default=common.RESULTS)
def main(
    *,
    engine: Path,
    backend: str,
    counts: tuple[int, ...],
    batches: tuple[int, ...],
    pairs: int,
    workers: str | None,
    results: Path,
) -> None:
    """Measure, then save table and plot."""
    if workers:
        on_ray(engine, backend, [int(word) for word in workers.split(",")], pairs, batches[0], results)
        return
    cases = []
    for count, batch in [(count, batches[0]) for count in counts] + [(pairs, batch) for batch in batches[1:]]:
        cases.append(case(engine, backend, count, batch))
        click.echo(cases[-1])
    shown = [f"--count {n}" for n in counts] + [f"--batch {n}" for n in batches] + [f"--pairs {pairs}"]
    facts = {
        "engine": engine.name,
        "backend": backend,
        "cases": cases,
        **common.machine(),
        "command": f"python -m benchmarks.scale --engine {engine.name} --backend {backend} {' '.join(shown)}",
    }
    common.save(results / "scale", facts, table(facts))
    plot(cases, results / "scale.png")
    click.echo(f"saved {results / 'scale.md'}")


if __name__ == "__main__":
    main()
