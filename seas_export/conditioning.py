"""What stays of text encoder and VAE encoder: prompt embeddings and normal-image latents."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from seas_runtime.bundle.manifest import CONDITIONING
from seas_train.run_folder import Run


def tensors(run: Run) -> dict[str, Tensor]:
    """All conditioning of a run: embeddings (L, D) of every prompt, scaled latent moments (P, C, h, w) of the normals."""
    prompts = run.facts.prompts
    texts = {"empty": "", "normal": prompts.normal, **prompts.anomaly}
    found = {f"prompt.{key}": run.embed([text])[0] for key, text in texts.items()}
    return {**found, "normal.mean": run.normal_mean, "normal.std": run.normal_std}


def write(run: Run, folder: Path, half: bool) -> None:
    """Write `conditioning.safetensors`; with `half` the latents, the bulk of it, are stored in half precision."""

    def stored(name: str, tensor: Tensor) -> Tensor:
        return tensor.to(torch.float16 if half and name.startswith("normal.") else torch.float32).contiguous()

    save_file({name: stored(name, tensor) for name, tensor in tensors(run).items()}, folder / CONDITIONING)
