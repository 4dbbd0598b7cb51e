"""The pictures and masks of pairs and of real anomalies, as files and as arrays; small ones are kept in memory."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

from PIL import Image

from seas_runtime.dataset.inside import read_file
from seas_runtime.dataset.review.cache import Cache
from seas_runtime.dataset.review.log import Decisions
from seas_runtime.dataset.review.pairs import Pairs
from seas_runtime.dataset.review.pictures import Mask, check_png, decode, jpeg, mask_of, overlay_png, small
from seas_runtime.dataset.review.survey import Scene
from seas_runtime.dataset.review.training import Real
from seas_runtime.errors import DataError

THUMBNAIL, LARGE = 256, 1600  # largest sides, pixels
Size = Literal["thumb", "overlay", "large"]
View = tuple[str, str]
"""Small picture (JPEG) and overlay (PNG) in base64."""
_CACHE_BYTES = 1 << 27
_WAITING = 0.3  # seconds after a picture was asked for


class Album:
    """Pictures by a pair's index, and of real anomalies by their number. Thread-safe.

    All methods raise `DataError` for a pair or file that is not there, leads elsewhere, is damaged or too large.

    Args:
        pairs: the pairs.
        decisions: say which masks are mended.
        root: the folder of the real anomalies.
        reals: the real anomalies.
    """

    def __init__(self, pairs: Pairs, decisions: Decisions, root: Path, reals: Sequence[Real]) -> None:
        self.pairs, self.decisions, self.root, self.reals = pairs, decisions, root, reals
        self._cache = Cache(_CACHE_BYTES)
        self._asked = 0.0

    def is_busy(self) -> bool:
        """Whether somebody has just asked for small pictures and may ask for more."""
        return time.monotonic() - self._asked < _WAITING

    def file(self, index: int) -> bytes:
        """The PNG file of a pair's picture."""
        name = self.pairs.of(index).image
        data = read_file(self.pairs.out, name)
        check_png(data, str(self.pairs.out / name))
        return data

    def mask(self, index: int, *, generated: bool = False) -> Mask:
        """A pair's mask (H, W): the mended one where there is one, or the one that was generated."""
        mended = None if generated else self.decisions.of(index).mask
        return mask_of(_open(self.pairs.out, mended or self.pairs.of(index).mask))

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of a pair's picture."""
        picture = _open(self.pairs.out, self.pairs.of(index).image)
        return picture.height, picture.width

    def scene(self, index: int) -> Scene | None:
        """A pair with its mask for the survey; None where either cannot be read."""
        try:
            pair = self.pairs.of(index)
            image = _open(self.pairs.out, pair.image).convert("RGB") if self.reals else None
            return Scene(image, self.mask(index), pair.defect)
        except DataError:
            return None

    def real_scene(self, number: int) -> Scene | None:
        """A real anomaly with its mask for the survey; None where either is missing or cannot be read."""
        real = self.reals[number]
        if real.mask is None:
            return None
        try:
            image, mask = _open(self.root, real.image), _open(self.root, real.mask)
        except DataError:
            return None
        return Scene(image.convert("RGB"), mask_of(mask), real.defect)

    def view(self, index: int, side: int = THUMBNAIL) -> View:
        """A pair as a page shows it among others."""
        state = (self.pairs.generation, self.decisions.mask_revision(index))
        picture = self._view(("thumb", index, side, state[0]), lambda: self._thumb(index, side))
        overlay = self._view(("overlay", index, side, *state), lambda: overlay_png(self.mask(index), side))
        return base64.b64encode(picture).decode(), base64.b64encode(overlay).decode()

    def views(self, indices: Iterable[int]) -> dict[int, View | None]:
        """Several pairs; None for one that cannot be shown."""
        found: dict[int, View | None] = {}
        for index in indices:
            try:
                found[index] = self.view(index)
            except DataError:
                found[index] = None
        return found

    def real_view(self, size: Size, number: int, side: int = THUMBNAIL) -> bytes:
        """A real anomaly as JPEG of at most `side` pixels a side, or its overlay as PNG, empty for one without mask."""
        if not 0 <= number < len(self.reals):
            raise DataError(f"real anomaly {number} found, 0 to {len(self.reals) - 1} expected; load the page again")
        real = self.reals[number]
        return self._view(("real", size, number, side), lambda: self._draw_real(size, real, side))

    def _thumb(self, index: int, side: int) -> bytes:
        return jpeg(small(_open(self.pairs.out, self.pairs.of(index).image), side))

    def _draw_real(self, size: Size, real: Real, side: int) -> bytes:
        image = _open(self.root, real.image)
        if size != "overlay":
            return jpeg(small(image, side))
        if real.mask is None:
            return overlay_png(mask_of(Image.new("L", image.size)), side)
        return overlay_png(mask_of(_open(self.root, real.mask)), side)

    def _view(self, key: tuple[object, ...], make: Callable[[], bytes]) -> bytes:
        self._asked = time.monotonic()
        try:
            return self._cache.get(key, make)
        finally:
            self._asked = time.monotonic()


def _open(root: Path, name: str) -> Image.Image:
    return decode(read_file(root, name), str(root / name))
