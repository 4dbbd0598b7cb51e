"""What the autoencoder that comes along is worth on images it has not seen: the same training from it and from random weights.

    python -m benchmarks.codec_start --data data/bottle --steps 200

Writes codec_start_NAME.json and .md: the mean difference of images and what the autoencoder makes of them, before and after so many
steps, on whole images that it does not learn from.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from benchmarks import common
from seas_train.base import codec, vae
from seas_train.base.settings import BaseSettings
from seas_train.config import resolve
from seas_train.data import layouts
from seas_train.data.dataset import ImageSet
from seas_train.models import components

STARTS: dict[str, Callable[[AutoencoderKL], object]] = {"random": lambda _network: None, "drawn": codec.load}


@torch.no_grad()
def difference(network: AutoencoderKL, images: Tensor) -> float:
    """Mean absolute difference of images (n, 3, H, W) in [-1, 1] and their reconstructions, in grey levels of 255."""
    parts = [network.decode(network.encode(part).latent_dist.mean).sample - part for part in images.split(8)]
    return float(torch.cat(parts).abs().mean()) * 127.5


def trained(start: str, learned: ImageSet, images: Tensor, stops: tuple[int, ...]) -> dict[int, float]:
    """The difference on `images` before any and after so many steps, of trainings of their own, as each ends its learning rate."""
    found = {}
    for steps in (0, *stops):
        settings = resolve(BaseSettings, "demo", None, {"vae_steps": max(steps, 1), "vae_start": start, "defects": False})
        torch.manual_seed(settings.seed)
        network = components.build(components.GEOMETRIES["demo"], ["a part"]).vae
        STARTS[start](network)
        if steps:
            with tempfile.TemporaryDirectory() as folder:
                vae.train(network, learned, Path(folder), settings)
        found[steps] = difference(network.eval(), images)
    return found


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="A product's folder.")
@click.option("--steps", type=click.IntRange(1), multiple=True, default=(50, 200), show_default=True, help="May be repeated.")
@click.option("--results", type=click.Path(path_type=Path), default=common.RESULTS, show_default=True)
def main(data: Path, steps: tuple[int, ...], results: Path) -> None:
    """Train, compare, write."""
    product = layouts.read(data)
    held_out, learned = product.normals[:16], product.normals[16:]
    side = components.GEOMETRIES["demo"].image_size
    unseen = ImageSet(held_out, side)
    images = torch.stack([unseen[i][0] for i in range(len(unseen))])
    found = {start: trained(start, ImageSet(learned, side), images, tuple(sorted(steps))) for start in STARTS}
    facts: dict[str, Any] = {
        "command": f"python -m benchmarks.codec_start --data {data.name} {' '.join(f'--steps {number}' for number in steps)}",
        "images": {"learned": len(learned), "unseen": len(held_out), "side": side},
        "grey_levels": found,
        **common.machine(),
    }
    lines = [
        "# The autoencoder that comes along",
        "",
        f"Mean difference, in grey levels, of {len(held_out)} unseen photographs of {product.name} and of what it makes of them,",
        f"after so many steps on {len(learned)} others, from random weights and from those that have learned drawn images.",
        "",
        "| steps | random | drawn |",
        "|---:|---:|---:|",
        *(f"| {step} | {found['random'][step]:.1f} | {found['drawn'][step]:.1f} |" for step in found["random"]),
        "",
        *common.listed(facts, "command", "machine", "versions", "commit"),
        "",
    ]
    common.save(results / f"codec_start_{product.name}", facts, "\n".join(lines))
    click.echo("\n".join(lines))


if __name__ == "__main__":
    main()
