"""The dataset writer: MVTec AD layout, atomic files, resumable.

A pair counts only when its image, its mask and its line in `metadata.jsonl` are in place. A pair that the
quality gate gave up has a line in `refused.jsonl` and no files. Batches are whole: one with a pair missing is
made again.
"""

from __future__ import annotations

import io
import json
import re
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from seas_runtime.atomic import TEMPORARY_SUFFIX, flush_folder, write_atomic
from seas_runtime.dataset.review.decisions import REVIEW
from seas_runtime.errors import OutputError
from seas_runtime.lock import LOCK, locked
from seas_runtime.masks import GOOD, area, bounding_box
from seas_runtime.records import Journal, Line, RunRecord, check_same_run, read_record, write_record
from seas_runtime.sampler import Sample
from seas_runtime.settings import Settings

METADATA, REFUSED, RUN = "metadata.jsonl", "refused.jsonl", "run.json"
THREADS = 2
PENDING_BATCHES = 4
_OURS = re.compile(rf"(\d{{6,}})(_mask)?\.png({re.escape(TEMPORARY_SUFFIX)})?")


class Writer:
    """Writes a run to `out`; a context manager that holds the folder's lock.

    Leaving the block writes what is still pending, also after an interrupt or an engine's failure.

    Raises:
        OutputError: `out` is a file, holds something else or another run, or cannot be written.
    """

    def __init__(self, out: Path, record: RunRecord) -> None:
        self.out = out
        self.record = record
        self.metadata = Journal(out / METADATA)
        self.refused = Journal(out / REFUSED)
        self.plan = record.settings.plan()
        self.todo: list[tuple[int, ...]] = []
        self._pending: deque[list[tuple[Sample, Future[None]]]] = deque()
        self._stack = ExitStack()

    def __enter__(self) -> Writer:
        with _explained(self.out):
            _check_place(self.out)
            self.out.mkdir(parents=True, exist_ok=True)
            with ExitStack() as stack:
                stack.enter_context(locked(self.out))
                self._resume()
                self._pool = stack.enter_context(ThreadPoolExecutor(THREADS, thread_name_prefix="png"))
                self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if kind is not None and issubclass(kind, OutputError):
                return
            with _explained(self.out):
                self._pool.shutdown()
                while self._pending:
                    self._finish_oldest()
                self._tidy(self.metadata.read(), self.refused.read())

    def add(self, samples: list[Sample]) -> None:
        """Queue one batch and note those that have arrived; waits while too many are on their way to the disk."""
        with _explained(self.out):
            self._pending.append([(sample, self._pool.submit(self._write, sample)) for sample in samples])
            while self._pending and (len(self._pending) > PENDING_BATCHES or _arrived(self._pending[0])):
                self._finish_oldest()

    def _resume(self) -> None:
        """Keep whole batches, forget the rest, clear what a killed run left, and note what is to do."""
        begun = read_record(self.out / RUN)
        done, refused = self.metadata.read(), self.refused.read()
        if begun is not None and (done or refused or (self.out / REVIEW).exists()):
            check_same_run(self.out, begun.settings, self.record.settings)
        elif begun is not None:  # it made no pair that anyone decided on, so any settings may follow
            self._clear(begun.settings, {})
        top = max(done.keys() | refused.keys(), default=-1)
        if top >= self.plan.count:
            raise OutputError(
                f"{self.out}: holds pair {top}, more than count {self.plan.count} asks for; "
                "ask for more pairs or give another --out"
            )
        done = {index: text for index, text in done.items() if self._in_place(index, text)}
        known = done.keys() | refused.keys()
        self.todo = [batch for batch in self.plan.batches() if not known >= set(batch)]
        for index in (index for batch in self.todo for index in batch):
            done.pop(index, None)
            refused.pop(index, None)
        self._tidy(done, refused)
        if self.todo or begun is None:  # else the record stays that of the run that made the pairs
            write_record(self.out / RUN, self.record)

    def _tidy(self, done: Mapping[int, bytes], refused: Mapping[int, bytes]) -> None:
        """Hold exactly these lines; remove our images without a line, and temporaries."""
        self.metadata.replace(done)
        self.refused.replace(refused)
        for file in self.out.glob(f"*{TEMPORARY_SUFFIX}"):
            file.unlink()
        self._clear(self.record.settings, done)

    def _clear(self, settings: Settings, done: Mapping[int, bytes]) -> None:
        """Remove images of a run with these settings that are not of pairs that are done."""
        for defect in settings.defects:
            for folder in ("test", "ground_truth"):
                place = f"{settings.product}/{folder}/{defect}"
                for file in (self.out / place).glob("*.png*"):
                    ours = _OURS.fullmatch(file.name)
                    if ours is None:
                        continue
                    index = int(ours[1])
                    if index not in done or f"{place}/{file.name}" not in _paths(settings, index):
                        file.unlink()

    def _in_place(self, index: int, text: bytes) -> bool:
        line, names = json.loads(text), _paths(self.record.settings, index)
        return (line.get("file_name"), line.get("mask_file_name")) == names and all(
            (self.out / name).is_file() for name in names
        )

    def _write(self, sample: Sample) -> None:
        if sample.verdict != GOOD:
            return
        image, mask = _paths(self.record.settings, sample.pair.index)
        for name, pixels in ((image, sample.image), (mask, sample.mask)):
            path = self.out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, _png(pixels))

    def _finish_oldest(self) -> None:
        """Wait for a batch's files, then add its lines; it stays pending until then, should a signal come."""
        batch = self._pending[0]
        for _, written in batch:
            written.result()
        good = [sample for sample, _ in batch if sample.verdict == GOOD]
        names = [name for sample in good for name in _paths(self.record.settings, sample.pair.index)]
        for folder in {(self.out / name).parent for name in names}:
            flush_folder(folder)
        self.metadata.append(self._line(sample) for sample in good)
        self.refused.append(_refusal(sample) for sample, _ in batch if sample.verdict != GOOD)
        self._pending.popleft()

    def _line(self, sample: Sample) -> Line:
        pair = sample.pair
        image, mask = _paths(self.record.settings, pair.index)
        return {
            "index": pair.index,
            "defect": pair.defect,
            "file_name": image,
            "mask_file_name": mask,
            "seed": pair.stream.seed,
            "attempt": pair.stream.attempt,
            "normal": pair.normal,
            "area": area(sample.mask),
            "bbox": bounding_box(sample.mask),
            "verdict": sample.verdict,
        }


def _paths(settings: Settings, index: int) -> tuple[str, str]:
    """Image and mask of a pair, relative to the run's folder."""
    product, defect = settings.product, settings.defects[index % len(settings.defects)]
    return (
        f"{product}/test/{defect}/{index:06d}.png",
        f"{product}/ground_truth/{defect}/{index:06d}_mask.png",
    )


def _arrived(batch: list[tuple[Sample, Future[None]]]) -> bool:
    return all(written.done() for _, written in batch)


def _refusal(sample: Sample) -> Line:
    pair = sample.pair
    return {
        "index": pair.index,
        "defect": pair.defect,
        "seed": pair.stream.seed,
        "attempt": pair.stream.attempt,
        "verdict": sample.verdict,
    }


def _check_place(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file, a folder expected; give another --out")
    if out.is_dir() and not (out / RUN).exists():
        strange = [x.name for x in out.iterdir() if x.name != LOCK and not x.name.endswith(TEMPORARY_SUFFIX)]
        if strange:
            raise OutputError(
                f"{out}: holds {min(strange)} but no {RUN}, so no run of ours; give another --out"
            )


@contextmanager
def _explained(out: Path) -> Iterator[None]:
    """Turn what the file system says into one line."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{error.filename or out}: {error.strerror or error}; mend that and run the same command again, "
            "finished pairs are kept"
        ) from error


def _png(pixels: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
