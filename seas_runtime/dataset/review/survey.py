"""What is measured of every picture in the background: where its mask lies, how large, and what real anomaly it is like."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from seas_runtime.dataset.review.likeness import Likeness, Look, Nearest, look
from seas_runtime.dataset.review.pictures import Mask

CELLS = 24
_BUSY_PAUSE = 0.02
Cover = npt.NDArray[np.uint8]


class Scene(NamedTuple):
    """An RGB picture, None where nothing is to be compared with it, its mask (H, W), and its defect type."""

    image: Image.Image | None
    mask: Mask
    defect: str

    def look(self) -> Look | None:
        """See `likeness.look`."""
        return None if self.image is None else look(self.image, self.mask)


@dataclass(frozen=True, slots=True)
class Measured:
    """Of one picture.

    Attributes:
        defect: its type.
        cover: share of each of CELLS x CELLS parts of the picture that is marked, 255 for all of it.
        area: share of the picture that is marked, in [0, 1].
        pixels: how many are marked.
        nearest: the real anomaly it is like; None without real anomalies or mask.
    """

    defect: str
    cover: Cover
    area: float
    pixels: int
    nearest: Nearest | None


def measure(scene: Scene, likeness: Likeness | None) -> Measured:
    """Measure one picture."""
    levels = Image.fromarray(np.where(scene.mask, np.uint8(255), np.uint8(0)))
    cover = np.asarray(levels.resize((CELLS, CELLS), Image.Resampling.BOX))
    seen = scene.look() if likeness is not None else None
    nearest = likeness.nearest(seen) if likeness is not None and seen is not None else None
    return Measured(scene.defect, cover, float(scene.mask.mean()), int(scene.mask.sum()), nearest)


class Survey:
    """Measures in a thread of its own, first the real anomalies, then pairs as they come and as their masks change.

    Args:
        reals: number of real anomalies.
        real: reads one of them by number; None where it cannot be read or has no mask.
        wanted: pairs to measure now, none if nothing is new; each index with a key that changes with the pair.
        pair: reads one of those by index; None where it cannot be read.
        busy: whether a person waits for pictures, so that this should hold back.

    Attributes:
        real_done: real anomalies measured so far, by number.
        done: pairs measured so far, by index.
    """

    def __init__(
        self,
        reals: int,
        real: Callable[[int], Scene | None],
        wanted: Callable[[], list[tuple[int, object]]],
        pair: Callable[[int], Scene | None],
        busy: Callable[[], bool],
    ) -> None:
        self.real_done: dict[int, Measured] = {}
        self.done: dict[int, Measured] = {}
        self._reals, self._real, self._wanted, self._pair, self._busy = reals, real, wanted, pair, busy
        self._lock = threading.Lock()
        self._log: list[int] = []
        self._likeness: dict[str, Likeness] = {}
        self._keys: dict[int, object] = {}
        self._stop = threading.Event()

    def start(self) -> None:
        """Begin; `stop` ends it."""
        self._thread = threading.Thread(target=self._run, name="survey", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the picture at hand."""
        self._stop.set()
        self._thread.join()

    def measure_all(self) -> None:
        """Measure everything that is wanted, here and now."""
        self._measure_reals()
        self._measure_pairs()

    def since(self, first: int, most: int | None) -> list[tuple[int, Measured]]:
        """Measured pairs number `first` and on, in the order in which they were measured; one may come again."""
        with self._lock:
            log = self._log[first:] if most is None else self._log[first : first + most]
            return [(index, self.done[index]) for index in log]

    def snapshot(self) -> tuple[dict[int, Measured], dict[int, Measured]]:
        """Real anomalies and pairs measured so far."""
        with self._lock:
            return dict(self.real_done), dict(self.done)

    def _run(self) -> None:
        self._measure_reals()
        while not self._stop.wait(0.5):
            self._measure_pairs()

    def _measure_reals(self) -> None:
        looks: dict[str, list[tuple[int, Look]]] = {}
        for number in range(self._reals):
            if self._paused():
                return
            if (scene := self._real(number)) is None:
                continue
            found, seen = measure(scene, None), scene.look()
            with self._lock:
                self.real_done[number] = found
            if seen is not None:
                looks.setdefault(scene.defect, []).append((number, seen))
        self._likeness = {
            defect: Likeness([number for number, _ in found], [seen for _, seen in found]) for defect, found in looks.items()
        }

    def _measure_pairs(self) -> None:
        for index, key in self._wanted():
            if self._keys.get(index) == key:
                continue
            if self._paused():
                return
            self._keys[index] = key
            if (scene := self._pair(index)) is not None:
                found = measure(scene, self._likeness.get(scene.defect))
                with self._lock:
                    self.done[index] = found
                    self._log.append(index)

    def _paused(self) -> bool:
        """Hold back while a person waits; true once it should end."""
        while self._busy() and not self._stop.is_set():
            time.sleep(_BUSY_PAUSE)
        return self._stop.is_set()
