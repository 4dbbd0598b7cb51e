"""A judge that has seen plenty: a segmenter of defect types, trained on freshly drawn procedural pairs.

Real products have no such judge. A procedural one does, since any number of pairs can be drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from benchmarks.quality.downstream.fitting import Images, Masks, channels_first, normalise
from benchmarks.quality.downstream.segmentation import jitter
from benchmarks.quality.downstream.segmenters.small import WIDTHS, SmallUNet
from seas_runtime.files import write_atomic
from seas_train.data import demo
from seas_train.data.dataset import draw, step_generator
from seas_train.training.loop import cosine

Labels = npt.NDArray[np.uint8]
BATCH, PEAK_LR = 16, 2e-3


@dataclass(frozen=True)
class Pieces:
    """Images (n, H, W, 3) uint8, masks (n, H, W) bool, types (n,) from 1, 0 for a whole piece: drawn, photographed or generated."""

    images: Images
    masks: Masks
    types: Labels

    def of(self, kind: int) -> Pieces:
        """Those of one type."""
        kept = self.types == kind
        return Pieces(self.images[kept], self.masks[kept], self.types[kept])


def draw_pieces(product: str, defects: Sequence[str | None], size: int, seed: int) -> Pieces:
    """Draw one piece for each entry of `defects`, None for a whole one; piece i depends on (seed, i) and its type alone."""
    names = tuple(demo.PRODUCTS[product].defects)
    pairs = [demo.draw(product, d, size, np.random.default_rng((seed, i))) for i, d in enumerate(defects)]
    types = [0 if d is None else 1 + names.index(d) for d in defects]
    images, masks = (np.stack(part) for part in zip(*pairs, strict=True))
    return Pieces(images, masks > 0, np.array(types, np.uint8))


class Oracle:
    """Says of each pixel which type of defect it shows, if any."""

    def __init__(self, defects: Sequence[str], network: SmallUNet | None = None) -> None:
        self.defects = tuple(defects)
        self.network = network or _network(len(self.defects))

    @torch.inference_mode()
    def labels(self, images: Images, batch: int = 32) -> Labels:
        """Images (n, H, W, 3) uint8 -> (n, H, W), 0 for no defect, else 1 + the type's place in `defects`."""
        parts = [self.network(_tensor(part))[0].argmax(dim=1) for part in _parts(images, batch)]
        return torch.cat(parts).numpy().astype(np.uint8)

    def types(self, labels: Labels) -> Labels:
        """The type (n,) that most defective pixels of `labels` (n, H, W) show, 0 where there are none."""
        counts = np.stack([(labels == kind).sum(axis=(1, 2)) for kind in range(1, len(self.defects) + 1)], axis=1)
        return np.where(counts.any(axis=1), 1 + counts.argmax(axis=1), 0).astype(np.uint8)

    @torch.inference_mode()
    def features(self, images: Images, batch: int = 32) -> list[Tensor]:
        """Feature maps (n, C, h, w) at 1/2, 1/4, 1/8 and 1/16 of the image's side."""
        levels: list[list[Tensor]] = []
        for part in _parts(images, batch):
            x, found = self.network.stem(_tensor(part)), []
            for down in self.network.down:
                x = down(F.max_pool2d(x, 2))
                found.append(x)
            levels.append(found)
        return [torch.cat(level) for level in zip(*levels, strict=True)]

    def save(self, path: Path) -> None:
        """Write the weights."""
        write_atomic(path, save(self.network.state_dict()))

    @classmethod
    def load(cls, defects: Sequence[str], path: Path) -> Oracle:
        """Read what `save` wrote."""
        oracle = cls(defects)
        oracle.network.load_state_dict(load_file(path))
        oracle.network.eval()
        return oracle


def train(defects: Sequence[str], pieces: Pieces, steps: int, seed: int) -> Oracle:
    """Train an oracle on drawn pieces, whole ones among them: cross-entropy over types, Dice of any defect."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        oracle = Oracle(defects)
    network = oracle.network.train()
    images = channels_first(pieces.images)
    labels = torch.from_numpy(pieces.masks * pieces.types[:, None, None])
    optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK_LR)
    for step in range(steps):
        generator = step_generator(seed, step)
        optimizer.param_groups[0]["lr"] = PEAK_LR * cosine(step, steps)
        chosen = draw(len(images), BATCH, generator)
        batch = normalise(torch.stack([jitter(images[i].float(), 0.05, generator) for i in chosen]))
        optimizer.zero_grad(set_to_none=True)
        _loss(network(batch)[0], labels[chosen].long()).backward()
        optimizer.step()
    network.eval()
    return oracle


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    defective, marked = 1 - logits.softmax(dim=1)[:, 0], (labels > 0).float()
    dice = 1 - (2 * (defective * marked).sum() + 1) / (defective.sum() + marked.sum() + 1)
    return F.cross_entropy(logits, labels) + dice


def _network(types: int) -> SmallUNet:
    network = SmallUNet()
    network.head = nn.Conv2d(WIDTHS[0], 1 + types, 1)
    return network


def _tensor(images: Images) -> Tensor:
    return normalise(channels_first(images))


def _parts(images: Images, batch: int) -> list[Images]:
    return [images[i : i + batch] for i in range(0, len(images), batch)]
