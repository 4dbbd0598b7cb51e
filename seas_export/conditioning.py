"""What stays of text encoder and VAE encoder: prompt embeddings and normal-image latents."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from seas_runtime.bundle.manifest import CONDITIONING
from seas_train import run_folder
from seas_train.data import placing
from seas_train.models import components
from seas_train.run_folder import Run


def tensors(run: Run) -> dict[str, Tensor]:
    """All conditioning of a run: embeddings (L, D) of every prompt, scaled latent moments (P, C, h, w) of the normals."""
    prompts = run.facts.prompts
    texts = {"empty": "", "normal": prompts.normal, **prompts.anomaly}
    found = {f"prompt.{key}": run.embed([text])[0] for key, text in texts.items()}
    return {**found, "normal.mean": run.normal_mean, "normal.std": run.normal_std}


def composites(run: Run, count: int) -> dict[str, Tensor]:
    """Scaled latents (count, C, h, w) of each type: number k is normal image k mod P with a training anomaly placed on it.

    Raises:
        DataError: the run has no pictures, see `run_folder.require_pictures`.
    """
    normals, anomalies = run_folder.require_pictures(run)
    found = {}
    for defect, pairs in anomalies.items():
        placed = placing.composites(normals, pairs, count, run.facts.tune.augment, run.facts.tune.seed)
        found[f"composite.{defect}"], _ = components.encode_each(run.model.vae, (each.image for each in placed))
    return found


def write(run: Run, folder: Path, half: bool, composed: int = 0) -> None:
    """Write `conditioning.safetensors`; with `half` the latents, the bulk of it, are stored in half precision.

    Raises:
        DataError: as `composites`, of which there are so many `composed` of each type.
    """

    def stored(name: str, tensor: Tensor) -> Tensor:
        return tensor.to(torch.float32 if not half or name.startswith("prompt.") else torch.float16).contiguous()

    found = tensors(run) | (composites(run, composed) if composed else {})
    save_file({name: stored(name, tensor) for name, tensor in found.items()}, folder / CONDITIONING)
