"""What stays of text encoder and VAE encoder: prompt embeddings and normal-image latents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from seas_runtime.bundle.conditioning import MASKS
from seas_runtime.bundle.manifest import CONDITIONING
from seas_train import run_folder
from seas_train.models import composites as placed
from seas_train.run_folder import Run


def tensors(run: Run) -> dict[str, Tensor]:
    """All conditioning of a run: embeddings (L, D) of every prompt, scaled latent moments (P, C, h, w) of the normals."""
    prompts = run.facts.prompts
    texts = {"empty": "", "normal": prompts.normal, **prompts.anomaly}
    found = {f"prompt.{key}": run.embed([text])[0] for key, text in texts.items()}
    return {**found, "normal.mean": run.normal_mean, "normal.std": run.normal_std}


def composed(run: Run, count: int) -> dict[str, Tensor]:
    """The composites of a run, see `seas_train.models.composites`, and their masks, by the names of their tensors.

    Raises:
        DataError: the run has no pictures, see `run_folder.require_pictures`.
    """
    tune = run.facts.tune
    found = {}
    made = placed.latents(run.model.vae, *run_folder.require_pictures(run), count, tune.augment, tune.seed)
    for defect, (latents, masks) in made.items():
        found[f"composite.{defect}"] = latents
        found[f"{MASKS}{defect}"] = torch.from_numpy(np.packbits(masks.numpy(), axis=-1))
    return found


def write(run: Run, folder: Path, half: bool, composites: int = 0) -> None:
    """Write `conditioning.safetensors`; with `half` the latents, the bulk of it, are stored in half precision.

    Raises:
        DataError: as `composed`, for so many `composites` of each type.
    """

    def stored(name: str, tensor: Tensor) -> Tensor:
        if tensor.dtype == torch.uint8:
            return tensor
        return tensor.to(torch.float32 if not half or name.startswith("prompt.") else torch.float16).contiguous()

    found = tensors(run) | (composed(run, composites) if composites else {})
    save_file({name: stored(name, tensor) for name, tensor in found.items()}, folder / CONDITIONING)
