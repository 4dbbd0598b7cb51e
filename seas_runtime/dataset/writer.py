"""The dataset writer: MVTec AD layout, atomic files, resumable.

A pair counts only when its image, its mask and its line in `metadata.jsonl` are in place. A pair that the
quality gate gave up has a line in `refused.jsonl` and no files. Batches are whole: one with a pair missing is
made again. Normal images are a series of their own, see `series`.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from seas_runtime.dataset.decisions import REVIEW
from seas_runtime.dataset.kept import kept
from seas_runtime.dataset.packed import Packing
from seas_runtime.dataset.pictures import encode
from seas_runtime.dataset.records import RUN, Journal, Line, RunRecord, check_same_run, read_record, text_of, write_record
from seas_runtime.dataset.series import PAIRS, SERIES, Series
from seas_runtime.errors import OutputError
from seas_runtime.files import LOCK, TEMPORARY_SUFFIX, explained, flush_folder, inside, locked, write_atomic
from seas_runtime.sampling.pairs import Pair
from seas_runtime.settings import Settings

THREADS = 2
PENDING_BATCHES = 4
KEPT = "fix that and run the same command again, finished pairs are kept"
_OURS = re.compile(rf"(\d{{6,}})(_mask)?\.png({re.escape(TEMPORARY_SUFFIX)})?")


class Writer:
    """Writes one series of a run to `out`; a context manager that holds the folder's lock.

    Leaving the block writes what is still pending, also after an interrupt or an engine's failure.

    Raises:
        OutputError: `out` is a file, holds something else or another run, or cannot be written.
    """

    def __init__(self, out: Path, record: RunRecord, series: Series = PAIRS) -> None:
        self.out = out
        self.record = record
        self.series = series
        self.metadata = Journal(out / series.metadata)
        self.refused = Journal(out / series.refused)
        self.plan = series.plan(record.settings)
        self.packing = Packing(out, series, record.settings)
        self.todo: list[tuple[int, ...]] = []
        self._pending: deque[list[tuple[Pair, Future[None]]]] = deque()
        self._stack = ExitStack()

    def __enter__(self) -> Writer:
        with explained(self.out, KEPT):
            check_place(self.out)
            self.out.mkdir(parents=True, exist_ok=True)
            with ExitStack() as stack:
                stack.enter_context(locked(self.out))
                self._resume()
                self._pool = stack.enter_context(ThreadPoolExecutor(THREADS, thread_name_prefix="png"))
                self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._stack:
            if kind is not None and issubclass(kind, OutputError):
                return
            with explained(self.out, KEPT):
                self._pool.shutdown()
                while self._pending:
                    self._finish_oldest()
                self.packing.pack()
                self._tidy(self.metadata.read(), self.refused.read())

    def add(self, pairs: list[Pair]) -> None:
        """Queue one batch and note those that have arrived; waits while too many are on their way to the disk."""
        with explained(self.out, KEPT):
            self._pending.append([(pair, self._pool.submit(self._write, pair)) for pair in pairs])
            while self._pending and (len(self._pending) > PENDING_BATCHES or _arrived(self._pending[0])):
                self._finish_oldest()

    def _resume(self) -> None:
        """Keep whole batches, forget the rest, clear what a killed run left, and note what is to do."""
        for name in (RUN, *(journal for series in SERIES for journal in (series.metadata, series.refused))):
            inside(self.out, name)
        begun = read_record(self.out / RUN)
        if begun is not None:
            self._take_over(begun.settings)
        found = kept(self.out, self.series, self.record.settings)
        done, refused = dict(found.done), dict(found.refused)
        self.todo = [batch for batch in self.plan.batches() if not found.known >= set(batch)]
        for index in (index for batch in self.todo for index in batch):
            done.pop(index, None)
            refused.pop(index, None)
        self._tidy(done, refused)
        self.packing.note({index: text for index, text in done.items() if not self.packing.holds(index)}, refused)
        if self.todo or begun is None:  # else the record stays that of the run that made the pairs
            write_record(self.out / RUN, self.record)

    def _take_over(self, begun: Settings) -> None:
        """Check that what lies in the folder, begun with these settings, is part of this run; remove what has no line yet.

        A series of which nothing has a line binds nothing: any settings may follow. But where the run before did not ask for it
        at all, its pictures are not ours.
        """
        held = [series for series in SERIES if self._holds(series)]
        if held or (self.out / REVIEW).exists():  # decisions are on pairs of this run
            check_same_run(self.out, begun, self.record.settings)
        for series in SERIES:
            if series in held:
                continue
            if series.plan(begun).count:
                self._clear(series, begun, {})
            elif series.plan(self.record.settings).count and (found := next(self._pictures(series, self.record.settings), None)):
                raise OutputError(f"{found[0]}: is called as this run's pictures are, but not of it; move it or give another --out")

    def _holds(self, series: Series) -> bool:
        """Whether anything of a series has a line; no more of it may be there than is asked for."""
        known = Journal(self.out / series.metadata).read().keys() | Journal(self.out / series.refused).read().keys()
        top, count = max(known, default=-1), series.plan(self.record.settings).count
        if top >= count:
            raise OutputError(
                f"{self.out}: holds {series.noun} {top}, but {count} are asked for; "
                f"ask for {top + 1} or more (--{series.asked}) or give another --out"
            )
        return bool(known)

    def _tidy(self, done: Mapping[int, bytes], refused: Mapping[int, bytes]) -> None:
        """Hold exactly these lines; remove our images without a line, and temporaries."""
        self.metadata.replace(done)
        self.refused.replace(refused)
        for file in self.out.glob(f"*{TEMPORARY_SUFFIX}"):
            file.unlink()
        self._clear(self.series, self.record.settings, done)

    def _clear(self, series: Series, settings: Settings, done: Mapping[int, bytes]) -> None:
        """Remove images of a run with these settings that are not of what is done."""
        for file, index in self._pictures(series, settings):
            if index not in done or file.relative_to(self.out).as_posix() not in series.files(settings, index):
                file.unlink()

    def _pictures(self, series: Series, settings: Settings) -> Iterator[tuple[Path, int]]:
        """What lies in the folders of a series and is called as its pictures are, with the index in the name."""
        for place in series.folders(settings):
            for file in inside(self.out, place).glob("*.png*"):
                if ours := _OURS.fullmatch(file.name):
                    yield file, int(ours[1])

    def _write(self, pair: Pair) -> None:
        if not pair.good:
            return
        names = self.series.files(self.record.settings, pair.index)
        for name, pixels in zip(names, (pair.image, pair.mask), strict=False):  # a normal image has no mask
            path = inside(self.out, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, encode(pixels))

    def _finish_oldest(self) -> None:
        """Wait for a batch's files, then add its lines; it stays pending until then, should a signal come."""
        batch = self._pending[0]
        for _, written in batch:
            written.result()
        good = [pair for pair, _ in batch if pair.good]
        names = [name for pair in good for name in self.series.files(self.record.settings, pair.index)]
        for folder in {(self.out / name).parent for name in names}:
            flush_folder(folder)
        lines = [self.series.line(self.record.settings, pair) for pair in good]
        self.metadata.append(lines)
        self.refused.append(_refusal(pair) for pair, _ in batch if not pair.good)
        self._pending.popleft()
        self.packing.note({line["index"]: text_of(line) for line in lines}, (pair.index for pair, _ in batch if not pair.good))
        self.packing.pack()


def _arrived(batch: list[tuple[Pair, Future[None]]]) -> bool:
    return all(written.done() for _, written in batch)


def _refusal(pair: Pair) -> Line:
    return {
        "index": pair.index,
        "defect": pair.defect,
        "seed": pair.seed,
        "attempt": pair.attempt,
        "verdict": pair.verdict,
    }


def check_place(out: Path) -> None:
    """Refuse a place that holds something else than a run.

    Raises:
        OutputError: it is a file, or a folder of other things.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file, a folder expected; give another --out")
    if out.is_dir() and not (out / RUN).exists():
        strange = [x.name for x in out.iterdir() if x.name != LOCK and not x.name.endswith(TEMPORARY_SUFFIX)]
        if strange:
            raise OutputError(f"{out}: holds {min(strange)} but no {RUN}, so no run of ours; give another --out")
