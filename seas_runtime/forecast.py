"""What a run of `seas-gen` would make and take, said before it makes anything; nothing is written."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from seas_runtime import api
from seas_runtime.bundle.reader import Bundle
from seas_runtime.dataset.pictures import encode
from seas_runtime.dataset.records import Journal, RunRecord, check_same_run
from seas_runtime.dataset.series import PAIRS, SERIES, Series
from seas_runtime.dataset.writer import check_place
from seas_runtime.footprint import duration, peak_bytes, size
from seas_runtime.generate import Request, begun_in, chosen_backend, prepare
from seas_runtime.sampling.pairs import Pair
from seas_runtime.settings import Settings

PATIENCE = 20.0
"""Seconds; where the first batch takes longer, it is the only one that is timed."""
BATCHES = 3
LINE_BYTES = 350  # of a journal, at most
SHOWN = (
    "seed",
    "batch",
    "steps",
    "guidance",
    "threshold",
    "mask_steps",
    "init",
    "background",
    "strength",
    "mask",
    "shape",
    "min_area",
    "retries",
)


@dataclass(frozen=True)
class _Asked:
    bundle: Bundle
    settings: Settings
    out: Path
    begun: RunRecord | None

    def counts(self, series: Series) -> tuple[int, int]:
        """How many there are to be, and how many of them are there."""
        journals = (Journal(self.out / name) for name in (series.metadata, series.refused))
        there = sum(len(journal.read()) for journal in journals) if self.begun is not None else 0
        return series.plan(self.settings).size(), there


def dry_run(request: Request) -> Iterator[str]:
    """What would be made and where, in lines; no engine is opened.

    Raises:
        SeasError: what the run itself would be refused for before its engine is opened.
    """
    asked = _asked(request)
    yield from _described(asked)
    side = asked.bundle.manifest.geometry.image_size
    most = sum(asked.counts(series)[0] for series in SERIES) * (4 * side * side + LINE_BYTES)
    yield f"disk: less than {size(most)}, which it has without compression"
    yield "nothing was made or written; --estimate times a batch"


def estimate(request: Request) -> Iterator[str]:
    """As `dry_run`, with time, memory and disk from a few batches that are made and thrown away.

    Raises:
        SeasError: as the run itself.
    """
    asked = _asked(request)
    yield from _described(asked)
    began = time.perf_counter()
    backend = chosen_backend(request, asked.begun, lambda _line: None)
    with api.open(asked.bundle, backend, threads=request.threads, expect=request.expect) as generator:
        opened = time.perf_counter() - began
        series = next(series for series in SERIES if series.plan(asked.settings).count)
        timed = _timed(generator, asked.settings, series)
        name = generator.backend.name
    noun = "pair" if series is PAIRS else "image"
    todo = sum(max(0, count - there) for count, there in map(asked.counts, SERIES))
    yield f"backend {name}: open in {duration(opened)}, first {noun} after {duration(timed.first)} more, {timed.rate:.3g} {noun}s/s"
    peak = peak_bytes()
    memory = f"memory {size(peak)} (this process; a GPU's own is not counted)" if peak else "memory unknown"
    disk = sum(asked.counts(series)[0] for series in SERIES) * timed.bytes
    time_ = duration(opened + todo / timed.rate)
    yield f"estimate: {time_} for {todo} to be made, {memory}, disk {size(disk)}; nothing was written"


@dataclass(frozen=True)
class _Timed:
    """Seconds until the first batch; pairs in a second after it; bytes of a pair's files."""

    first: float
    rate: float
    bytes: float


def _timed(generator: api.Generator, settings: Settings, series: Series) -> _Timed:
    plan = series.plan(settings)
    plan = replace(plan, count=max(plan.count, BATCHES * plan.batch), shard=(0, 1))
    made: list[Pair] = []
    began = last = time.perf_counter()
    first = later = 0.0
    number = 0
    batches = generator.batches(plan, settings.sampling(generator.bundle.manifest))
    with closing(batches):
        for pairs in batches:
            last = time.perf_counter()
            made += pairs
            if not first:
                first = last - began
            else:
                number += len(pairs)
                later = last - began - first
            if first > PATIENCE or len(made) >= BATCHES * plan.batch:
                break
    rate = number / later if number else len(made) / first
    return _Timed(first, rate, sum(_bytes(pair, settings, series) for pair in made) / len(made))


def _bytes(pair: Pair, settings: Settings, series: Series) -> int:
    """What a pair takes on the disk."""
    if not pair.good:
        return LINE_BYTES
    files = [encode(pair.image), *([encode(pair.mask)] if series is PAIRS else [])]
    return sum(map(len, files)) + len(json.dumps(series.line(settings, pair))) + 1


def _asked(request: Request) -> _Asked:
    bundle, settings, out = prepare(request)
    check_place(out)
    begun = begun_in(out)
    if begun is not None:
        check_same_run(out, begun.settings, settings.model_copy(update={"backend": begun.settings.backend}))
    return _Asked(bundle, settings, out, begun)


def _described(asked: _Asked) -> Iterator[str]:
    settings, manifest = asked.settings, asked.bundle.manifest
    yield f"{asked.bundle.path}: {manifest.product}, digest {manifest.digest}"
    types = settings.plan().sizes()
    frame = settings.frame(manifest)
    wide, high = frame.size if frame is not None else (manifest.geometry.image_size,) * 2
    each = ", ".join(f"{name} {types[name]}" for name in settings.defects)
    parts = [f"{settings.plan().size()} pairs ({each})"] if settings.count else []
    parts += [f"{settings.normal_plan().size()} normal images"] if settings.normals else []
    there = sum(asked.counts(series)[1] for series in SERIES)
    yield f"{asked.out}: {' and '.join(parts)} of {wide} x {high} pixels; {there or 'none'} of them there"
    values = settings.model_dump(mode="json")
    yield "settings: " + ", ".join(f"{name} {values[name]}" for name in SHOWN)
