"""Trace-only wrappers: the unmodified modules, seen as the graphs of a bundle.

Names and order of every graph's tensors stand in one table, `seas_runtime.bundle.graphs.GRAPH_INPUTS` and `GRAPH_OUTPUTS`; the
wrappers' signatures follow it, and `Wrapper.specs` reads the shapes off one forward pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from seas_runtime.bundle.graphs import GRAPH_INPUTS, GRAPH_OUTPUTS, GraphName, TensorSpec
from seas_train import run_folder
from seas_train.models import taps
from seas_train.models.components import Components
from seas_train.models.rmp import RefinedMaskPredictor
from seas_train.run_folder import Run

Tensors = dict[str, Tensor]
_DTYPES = {torch.float32: "float32", torch.float16: "float16", torch.int64: "int64"}


class UNet(nn.Module):
    """What the U-Net predicts, with decoder taps; the output is called noise where it is v, too: see the manifest's schedule."""

    def __init__(self, model: Components) -> None:
        super().__init__()
        self.unet = model.unet

    def forward(self, sample: Tensor, timestep: Tensor, prompt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Latents (n, C, h, w), timesteps (n,) int64, embeddings (n, L, D) -> noise, up2, up3."""
        with taps.decoder_taps(self.unet) as tap:
            noise = self.unet(sample, timestep, prompt, return_dict=False)[0]
        return noise, tap.up2, tap.up3


class VaeDecoder(nn.Module):
    """Image and the features of the first three up-blocks."""

    def __init__(self, model: Components) -> None:
        super().__init__()
        self.vae = model.vae

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Scaled latents (n, C, h, w) -> image (n, 3, H, W), feature1, feature2, feature3."""
        return decoded(self.vae, latent)


class MaskHead(nn.Module):
    """Anomaly probability from U-Net taps and VAE features."""

    def __init__(self, rmp: RefinedMaskPredictor) -> None:
        super().__init__()
        self.rmp = rmp

    def forward(self, up2: Tensor, up3: Tensor, feature1: Tensor, feature2: Tensor, feature3: Tensor) -> Tensor:
        """Taps and features -> (n, 1, H, W) in [0, 1]."""
        return self.rmp(up2, up3, feature1, feature2, feature3)


class Decoder(nn.Module):
    """The image alone."""

    def __init__(self, model: Components) -> None:
        super().__init__()
        self.vae = model.vae

    def forward(self, latent: Tensor) -> Tensor:
        """Scaled latents (n, C, h, w) -> image (n, 3, H, W), about [-1, 1]."""
        return taps.decode(self.vae, latent)


class MaskBranch(nn.Module):
    """From the latent that enters a step to the mask, without up-block 4; the features stay inside."""

    def __init__(self, model: Components, rmp: RefinedMaskPredictor) -> None:
        super().__init__()
        self.vae = model.vae
        self.rmp = rmp

    def forward(self, latent: Tensor, up2: Tensor, up3: Tensor) -> Tensor:
        """Scaled latents and taps -> probability (n, 1, H, W)."""
        return self.rmp(up2, up3, *taps.decode_features(self.vae, latent))


class Finish(nn.Module):
    """One look at the finished latent: picture and mask of a single decode."""

    def __init__(self, model: Components, rmp: RefinedMaskPredictor) -> None:
        super().__init__()
        self.vae = model.vae
        self.rmp = rmp

    def forward(self, latent: Tensor, up2: Tensor, up3: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled latents and taps -> image (n, 3, H, W), about [-1, 1], and probability (n, 1, H, W)."""
        image, *features = decoded(self.vae, latent)
        return image, self.rmp(up2, up3, *features)


def decoded(vae: AutoencoderKL, latent: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Image and the features of the first three up-blocks, of scaled latents."""
    features = taps.decode_features(vae, latent)
    decoder = vae.decoder
    last = decoder.up_blocks[3](features[2])
    return decoder.conv_out(decoder.conv_act(decoder.conv_norm_out(last))), *features


@dataclass(frozen=True)
class Wrapper:
    """One graph: its module and example inputs of batch 2."""

    name: GraphName
    module: nn.Module
    example: Tensors

    @torch.inference_mode()
    def run(self, inputs: Mapping[str, Tensor]) -> Tensors:
        """Run the module on named inputs; outputs by name."""
        return self._named(self.module(*(inputs[name] for name in GRAPH_INPUTS[self.name])))

    def shapes(self) -> Tensors:
        """Outputs for the example without their values, by name: nothing is computed."""
        with FakeTensorMode(allow_non_fake_inputs=True) as fake, torch.no_grad():
            return self._named(self.module(*(fake.from_tensor(self.example[name]) for name in GRAPH_INPUTS[self.name])))

    def specs(self) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """Inputs and outputs as the manifest states them."""
        return _specs(self.example), _specs(self.shapes())

    def _named(self, outputs: Tensor | tuple[Tensor, ...]) -> Tensors:
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return dict(zip(GRAPH_OUTPUTS[self.name], outputs, strict=True))


def _specs(tensors: Tensors) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name=name, dtype=_DTYPES[tensor.dtype], shape=("n", *tensor.shape[1:])) for name, tensor in tensors.items()
    )


def wrappers(run: Run) -> dict[GraphName, Wrapper]:
    """The five graphs of a run, with random example inputs; the last is `mask_branch`, or `finish` for one look at the end.

    Raises:
        DataError: the run has no mask branch.
    """
    model, rmp = run.model, run_folder.require_graphs(run)
    generator = torch.Generator().manual_seed(0)
    shape = (2, *run.normal_mean.shape[1:])
    sample = torch.randn(shape, generator=generator)
    prompt = run.embed([run.facts.prompts.normal, ""])
    unet = Wrapper("unet", UNet(model), {"sample": sample, "timestep": torch.tensor([981, 20]), "prompt": prompt})
    decoder = Wrapper("vae_decoder", VaeDecoder(model), {"latent": sample})
    shapes = {**unet.shapes(), **decoder.shapes()}

    def random(*names: str) -> Tensors:
        return {name: torch.randn(shapes[name].shape, generator=generator) for name in names}

    tap, features = random("up2", "up3"), random("feature1", "feature2", "feature3")
    last = (
        Wrapper("mask_branch", MaskBranch(model, rmp), {"latent": sample, **tap})
        if run.look is None
        else Wrapper("finish", Finish(model, rmp), {"latent": sample, **tap})
    )
    return {
        "unet": unet,
        "vae_decoder": decoder,
        "mask_head": Wrapper("mask_head", MaskHead(rmp), {**tap, **features}),
        "decoder": Wrapper("decoder", Decoder(model), {"latent": sample}),
        last.name: last,
    }
