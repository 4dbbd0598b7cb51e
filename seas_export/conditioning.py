"""What stays of text encoder and VAE encoder: prompt embeddings and normal-image latents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from seas_runtime.bundle.conditioning import MASKS
from seas_runtime.bundle.manifest import COMPOSITE_ANOMALIES, CONDITIONING
from seas_train import run_folder
from seas_train.data import placing
from seas_train.data.images import png
from seas_train.models import composites as placed
from seas_train.models.composites import Composite
from seas_train.run_folder import Run

CUT = ("tile", "crop")
"""Fits whose pictures end where their photographs do not."""


def tensors(run: Run) -> dict[str, Tensor]:
    """All conditioning of a run: embeddings (L, D) of every prompt, scaled latent moments (P, C, h, w) of the normals."""
    prompts = run.facts.prompts
    texts = {"empty": "", "normal": prompts.normal, **prompts.anomaly}
    found = {f"prompt.{key}": run.embed([text])[0] for key, text in texts.items()}
    return {**found, "normal.mean": run.normal_mean, "normal.std": run.normal_std}


def composites_of(run: Run, count: int, an_image: float) -> dict[str, list[Composite]]:
    """The composites of a run, see `seas_train.models.composites`.

    Raises:
        DataError: the run has no pictures, see `run_folder.require_pictures`.
    """
    tune = run.facts.tune
    normals, anomalies = run_folder.require_pictures(run)
    cut = run.facts.fit in CUT
    placeable = {defect: placing.uncut(pairs) if cut else pairs for defect, pairs in anomalies.items()}
    return placed.composites(run.model.vae, normals, placeable, count, tune.augment, tune.seed, an_image)


def _tensors(made: Mapping[str, Sequence[Composite]]) -> dict[str, Tensor]:
    """Latents and masks of composites, by the names of their tensors."""
    found = {}
    for defect, each in made.items():
        found[f"composite.{defect}"] = torch.stack([one.latent for one in each])
        found[f"{MASKS}{defect}"] = torch.from_numpy(np.packbits(torch.stack([one.mask for one in each]).numpy(), axis=-1))
    return found


def write(
    run: Run, folder: Path, half: bool, composites: int = 0, patches: Sequence[str] = (), an_image: float = COMPOSITE_ANOMALIES
) -> None:
    """Write `conditioning.safetensors`; with `half` the latents, the bulk of it, are stored in half precision.

    Args:
        run: whose conditioning it is.
        folder: of the bundle.
        half: see above.
        composites: how many of each type come along.
        patches: files below `folder` for what they change of their photographs, type by type; none for none.
        an_image: anomalies of a composite in the mean.

    Raises:
        DataError: as `composites_of`.
    """

    def stored(name: str, tensor: Tensor) -> Tensor:
        if tensor.dtype == torch.uint8:
            return tensor
        return tensor.to(torch.float32 if not half or name.startswith("prompt.") else torch.float16).contiguous()

    made = composites_of(run, composites, an_image) if composites else {}
    found = tensors(run) | _tensors(made)
    if patches:
        for name, one in zip(patches, chain.from_iterable(made.values()), strict=True):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(png(Image.fromarray(one.patch.numpy())))
    save_file({name: stored(name, tensor) for name, tensor in found.items()}, folder / CONDITIONING)
