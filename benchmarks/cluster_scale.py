"""What a cluster gains and what its driver costs: `benchmarks.scale --workers 1,2`.

Each case is a Ray cluster on this machine with so many actors of one core, which make pairs that this process writes, as
`seas-gen --ray` does. Rounds of all cases alternate; figures are medians. Starting the cluster is not counted, opening the bundle
neither.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from seas_runtime.bundle.reader import read_bundle
from seas_runtime.cluster import Cluster, Pool
from seas_runtime.dataset.records import RunRecord
from seas_runtime.dataset.writer import THREADS, Writer
from seas_runtime.options import Options
from seas_runtime.settings import resolve

GPUS = (8, 64, 1000)
PAIRS_PER_GPU = 2.5
"""Of Stable Diffusion's size a second, guided, 25 steps: an A100's 400 ms. Taken for the sums, not measured here."""
MIB_PER_PAIR = 0.5
"""A picture of 512 x 512 and its mask as PNG."""


def once(engine: Path, backend: str, workers: int, pairs: int, batch: int) -> dict[str, float]:
    """Seconds of a run, and processor seconds of this process in it."""
    bundle = read_bundle(engine)
    options = Options(count=pairs, batch=batch, retries=0, min_area=1, max_area=1.0)
    with (
        Cluster(bundle, backend, Pool("local", workers), None, lambda _line: None) as cluster,
        tempfile.TemporaryDirectory() as out,
    ):
        settings = resolve(bundle.manifest, cluster.backend.name, options)
        record = RunRecord(command=[], settings=settings, backend=cluster.backend.describe(), versions={})
        plan, sampling = settings.plan(), settings.sampling(bundle.manifest)
        warm = [tuple(range(index, index + 1)) for index in range(workers)]
        list(cluster.batches(plan, sampling, warm))
        with Writer(Path(out) / "out", record) as writer, closing(cluster.batches(plan, sampling, writer.todo)) as batches:
            began, worked = time.perf_counter(), time.process_time()
            for made in batches:
                writer.add(made)
            seconds, processor = time.perf_counter() - began, time.process_time() - worked
    return {"seconds": seconds, "driver": processor}


def measure(engine: Path, backend: str, workers: Sequence[int], pairs: int, batch: int, rounds: int = 3) -> list[dict[str, Any]]:
    """A row for each number of workers; efficiency is against the first."""
    taken: dict[int, list[dict[str, float]]] = {number: [] for number in workers}
    for _ in range(rounds):
        for number in workers:
            taken[number].append(once(engine, backend, number, pairs, batch))
    rows: list[dict[str, Any]] = []
    for number, found in taken.items():
        seconds = statistics.median(one["seconds"] for one in found)
        driver = statistics.median(one["driver"] for one in found)
        rows.append({"workers": number, "pairs": pairs, "seconds": round(seconds, 2), "driver_ms": round(1000 * driver / pairs, 2)})
    first = rows[0]
    for row in rows:
        row["efficiency"] = round(first["seconds"] * first["workers"] / (row["seconds"] * row["workers"]), 3)
    return rows


def on_paper(driver_ms: float) -> list[dict[str, Any]]:
    """Pairs a second of clusters that nobody here has, and what stops them first: the driver, its network or its disk."""
    found = []
    for gpus in GPUS:
        wanted = gpus * PAIRS_PER_GPU
        found.append({
            "gpus": gpus,
            "wanted": wanted,
            "driver_cores": round(wanted * driver_ms / 1000, 2),
            "mib_per_second": round(wanted * MIB_PER_PAIR, 1),
        })  # fmt: skip
    return found


def text(rows: Sequence[dict[str, Any]], sums: Sequence[dict[str, Any]]) -> str:
    """Both tables as Markdown."""
    lines = ["| actors of one core | pairs | seconds | efficiency | driver, ms of processor a pair |", "|---:" * 5 + "|"]
    keys = ("workers", "pairs", "seconds", "efficiency", "driver_ms")
    lines += [f"| {' | '.join(str(row[key]) for key in keys)} |" for row in rows]
    lines += ["", f"On paper, at {PAIRS_PER_GPU} pairs a second and GPU and {MIB_PER_PAIR} MiB a pair (neither measured here):", ""]
    lines += ["| GPUs | pairs/s | processors the driver needs | MiB/s to its disk |", "|---:" * 4 + "|"]
    lines += [f"| {s['gpus']} | {s['wanted']:g} | {s['driver_cores']} | {s['mib_per_second']} |" for s in sums]
    most = 1000 * THREADS / rows[-1]["driver_ms"]
    lines += [
        "",
        f"The driver ends first: it encodes and writes in {THREADS} threads, {most:.0f} pairs a second at this size, and larger "
        "pictures cost it more. Then several drivers share the work, each with --shard k/n beside --ray, and seas-data merge joins "
        "what they made; --per-tar keeps the number of files small. The network carries finished pictures alone, uncompressed "
        "1 MiB a pair at 512 x 512, and the bundle once to each node.",
    ]
    return "\n".join([*lines, ""])
