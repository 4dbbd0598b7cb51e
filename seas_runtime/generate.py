"""What `seas-gen` does: bundle, settings, engine, folder, pairs, each checked before the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from seas_runtime import api, voice
from seas_runtime.backends.first_run import LIMIT
from seas_runtime.backends.registry import BACKENDS, OF_CORE
from seas_runtime.bundle.reader import Bundle, read_bundle
from seas_runtime.cluster import Cluster, Pool
from seas_runtime.commands import interrupt
from seas_runtime.dataset.records import RUN, Journal, RunRecord, read_record
from seas_runtime.dataset.series import SERIES
from seas_runtime.dataset.shards import folder_of
from seas_runtime.dataset.summary import Summary, summarise
from seas_runtime.dataset.writer import Writer
from seas_runtime.errors import OutputError
from seas_runtime.files import lies_in
from seas_runtime.options import Options
from seas_runtime.settings import Settings, resolve
from seas_runtime.versions import run_versions


@dataclass(frozen=True)
class Request:
    """What the command line asked for."""

    engine: Path
    out: Path | None
    backend: str
    threads: int
    expect: str | None
    command: list[str]
    options: Options
    first_run_limit: float = LIMIT
    pool: Pool | None = None


def run(request: Request) -> Summary:
    """Make the pairs that are not yet in place.

    Args:
        request: the command line.

    Raises:
        SeasError: see the classes of `seas_runtime.errors`.
    """
    started = time.monotonic()
    bundle, settings, out = prepare(request)
    begun = begun_in(out)
    backend = chosen_backend(request, begun, voice.note)
    with interrupt(lambda: _left(out)), _opened(request, bundle, backend) as generator:
        if backend == "auto":
            voice.note(f"backend {generator.backend.name}")
        if settings.count and settings.init == "composite":
            whose = "these are the masks" if settings.mask == "composite" else "the mask branch marks them"
            voice.note(f"pairs start from training anomalies placed on normal images, and {whose}; --init normal starts from noise")
        settings = settings.model_copy(update={"backend": generator.backend.name})
        facts, licence = generator.backend.describe(), str(bundle.manifest.provenance.get("licence", ""))
        record = RunRecord(
            command=request.command,
            settings=settings,
            backend=facts,
            versions=run_versions(),
            licence=licence,
            places=settings.places(bundle.manifest),
        )
        changed = _changes(begun, record) if begun is not None else ""
        made = [_make(generator, Writer(out, record, series), changed) for series in SERIES]
    fitting = bundle.manifest.fitting
    tiles = fitting is not None and fitting.fit == "tile" and bool(record.places)
    return summarise(out, settings, sum(made), time.monotonic() - started, tiles=tiles)


def prepare(request: Request) -> tuple[Bundle, Settings, Path]:
    """The bundle, verified; the settings, but for the backend's name; where the pairs go.

    Raises:
        SeasError: see the classes of `seas_runtime.errors`.
    """
    bundle = read_bundle(request.engine, request.expect)
    settings = resolve(bundle.manifest, request.backend, request.options)
    out = folder_of(request.out or Path("out") / bundle.manifest.product, settings.shard)
    if lies_in(out, bundle.path):
        raise OutputError(f"{out}: lies in the bundle {bundle.path}, which must stay as it is; give another --out")
    return bundle, settings, out


def _opened(request: Request, bundle: Bundle, backend: str) -> api.Generator | Cluster:
    """The bundle in an engine of this machine, or in those of a cluster."""
    if request.pool is None:
        return api.open(
            bundle,
            backend,
            threads=request.threads,
            expect=request.expect,
            log=voice.note,
            explain=voice.detail,
            first_run_limit=request.first_run_limit,
        )
    return Cluster(bundle, backend, request.pool, request.expect, voice.note)


def _make(generator: api.Generator | Cluster, writer: Writer, changed: str) -> int:
    """Make what a series lacks and write it; how many that were. Older ones are told of where the engine has `changed`."""
    if not writer.plan.count:
        return 0
    noun, sampling = writer.series.noun, writer.record.settings.sampling(generator.bundle.manifest)
    batches = generator.batches(writer.plan, sampling, _todo(writer))  # it may fail, and then no folder is left
    with writer:
        made, total = sum(map(len, writer.todo)), writer.plan.size()
        if changed and 0 < made < total:
            voice.note(f"{writer.out} was begun with {changed}: its older {noun}s may differ by rounding from what is made now")
        with voice.progress(total, "generating", noun, total - made) as bar, closing(batches):
            for pairs in batches:
                writer.add(pairs)
                bar.update(len(pairs))
    return made


def _todo(writer: Writer) -> Iterator[tuple[int, ...]]:
    """What a writer lacks, asked for once it has looked."""
    yield from writer.todo


def _left(out: Path) -> str:
    """What an interrupt leaves."""
    kept = any(Journal(out / name).read() for series in SERIES for name in (series.metadata, series.refused))
    return "finished pairs are kept; the same command continues" if kept else "nothing was made yet; the same command begins anew"


def begun_in(out: Path) -> RunRecord | None:
    """The record of a run in `out` that has made something already; the writer judges what cannot be read."""
    try:
        return read_record(out / RUN) if any((out / series.metadata).exists() for series in SERIES) else None
    except (OSError, OutputError):
        return None


def chosen_backend(request: Request, begun: RunRecord | None, log: Callable[[str], None]) -> str:
    """The backend asked for; "auto" stays with the one a run was begun with, if it may take that."""
    candidates = BACKENDS if request.expect is None else OF_CORE
    if request.backend == "auto" and begun is not None and (name := begun.settings.backend) in candidates:
        log(f"backend {name}, as the run in this folder was begun with")
        return name
    return request.backend


def _changes(begun: RunRecord, now: RunRecord) -> str:
    """What of the engine a run was begun with is another now, as "name value"."""
    names = sorted(begun.backend.keys() | now.backend.keys())
    before, after = begun.backend.get, now.backend.get
    return ", ".join(f"{name} {before(name, 'none')}" for name in names if before(name) != after(name))
