"""What the end of a pair costs at smaller sizes: decoders and mask branches of several channels, one thread of ONNX Runtime.

    python -m benchmarks.experiments.tail

At the demo's size, with random weights: its own decoder and branch first, then small decoders (`seas-train masks --decoder small`)
and branches of fewer channels or blocks. Saves results/tail.json.
"""

from __future__ import annotations

from collections.abc import Callable
from tempfile import TemporaryDirectory
from typing import Any

import click
import onnxruntime
import torch
from torch import Tensor, nn

from benchmarks.experiments import turns
from seas_train.models import components, small_decoder, taps
from seas_train.models.rmp import RefinedMaskPredictor, RmpConfig

DECODERS = {
    "small, 8,16,48,64": (8, 16, 48, 64),
    "small, 8,24,64,96": (8, 24, 64, 96),
    "small, 8,16,32,32": (8, 16, 32, 32),
}
BRANCHES: dict[str, dict[str, Any]] = {
    "32 + 16 channels": {},
    "32 + 16 channels, one block": {"mrm": "b"},
    "16 + 8 channels": {"up2_width": 16, "up3_width": 8},
    "16 + 8 channels, one block": {"up2_width": 16, "up3_width": 8, "mrm": "b"},
}


class Decoder(nn.Module):
    """An autoencoder's decoder as a graph, latents (n, C, h, w) -> images (n, 3, H, W)."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latents: Tensor) -> Tensor:
        """See `taps.decode`."""
        return taps.decode(self.vae, latents)


def call(module: nn.Module, given: tuple[Tensor, ...]) -> Callable[[], object]:
    """The module as a graph, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with TemporaryDirectory() as folder, torch.no_grad():
        torch.onnx.export(module.eval(), given, f"{folder}/graph.onnx", dynamo=False)
        session = onnxruntime.InferenceSession(f"{folder}/graph.onnx", options, providers=["CPUExecutionProvider"])
    feeds = {spec.name: value.numpy() for spec, value in zip(session.get_inputs(), given, strict=True)}
    return lambda: session.run(None, feeds)


def calls(pairs: int) -> tuple[dict[str, Callable[[], object]], dict[str, Callable[[], object]]]:
    """Decoders and branches, their own ones first."""
    geometry, generator = components.GEOMETRIES["demo"], torch.Generator().manual_seed(0)
    model = components.build(geometry, ["an object with a defect"])
    up2, up3, features = taps.channels(model.unet, model.vae)
    side = model.latent_shape[-1]

    def random(channels: int, size: int) -> Tensor:
        return torch.randn(pairs, channels, size, size, generator=generator)

    given = random(up2, side // 2), random(up3, side), *(random(c, side * 2**k) for k, c in enumerate(features, start=1))
    sizes = {"up2_channels": up2, "up3_channels": up3, "feature_channels": features, "groups": 8}
    branches = {
        name: call(RefinedMaskPredictor(RmpConfig(**{**sizes, "up2_width": 32, "up3_width": 16, **other})), given)
        for name, other in BRANCHES.items()
    }
    latents = (random(model.latent_shape[0], side),)
    decoders = {"own": call(Decoder(model.vae), latents)}
    for name, channels in DECODERS.items():
        small_decoder.attach(model.vae, small_decoder.build(small_decoder.config_for(model.vae, channels)))
        decoders[name] = call(Decoder(model.vae), latents)
    return decoders, branches


@click.command(help=__doc__)
@turns.PAIRS
@turns.ROUNDS
def main(pairs: int, rounds: int) -> None:
    """Measure and save."""
    decoders, branches = calls(pairs)
    found = {"decoders": turns.take_turns(decoders, rounds), "branches": turns.take_turns(branches, rounds)}
    for kind, table in found.items():
        click.echo(kind)
        turns.show(table)
    turns.save("tail", "python -m benchmarks.experiments.tail", {"pairs": pairs, **found})


if __name__ == "__main__":
    main()
