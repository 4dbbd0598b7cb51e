"""`conditioning.safetensors`: what replaces the text encoder and the VAE encoder at generation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, NonNegativeInt, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load

from seas_runtime.bundle.core_files import MAX_HEADER_BYTES, MAX_NORMALS
from seas_runtime.bundle.manifest import Manifest
from seas_runtime.errors import BundleError
from seas_runtime.files import open_regular

Array = NDArray[np.float32]
MASKS = "composite_mask."
"""Begins the names of composites' masks."""


@dataclass(frozen=True)
class Conditioning:
    """Prompt embeddings (L, D) and the normal images' scaled latents (P, C, h, w), all float32.

    `composites`, where there are some, are scaled latents (K, C, h, w) of each type: number k is normal image k mod P with a
    training anomaly placed on it, at `composite_masks` (K, H, W / 8) uint8, eight pixels of a row in a byte, the first one highest.
    """

    prompts: Mapping[str, Array]
    empty: Array
    normal: Array
    mean: Array
    std: Array
    composites: Mapping[str, Array]
    composite_masks: Mapping[str, NDArray[np.uint8]]


def check_header(file: Path, manifest: Manifest) -> None:
    """Compare the header of `file` with the manifest, before the rest is read.

    Raises:
        BundleError: not safetensors, tensors missing or too many, a wrong shape, or a file that is longer than its tensors.
        OSError: it cannot be read.
    """
    with open_regular(file) as stream:
        size = int.from_bytes(stream.read(8), "little")
        if size > MAX_HEADER_BYTES:
            raise BundleError(f"{file}: not readable (a header of {size} bytes); export the bundle again")
        text = stream.read(size)
        length = os.fstat(stream.fileno()).st_size
    try:
        header = _Header.validate_json(text)
    except ValidationError as error:
        raise BundleError(f"{file}: not readable (a header that is none of safetensors); export the bundle again") from error
    header.pop("__metadata__", None)
    _wanted(file, {name: entry.shape for name, entry in header.items() if isinstance(entry, _Entry)}, manifest)
    end = max((entry.data_offsets[1] for entry in header.values() if isinstance(entry, _Entry)), default=0)
    if length != 8 + size + end:
        raise BundleError(f"{file}: has {length} bytes, {8 + size + end} expected; export the bundle again")


class _Entry(BaseModel):
    """What the header of a safetensors file says of a tensor."""

    model_config = ConfigDict(strict=True, extra="forbid")

    dtype: str
    shape: tuple[NonNegativeInt, ...]
    data_offsets: tuple[NonNegativeInt, NonNegativeInt]


_Header = TypeAdapter(dict[str, _Entry | dict[str, str]])


def _wanted(file: Path, found: Mapping[str, tuple[int, ...]], manifest: Manifest) -> dict[str, tuple[int, ...]]:
    """The shapes that the tensors must have; there may be any number of normal images up to `MAX_NORMALS`.

    Composites are there where the manifest says so, as many of each type.
    """
    geometry = manifest.geometry
    prompt = (geometry.prompt_length, geometry.prompt_width)
    images = found.get("normal.mean") or (0,)
    latent = (max(images[0], 1), geometry.latent_channels, geometry.latent_size, geometry.latent_size)
    wanted: dict[str, tuple[int, ...]] = {f"prompt.{name}": prompt for name in manifest.defect_names}
    wanted |= {"prompt.empty": prompt, "prompt.normal": prompt, "normal.mean": latent, "normal.std": latent}
    if manifest.composites:
        count, side = manifest.composites, geometry.image_size
        wanted |= {f"composite.{name}": (count, *latent[1:]) for name in manifest.defect_names}
        wanted |= {f"{MASKS}{name}": (count, side, -(-side // 8)) for name in manifest.defect_names}
    if found.keys() != wanted.keys():
        odd = ", ".join(sorted(found.keys() ^ wanted.keys()))
        raise BundleError(f"{file}: missing or unknown tensors {odd}; export the bundle again")
    if latent[0] > MAX_NORMALS:
        raise BundleError(f"{file}: {latent[0]} normal images found, at most {MAX_NORMALS} expected; export with fewer")
    for name, shape in wanted.items():
        if found[name] != shape:
            raise BundleError(f"{file}: {name} has the shape {found[name]}, {shape} expected; export the bundle again")
    return wanted


def read_conditioning(file: Path, data: bytes, manifest: Manifest) -> Conditioning:
    """Read the bytes `data` of `file`, stored as float16 or float32.

    Raises:
        BundleError: not safetensors, tensors missing or too many, a wrong shape or dtype, NaN or infinity.
    """
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{file}: not readable ({error}); export the bundle again") from error
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    wanted = _wanted(file, shapes, manifest)
    for name, shape in wanted.items():
        tensor = tensors[name]
        kinds = (np.uint8,) if name.startswith(MASKS) else (np.float32, np.float16)
        if tensor.shape != shape or tensor.dtype not in kinds:
            expected = " or ".join(np.dtype(kind).name for kind in kinds)
            raise BundleError(f"{file}: {name} is {tensor.dtype} {tensor.shape}, {expected} {shape} expected")
        if not np.isfinite(tensor).all():
            raise BundleError(f"{file}: {name} holds NaN or infinity; export the bundle again")
    masks = {name: tensors.pop(f"{MASKS}{name}") for name in manifest.defect_names if manifest.composites}
    floats = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
    return Conditioning(
        prompts={name: floats[f"prompt.{name}"] for name in manifest.defect_names},
        empty=floats["prompt.empty"],
        normal=floats["prompt.normal"],
        mean=floats["normal.mean"],
        std=floats["normal.std"],
        composites={name: floats[f"composite.{name}"] for name in manifest.defect_names if manifest.composites},
        composite_masks=masks,
    )
