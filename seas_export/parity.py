"""Every graph's outputs, ONNX Runtime against PyTorch with the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor

from seas_export.graphs import Tensors, Wrapper
from seas_runtime.errors import BundleError
from seas_runtime.manifest import GraphName
from seas_train.run import Run

RELATIVE_L2 = 1e-4
TIMESTEPS = (999, 500, 40)

Figures = dict[str, dict[str, float]]


def relative_l2(found: Tensor, expected: Tensor) -> float:
    """||found - expected|| / ||expected||, in float64."""
    difference = torch.linalg.vector_norm(found.double() - expected.double())
    return float(difference / torch.linalg.vector_norm(expected.double()).clamp(min=1e-30))


def cases(run: Run, wrappers: dict[GraphName, Wrapper]) -> Iterator[tuple[str, dict[GraphName, Tensors]]]:
    """Named inputs of every graph: random ones, then what a sampler meets at three timesteps.

    The batch of each case is another one, so that a batch frozen into a graph is found.
    """
    generator = torch.Generator().manual_seed(1)

    def random(shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=generator)

    yield "random", {
        name: {
            key: torch.randint(1000, (3,), generator=generator) if value.dtype == torch.int64
            else random((3, *value.shape[1:]))
            for key, value in wrapper.example.items()
        }
        for name, wrapper in wrappers.items()
    }
    prompts = [*run.facts.prompts.anomaly.values(), ""]
    for batch, timestep in enumerate(TIMESTEPS, start=1):
        level = run.model.scheduler.alphas_cumprod[timestep]
        clean = run.normal_mean[torch.arange(batch) % len(run.normal_mean)]
        latent = level.sqrt() * clean + (1 - level).sqrt() * random(tuple(clean.shape))
        texts = [prompts[i % len(prompts)] for i in range(batch)]
        unet = {"sample": latent, "timestep": torch.full((batch,), timestep), "prompt": run.embed(texts)}
        tap = {key: value for key, value in wrappers["unet"].run(unet).items() if key != "noise"}
        decoded = wrappers["vae_decoder"].run({"latent": latent})
        features = {key: value for key, value in decoded.items() if key != "image"}
        yield f"t={timestep}", {
            "unet": unet,
            "vae_decoder": {"latent": latent},
            "mask_head": {**tap, **features},
            "decoder": {"latent": latent},
            "mask_branch": {"latent": latent, **tap},
        }


def measure(run: Run, wrappers: dict[GraphName, Wrapper], folder: Path) -> Figures:
    """Largest relative L2 per graph and output over all cases.

    Raises:
        BundleError: an output is not finite or beyond the bound; no bundle must be made of these graphs.
    """
    figures: Figures = {name: {} for name in wrappers}
    inputs = list(cases(run, wrappers))
    for name, wrapper in wrappers.items():
        session = ort.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
        for case, feeds in inputs:
            expected = wrapper.run(feeds[name])
            found = session.run(list(expected), {key: value.numpy() for key, value in feeds[name].items()})
            for (output, truth), array in zip(expected.items(), found, strict=True):
                error = relative_l2(torch.from_numpy(np.asarray(array)), truth)
                if not error <= RELATIVE_L2:  # NaN fails too
                    raise BundleError(
                        f"parity: {name}.{output} at {case} differs from PyTorch by {error:.2e} relative L2, "
                        f"at most {RELATIVE_L2:.0e} is allowed; no bundle was written"
                    )
                figures[name][output] = max(error, figures[name].get(output, 0.0))
    return figures
