"""A small network of our own in place of Inception and VGG, for machines that have no published weights.

It tells the procedural products and their defects apart and reads the palette of a piece. What it measures is
labelled `proxy` and can be compared with itself alone. Its weights are committed, so that every machine measures alike;
this made them, in under two minutes on one core:

    python -m benchmarks.quality.metrics.proxy
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from benchmarks.quality.downstream.fitting import channels_first
from benchmarks.quality.metrics.inception import Activations
from seas_train.data import demo
from seas_train.data.dataset import augment, draw, step_generator
from seas_train.training.loop import cosine

WEIGHTS = Path(__file__).with_name("proxy.safetensors")
SIDE = 128
WIDTHS = (16, 32, 64, 96)
CLASSES: tuple[tuple[str, str | None], ...] = tuple(
    (name, defect) for name, product in demo.PRODUCTS.items() for defect in (None, *product.defects)
)
"""Product and defect type, None for a whole piece."""
_COLOURS = 9
_BATCH, _PEAK_LR, _COLOUR_WEIGHT = 32, 2e-3, 4.0


class Proxy(nn.Module):
    """Four convolutions of stride 2 at 128 x 128; features (192) are the last map's means and maxima."""

    def __init__(self) -> None:
        super().__init__()
        channels = (3, *WIDTHS)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels[i], width, 5 if i == 0 else 3, 2, 2 if i == 0 else 1),
                nn.GroupNorm(8, width),
                nn.ReLU(),
            )
            for i, width in enumerate(WIDTHS)
        )
        self.kinds = nn.Linear(2 * WIDTHS[-1], len(CLASSES))
        self.colours = nn.Linear(2 * WIDTHS[-1], _COLOURS)
        self.places = nn.Conv2d(WIDTHS[-1], 1, 1)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Images (n, 3, H, W), 0 to 255 -> the output (n, c, h, w) of each block."""
        x = images.float()
        if x.shape[2:] != (SIDE, SIDE):
            x = F.interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True)
        x, found = x / 127.5 - 1, []
        for block in self.blocks:
            x = block(x)
            found.append(x)
        return found

    @torch.inference_mode()
    def forward(self, images: Tensor) -> Activations:
        """Classify images (n, 3, H, W) uint8."""
        features = pooled(self.maps(images)[-1])
        return Activations(self.kinds(features), features)


def pooled(last: Tensor) -> Tensor:
    """Features (n, 2 c) of a map (n, c, h, w)."""
    return torch.cat([last.mean(dim=(2, 3)), last.amax(dim=(2, 3))], dim=1)


def train(per_class: int, steps: int, seed: int) -> Proxy:
    """Train on freshly drawn pieces, each with a palette of its own, turned and flipped.

    Args:
        per_class: Pieces of each of `CLASSES`.
        steps: Optimiser steps of 32 pieces.
        seed: Of pieces, order and initial weights.
    """
    pieces = _pieces(per_class, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Proxy()
    optimizer = torch.optim.AdamW(network.parameters(), lr=_PEAK_LR)
    for step in range(steps):
        generator = step_generator(seed, step)
        optimizer.param_groups[0]["lr"] = _PEAK_LR * cosine(step, steps)
        chosen = draw(len(pieces.images), _BATCH, generator)
        loss = _loss(network, pieces, chosen, generator)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
    return network.eval().requires_grad_(False)


def accuracy(network: Proxy, per_class: int, seed: int) -> float:
    """Share of freshly drawn pieces whose product and defect type are told correctly."""
    pieces = _pieces(per_class, seed)
    found = [network(pieces.images[i : i + _BATCH]).logits.argmax(dim=1) for i in range(0, len(pieces.images), _BATCH)]
    return float((torch.cat(found) == pieces.kinds).float().mean())


class _Pieces(NamedTuple):
    """Images (n, 3, s, s) uint8, masks (n, 1, s, s) bool, class numbers (n,), the palettes' colours (n, 9) in [0, 1]."""

    images: Tensor
    masks: Tensor
    kinds: Tensor
    colours: Tensor


def _pieces(per_class: int, seed: int) -> _Pieces:
    drawn, kinds, colours = [], [], []
    for kind, (product, defect) in enumerate(CLASSES):
        for i in range(per_class):
            rng = np.random.default_rng((seed, kind, i))
            palette = demo.vary(product, 1.0, rng)
            drawn.append(demo.draw(product, defect, SIDE, rng, palette))
            kinds.append(kind)
            colours.append((*palette.body, *palette.accent, *palette.background))
    images, masks = (np.stack(part) for part in zip(*drawn, strict=True))
    return _Pieces(
        channels_first(images),
        torch.from_numpy(masks > 0)[:, None],
        torch.tensor(kinds),
        torch.tensor(colours, dtype=torch.float32),
    )


def _loss(network: Proxy, pieces: _Pieces, chosen: list[int], generator: torch.Generator) -> Tensor:
    """Of class, colours, and where the defect is: the last speeds learning up, since most defects are small."""
    views = [augment(pieces.images[i], pieces.masks[i], generator) for i in chosen]
    images, masks = (torch.stack(part) for part in zip(*views, strict=True))
    last = network.maps(images)[-1]
    features = pooled(last)
    places = F.adaptive_max_pool2d(masks.float(), last.shape[2:])
    loss = F.cross_entropy(network.kinds(features), pieces.kinds[chosen])
    loss = loss + F.binary_cross_entropy_with_logits(network.places(last), places)
    return loss + _COLOUR_WEIGHT * F.mse_loss(network.colours(features), pieces.colours[chosen])


@click.command(help=__doc__)
@click.option("--per-class", default=150, show_default=True, help="Pieces of each product and defect type.")
@click.option("--steps", default=900, show_default=True, help="Optimiser steps.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=WEIGHTS)
def main(*, per_class: int, steps: int, seed: int, out: Path) -> None:
    """Train the network, save its weights, say how well it does on pieces it has not seen."""
    network = train(per_class, steps, seed)
    save_file(network.state_dict(), out)
    click.echo(f"saved {out}; {accuracy(network, 20, seed + 1):.0%} of unseen pieces told correctly")


if __name__ == "__main__":
    main()
