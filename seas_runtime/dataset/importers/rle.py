"""Run-length codes of masks: those of COCO, CVAT and Label Studio."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from seas_runtime.dataset.importers.records import BrokenError
from seas_runtime.fit import Bits, Size

Runs = npt.NDArray[np.int64]


def coco(counts: object, size: Size) -> Bits:
    """COCO's RLE, a list of runs or its compressed string, as (H, W) bool; runs go down the columns, the first is unmarked.

    Raises:
        BrokenError: The code is damaged or not of this size.
    """
    runs = _decompressed(counts) if isinstance(counts, str) else _runs(counts)
    return _alternate(runs, (size[1], size[0])).T


def rows(counts: object, size: Size) -> Bits:
    """CVAT's RLE, a list of runs along the rows, the first of them unmarked, as (H, W) bool; raises BrokenError as `coco`."""
    return _alternate(_runs(counts), size)


def _alternate(runs: Runs, size: Size) -> Bits:
    """Unmarked and marked runs in turn -> (size[1], size[0]) bool."""
    if (runs < 0).any() or runs.sum() != size[0] * size[1]:
        raise BrokenError(f"a run-length code of {runs.sum()} pixels, expected {size[0]} x {size[1]}")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size[1], size[0])


def _runs(values: object) -> Runs:
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise BrokenError("a run-length code that is no list of numbers")
    try:
        runs = np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        raise BrokenError("a run-length code that holds more than numbers") from None
    if runs.ndim != 1 or not (np.abs(runs) < 1 << 40).all():
        raise BrokenError("a run-length code whose runs are no pixel counts")
    return runs.astype(np.int64)


def _decompressed(text: str) -> Runs:
    """COCO's string as runs.

    5 bits a character, the lowest first, and a sixth that says that more follow; from the fourth run on, each is written
    as its difference from the one before the last.
    """
    try:
        codes = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
    except UnicodeEncodeError:
        codes = np.array((-1,))
    if (codes < 0).any() or (codes > 63).any() or (codes.size and codes[-1] & 32):
        raise BrokenError("a damaged run-length string")
    last = (codes & 32) == 0
    number = last.cumsum() - last
    first = np.concatenate(([0], np.flatnonzero(last)[:-1] + 1)) if codes.size else codes
    digit = np.arange(len(codes)) - first[number]
    if (digit > 7).any():
        raise BrokenError("a run-length string with a number beyond 40 bits")
    values = np.zeros(int(last.sum()), np.int64)
    np.add.at(values, number, (codes & 31) << (5 * digit))
    values -= np.where(codes[last] & 16, np.int64(1) << (5 * digit[last] + 5), 0)
    for start in (1, 2):
        values[start::2] = values[start::2].cumsum()
    return values


_HEAD = 32 + 5 + 4 * 4  # bits: how many values, their width, and four widths of lengths


def label_studio(code: object, size: Size) -> Bits:
    """Label Studio's brush code, a list of bytes, as (H, W) bool.

    It holds RGBA by the rule of thi.ng/rle-pack; a pixel is marked where alpha is above half of its maximum.

    Raises:
        BrokenError: The code is damaged or not of this size.
    """
    try:
        data = np.asarray(code, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        data = np.empty((0, 0))
    if data.ndim != 1 or len(data) * 8 < _HEAD or not ((data >= 0) & (data <= 255)).all():
        raise BrokenError("a brush code that is no list of bytes")
    bits = _BitStream(data.astype(np.uint8))
    expected = 4 * size[0] * size[1]
    if (length := bits.read(32)) != expected:
        raise BrokenError(f"a brush code of {length // 4} pixels, expected {size[0]} x {size[1]}")
    alpha = _unpack(bits, length)[3::4].reshape(size[1], size[0])
    return alpha > int(alpha.max()) // 2


class _BitStream:
    """Numbers of any width, highest bit first."""

    def __init__(self, data: npt.NDArray[np.uint8]) -> None:
        self._bits = np.unpackbits(data)
        self._data = data.tobytes()
        self._at = 0

    def read(self, width: int) -> int:
        """The next number of at most 32 bits; raises BrokenError at the end."""
        end = self._at + width
        if end > len(self._bits):
            raise BrokenError("a brush code that ends too early")
        first, last = self._at // 8, (end + 7) // 8
        value = int.from_bytes(self._data[first:last], "big") >> (last * 8 - end)
        self._at = end
        return value & ((1 << width) - 1)

    def read_many(self, count: int, width: int) -> npt.NDArray[np.int64]:
        """The next `count` numbers; raises BrokenError at the end."""
        end = self._at + count * width
        if end > len(self._bits):
            raise BrokenError("a brush code that ends too early")
        digits = self._bits[self._at : end].reshape(count, width)
        self._at = end
        return digits @ (1 << np.arange(width - 1, -1, -1, dtype=np.int64))


def _unpack(bits: _BitStream, length: int) -> npt.NDArray[np.uint32]:
    width = bits.read(5) + 1
    lengths = [bits.read(4) + 1 for _ in range(4)]
    out = np.zeros(length, np.uint32)
    start = 0
    while start < length:
        run = bits.read(1)
        stop = min(start + 1 + bits.read(lengths[bits.read(2)]), length)
        out[start:stop] = bits.read(width) if run else bits.read_many(stop - start, width)
        start = stop
    return out
