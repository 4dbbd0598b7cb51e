"""`conditioning.safetensors`: what replaces the text encoder and the VAE encoder at generation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from seas_runtime.bundle.manifest import Manifest
from seas_runtime.errors import BundleError

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Conditioning:
    """Prompt embeddings (L, D) and the normal images' scaled latents (P, C, h, w), all float32."""

    prompts: Mapping[str, Array]
    empty: Array
    normal: Array
    mean: Array
    std: Array


def read_conditioning(file: Path, data: bytes, manifest: Manifest) -> Conditioning:
    """Read the bytes `data` of `file`, stored as float16 or float32.

    Raises:
        BundleError: not safetensors, tensors missing or too many, a wrong shape or dtype, NaN or infinity.
    """
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{file}: not readable ({error}); export the bundle again") from error
    geometry = manifest.geometry
    prompt = (geometry.prompt_length, geometry.prompt_width)
    latent = (geometry.latent_channels, geometry.latent_size, geometry.latent_size)
    images = len(tensors["normal.mean"]) if "normal.mean" in tensors and tensors["normal.mean"].ndim else 0
    wanted: dict[str, tuple[int, ...]] = {f"prompt.{name}": prompt for name in manifest.defect_names}
    wanted |= {"prompt.empty": prompt, "prompt.normal": prompt}
    wanted |= {"normal.mean": (max(images, 1), *latent), "normal.std": (max(images, 1), *latent)}
    if tensors.keys() != wanted.keys():
        odd = ", ".join(sorted(tensors.keys() ^ wanted.keys()))
        raise BundleError(f"{file}: missing or unknown tensors {odd}; export the bundle again")
    for name, shape in wanted.items():
        tensor = tensors[name]
        if tensor.shape != shape or tensor.dtype not in (np.float16, np.float32):
            raise BundleError(f"{file}: {name} is {tensor.dtype} {tensor.shape}, float32 or float16 {shape} expected")
        if not np.isfinite(tensor).all():
            raise BundleError(f"{file}: {name} holds NaN or infinity; export the bundle again")
    floats = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
    return Conditioning(
        prompts={name: floats[f"prompt.{name}"] for name in manifest.defect_names},
        empty=floats["prompt.empty"],
        normal=floats["prompt.normal"],
        mean=floats["normal.mean"],
        std=floats["normal.std"],
    )
