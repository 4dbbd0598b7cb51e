"""Records -> tensors: decoding, resizing, augmentation, and the random stream of a training step."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from torch import Tensor

from seas_runtime import voice
from seas_runtime.fit import View, cut, window
from seas_train.data.images import read_mask, read_rgb
from seas_train.data.kinds import MaskKind
from seas_train.data.layouts import Record


def load_image(path: Path, size: int) -> Tensor:
    """Load an image as (3, size, size) float32 in [-1, 1], antialiased (Lanczos).

    Width and height are resized independently. Modes and depths are converted as `images.read_rgb` says.

    Raises:
        DataError: The file is missing, truncated or no image.
    """
    return to_float(_bytes(read_rgb(path), None, size))


def load_mask(path: Path, size: int, kind: MaskKind = "binary", part: View | None = None) -> Tensor:
    """Load a mask, or a part of it, as (1, size, size) float32 of 0 and 1, 1 = anomaly, resized as `resize_mask` says.

    Raises:
        DataError: `images.read_mask` refuses the file.
    """
    mask = read_mask(path, kind)
    seen = mask if part is None else window(mask, part.box)
    return torch.from_numpy(resize_mask(seen, size)).float().unsqueeze(0)


def resize_mask(mask: npt.NDArray[np.bool_], size: int) -> npt.NDArray[np.bool_]:
    """Resize a mask (H, W) bool to (size, size) by exact area.

    A cell is marked where the anomaly covers at least half as much of it as of any neighbour (3 x 3 cells). Inside
    and along the edge of an anomaly that is at least half of the cell; a spot smaller than a cell never
    vanishes, however large the others are, and a thin scratch stays in one piece. A cell of no coverage is
    never marked. A side that grows takes the nearest pixel instead.
    """
    rows, columns = (_overlaps(side, size) for side in mask.shape)
    coverage: npt.NDArray[np.float64] = rows @ mask.astype(np.float64) @ columns.T  # whole numbers: every comparison is exact
    around = sliding_window_view(np.pad(coverage, 1), (3, 3)).max(axis=(2, 3))
    kept: npt.NDArray[np.bool_] = (coverage > 0) & (2 * coverage >= around)
    return kept


def _overlaps(side: int, size: int) -> npt.NDArray[np.float64]:
    """Lengths (size, side) that each cell shares with each pixel, in whole 1 / size of a pixel."""
    cells, pixels = np.arange(size)[:, None], np.arange(side)[None, :]
    if size > side:
        nearest = pixels == (2 * cells + 1) * side // (2 * size)
        return np.asarray(nearest, dtype=np.float64)
    start = np.maximum(cells * side, pixels * size)
    end = np.minimum((cells + 1) * side, (pixels + 1) * size)
    return np.asarray(np.maximum(end - start, 0), dtype=np.float64)


SYMMETRIES = 8
"""Of the square: quarter-turns and flips."""


def draw_symmetry(generator: torch.Generator) -> int:
    """Draw one of the square's 8 symmetries."""
    return int(torch.randint(SYMMETRIES, (), generator=generator))


def view(x: Tensor, symmetry: int) -> Tensor:
    """Turn and flip (..., s, s) by a symmetry of the square, 0 to 7: `symmetry // 2` quarter-turns, and a flip where it is odd."""
    turned = torch.rot90(x, symmetry // 2, (-2, -1))
    return turned.flip(-1) if symmetry % 2 else turned


def augment(image: Tensor, mask: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Turn and flip image (..., s, s) and mask (..., s, s) alike, by any of the square's symmetries."""
    symmetry = draw_symmetry(generator)
    return view(image, symmetry), view(mask, symmetry)


class ImageSet:
    """Records in memory, each file decoded once, at the start; held as bytes, a quarter of float32."""

    def __init__(self, records: Sequence[Record], size: int) -> None:
        """Decode all files, with a progress bar.

        Args:
            records: What to load.
            size: Side of the square tensors in pixels.

        Raises:
            DataError: A file cannot be read; it is named.
        """
        self.records = tuple(records)
        self.size = size
        self._images: list[Tensor] = []
        self._masks: list[Tensor] = []
        read = functools.lru_cache(1)(read_rgb)  # tiles of a photograph follow one another
        with voice.progress(len(self.records), "reading", "image") as bar:
            for record in self.records:
                self._images.append(_bytes(read(record.image), record.view, size))
                none = torch.zeros(1, size, size, dtype=torch.bool)
                mask = none if record.mask is None else load_mask(record.mask, size, record.mask_kind, record.view).bool()
                self._masks.append(mask)
                bar.update(1)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Image (3, s, s) float32 in [-1, 1], mask (1, s, s) float32 of 0 and 1, all 0 for a normal image."""
        return to_float(self._images[index]), self._masks[index].float()


def draw(n_items: int, k: int, generator: torch.Generator) -> list[int]:
    """Draw `k` indices below `n_items`, uniform, with replacement."""
    return torch.randint(n_items, (k,), generator=generator).tolist()


def step_generator(seed: int, step: int) -> torch.Generator:
    """Make the CPU generator of all randomness of one training step.

    It depends on (seed, step) alone, both >= 0: a resumed training continues as if it had never stopped.
    """
    # The step is a spawn key: entropy [seed, step] would give (2**32, 0) and (0, 1) the same stream.
    (state,) = np.random.SeedSequence(seed, spawn_key=(step,)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state))


def _bytes(image: Image.Image, part: View | None, size: int) -> Tensor:
    fitted = image.resize((size, size), Image.Resampling.LANCZOS) if part is None else cut(image, part)
    return torch.from_numpy(np.array(fitted)).permute(2, 0, 1).contiguous()


def to_float(image: Tensor) -> Tensor:
    """Levels 0 to 255 as float32 in [-1, 1]."""
    return image.float() / 127.5 - 1


def to_bytes(image: Tensor) -> Tensor:
    """The nearest levels, uint8, of an image in [-1, 1]."""
    return ((image + 1) * 127.5).round().byte()
