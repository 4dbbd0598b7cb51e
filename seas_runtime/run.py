"""What `seas-gen` does: bundle, settings, engine, folder, pairs, each checked before the next."""

from __future__ import annotations

import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from seas_runtime.backends import BACKENDS, OF_CORE, open_backend
from seas_runtime.bundle import read_bundle
from seas_runtime.errors import GateError
from seas_runtime.records import Line, RunRecord
from seas_runtime.sampler import Model, generate
from seas_runtime.settings import Settings, resolve
from seas_runtime.versions import run_versions
from seas_runtime.writer import Writer

SHOWN = 20


@dataclass(frozen=True)
class Request:
    """What the command line asked for; `settings` are the arguments of `resolve`."""

    engine: Path
    out: Path | None
    backend: str
    threads: int
    expect: str | None
    command: list[str]
    settings: dict[str, Any]


@dataclass(frozen=True)
class Summary:
    """What lies in `out` after a run: lines of the pairs in place and of those given up; `made` are new."""

    out: Path
    settings: Settings
    pairs: list[Line]
    refused: list[Line]
    made: int
    seconds: float

    def line(self) -> str:
        """The run in one line."""
        types = Counter(line["defect"] for line in self.pairs)
        each = ", ".join(f"{name} {types[name]}" for name in self.settings.defects)
        retries = sum(line["attempt"] for line in self.pairs + self.refused)
        new = "none was left to make"
        if self.made:
            new = f"{self.made} made in {self.seconds:.1f} s, {self.made / self.seconds:.2f} pairs/s"
        return f"{len(self.pairs)} pairs in {self.out} ({each}); {new}; {retries} retries"

    def raise_if_refused(self) -> None:
        """End with the gate's exit code where pairs were given up.

        Raises:
            GateError: names them and says what to do.
        """
        if not self.refused:
            return
        counts = Counter(line["verdict"] for line in self.refused)
        reasons = ", ".join(f"{verdict}: {number}" for verdict, number in counts.items())
        indices = ", ".join(str(line["index"]) for line in self.refused[:SHOWN])
        more = f" and {len(self.refused) - SHOWN} more" if len(self.refused) > SHOWN else ""
        raise GateError(
            f"{self.out}: the quality gate refused all {self.settings.retries + 1} masks of pairs "
            f"{indices}{more} ({reasons}); the others are written. "
            "Change --threshold, --min-area, --max-area or --seed, with another --out"
        )


def run(request: Request, quiet: bool) -> Summary:
    """Make the pairs that are not yet in place.

    Args:
        request: the command line.
        quiet: say nothing of what "auto" took, and show no progress bar (there is none either where standard
            error is not a terminal).

    Raises:
        SeasError: see the classes of `seas_runtime.errors`.
    """
    started = time.monotonic()
    bundle = read_bundle(request.engine, request.expect)
    manifest = bundle.manifest
    settings = resolve(manifest, request.backend, **request.settings)
    say = _silent if quiet else _say
    candidates = BACKENDS if request.expect is None else OF_CORE
    backend = open_backend(request.backend, bundle, request.threads, candidates, say)
    settings = settings.model_copy(update={"backend": backend.name})
    out = request.out or Path("out") / manifest.product
    record = RunRecord(
        command=request.command, settings=settings, backend=backend.describe(), versions=run_versions()
    )
    model = Model(backend, bundle.conditioning, manifest.start)
    with Writer(out, record) as writer:
        made = sum(map(len, writer.todo))
        total = settings.plan().size()
        pairs_made = generate(model, settings.plan(), settings.sampling(manifest), writer.todo, say)
        bar = tqdm(total=total, initial=total - made, unit="pair", disable=quiet or None)
        with bar, closing(pairs_made):
            for samples in pairs_made:
                writer.add(samples)
                bar.update(len(samples))
    pairs, refused = writer.lines()
    return Summary(out, settings, pairs, refused, made, time.monotonic() - started)


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)  # which leaves a progress bar in its place


def _silent(_line: str) -> None:
    pass
