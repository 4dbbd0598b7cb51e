"""The mask branch of the published implementation: its state dict by name, its batch norms made constants.

The published branch never left training mode: each of its batch norms used the mean and variance of the ten pairs that
were made together, so that a pair depended on its neighbours, and the stored statistics were never read. Here they are
taken once, over a calibration batch (`fold`), and become part of the convolution before the norm.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from seas_runtime.errors import DataError
from seas_train.models.rmp import MaskRefinement, RefinedMaskPredictor, RmpConfig

EPSILON = 1e-5
HEADS = 8
GROUPS = 32
LOW, MID, BLOCKS = "low_feature_conv.0", "mid_feature_conv.0", "mid_attn_block.attentions.0"
UNITS = {
    "feature": "conv1",
    "first.0": "conv2",
    "first.1": "conv3",
    "first.2": "conv4",
    "local": "conv5",
    "second.0": "conv7",
    "second.1": "conv8",
    "second.2": "conv9",
}
"""Convolution, norm and ReLU of a mask refinement module: our name -> the published one. conv6 was never used."""

State = dict[str, Tensor]


@dataclass(frozen=True)
class BatchNorm:
    """The learned part of a batch norm, each (C,): y = gain * (x - mean) / sqrt(variance + epsilon) + bias."""

    gain: Tensor
    bias: Tensor


@dataclass
class Unfolded:
    """A branch whose convolutions still lack their norms: `norms` has one for each of its units and head norms."""

    rmp: RefinedMaskPredictor
    norms: dict[nn.Module, BatchNorm]


def load(path: Path) -> Unfolded:
    """Read the state dict `mask-checkpoint/rmp`.

    Raises:
        DataError: it cannot be read, holds anything but tensors, or lacks, adds or misshapes a weight.
    """
    state = _read(path)
    config = _config(state, path)
    _check_shapes(state, config, path)
    rmp = RefinedMaskPredictor(config)
    published = _weight_names(rmp)
    weights = {
        name: state[published[name]] if name in published else torch.zeros_like(value) for name, value in rmp.state_dict().items()
    }  # the published up-2 and up-3 convolutions have no bias
    rmp.load_state_dict(weights)
    rmp.eval().requires_grad_(False)
    norms = {
        rmp.get_submodule(name): BatchNorm(state[f"{norm}.gain"], state[f"{norm}.bias"]) for name, norm in _norm_names().items()
    }
    return Unfolded(rmp, norms)


@torch.no_grad()
def fold(unfolded: Unfolded, up2: Tensor, up3: Tensor, features: Sequence[list[Tensor]]) -> RefinedMaskPredictor:
    """Run the branch as it was published on a calibration batch, and make the statistics it meets constants.

    Layer by layer over the whole batch, so that on this very batch the folded branch gives what the published one
    does; image by image within a layer, so that ten images of 512 x 512 pixels need about 10 GB. The norm before
    the head has two sets of statistics, of the coarse feature and of the refined one.

    Args:
        unfolded: the branch; its module is folded in place.
        up2: (n, C2, h/2, w/2), the taps of the batch.
        up3: (n, C3, h, w).
        features: for each of the three VAE features a list of n tensors (1, C, r, r). Emptied on the way, to save memory.

    Returns:
        The module, ready to run.
    """
    rmp, norms = unfolded.rmp, unfolded.norms
    maps = list(rmp.coarse(up2, up3).split(1))
    _fix(rmp.coarse_norm, norms[rmp.coarse_norm], maps)
    for module, feature in zip(rmp.refine, features, strict=True):
        maps = _refine(cast("MaskRefinement", module), norms, maps, feature)
    _fix(rmp.fine_norm, norms[rmp.fine_norm], maps)
    return rmp


def shapes(config: RmpConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of everything in a published state dict of these sizes."""
    with torch.device("meta"):
        rmp = RefinedMaskPredictor(config)
    found = {published: tuple(rmp.get_parameter(name).shape) for name, published in _weight_names(rmp).items()}
    unused = [f"MRM{i}.conv6" for i in (1, 2, 3)]
    found.update({f"{conv}.0.weight": (config.width, config.width, 3, 3) for conv in unused})
    for norm in {*_norm_names().values(), *(f"{conv}.1" for conv in unused)}:
        found.update({f"{norm}.{part}": (config.width,) for part in ("gain", "bias", "stored_mean", "stored_var")})
    return found


def _units() -> dict[str, str]:
    return {f"refine.{i}.{ours}": f"MRM{i + 1}.{published}" for i in range(3) for ours, published in UNITS.items()}


def _norm_names() -> dict[str, str]:
    norms = {ours: f"{published}.1" for ours, published in _units().items()}
    return {**norms, "fine_norm": "out_layer.0", "coarse_norm": "out_layer.0"}


def _weight_names(rmp: RefinedMaskPredictor) -> dict[str, str]:
    """Our name of every weight that a published state dict holds -> its name there."""
    names = {f"{ours}.0.weight": f"{published}.0.weight" for ours, published in _units().items()}
    names.update({"coarse.up2.weight": f"{LOW}.weight", "coarse.up3.weight": f"{MID}.weight"})
    names.update({f"coarse.fuse.{name}": f"{BLOCKS}.{name}" for name in rmp.coarse.fuse.state_dict()})
    names.update({f"head.{part}": f"out_layer.2.{part}" for part in ("weight", "bias")})
    return names


def _read(path: Path) -> State:
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected the state dict of the published mask branch")
    try:
        with warnings.catch_warnings(action="ignore"):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    except Exception as error:  # a spoiled pickle can raise anything
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        found = f"asks for {wanted[1]}" if wanted else "is damaged or no state dict"
        raise DataError(
            f"{path}: {found}; nothing but tensors is read from a pickle, which could run any code. "
            "Save the branch with torch.save(rmp.state_dict(), PATH)"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise DataError(f"{path}: holds no dict of tensors by name; save the branch with torch.save(rmp.state_dict(), PATH)")
    for name, value in state.items():
        if not isinstance(value, Tensor) or value.layout != torch.strided or not value.is_floating_point():
            raise DataError(f"{path}: {name} is no floating-point tensor; save the branch with torch.save(rmp.state_dict(), PATH)")
        if not torch.isfinite(value).all():
            raise DataError(f"{path}: weight {name} holds NaN or infinity; the training diverged, train again")
    return {name: value.float() for name, value in state.items()}


def _config(state: State, path: Path) -> RmpConfig:
    """Sizes of a published branch; heads and groups leave no trace in the weights and are those of the publication."""
    names = [f"{LOW}.weight", f"{MID}.weight", *(f"MRM{i}.conv1.0.weight" for i in (1, 2, 3))]
    for name in names:
        if name not in state or state[name].ndim != 4:
            raise DataError(f"{path}: has no convolution {name}; expected the mask branch of the published implementation")
    low, mid, first, second, third = (tuple(state[name].shape) for name in names)
    layers = {name.split(".")[4] for name in state if name.startswith(f"{BLOCKS}.transformer_blocks.")}
    if (low[0] + mid[0]) % HEADS:
        raise DataError(f"{path}: widths {low[0]} + {mid[0]} are no multiple of {HEADS} heads, which the published branch has")
    return RmpConfig(
        up2_channels=low[1],
        up3_channels=mid[1],
        feature_channels=(first[1], second[1], third[1]),
        up2_width=low[0],
        up3_width=mid[0],
        layers=max(1, len(layers)),
        heads=HEADS,
        groups=GROUPS,
        fuse=False,
        align_corners=True,
        norm="folded",
    )


def _check_shapes(state: State, config: RmpConfig, path: Path) -> None:
    expected = shapes(config)
    if missing := sorted(expected.keys() - state.keys()):
        raise DataError(f"{path}: weight {missing[0]} is missing ({len(missing)} in all); copy the whole checkpoint again")
    if unknown := sorted(state.keys() - expected.keys()):
        raise DataError(f"{path}: weight {unknown[0]} is unknown ({len(unknown)} in all); expected an unchanged published branch")
    for name, shape in expected.items():
        if tuple(state[name].shape) != shape:
            raise DataError(f"{path}: weight {name} has shape {tuple(state[name].shape)}, expected {shape}")


def _constants(norm: BatchNorm, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Scale and shift, each (C, 1, 1), that the norm comes to on this batch: (1, C, h, w) per image."""
    moments = [torch.var_mean(x, dim=(0, 2, 3), correction=0) for x in maps]
    variances, means = (torch.stack(part).double() for part in zip(*moments, strict=True))
    mean = means.mean(dim=0)
    variance = variances.mean(dim=0) + means.var(dim=0, correction=0)
    scale = norm.gain.double() / (variance + EPSILON).sqrt()
    shift = norm.bias.double() - mean * scale
    return scale.float().view(-1, 1, 1), shift.float().view(-1, 1, 1)


def _fix(affine: nn.Module, norm: BatchNorm, maps: Sequence[Tensor]) -> None:
    scale, shift = _constants(norm, maps)
    affine.get_parameter("weight").copy_(scale)
    affine.get_parameter("bias").copy_(shift)


def _run(unit: nn.Module, norms: Mapping[nn.Module, BatchNorm], maps: list[Tensor]) -> list[Tensor]:
    """Convolution, norm, ReLU on every image; the norm goes into the convolution. Empties `maps`."""
    conv = unit.get_submodule("0")
    found = [conv(maps.pop(0)) for _ in range(len(maps))]
    scale, shift = _constants(norms[unit], found)
    conv.get_parameter("weight").mul_(scale.unsqueeze(-1))
    conv.get_parameter("bias").copy_(shift.flatten())
    return [x.mul_(scale).add_(shift).relu_() for x in found]


def _refine(
    module: MaskRefinement, norms: Mapping[nn.Module, BatchNorm], maps: list[Tensor], features: list[Tensor]
) -> list[Tensor]:
    """`MaskRefinement.forward` on every image, unit by unit. Empties `features`."""
    ups = [module.upsample(d) for d in maps]
    sums = _run(module.local, norms, list(ups))
    x = list(ups)
    for block in (module.first, module.second):
        for unit in block:
            x = _run(unit, norms, x)
        for total, part in zip(sums, x, strict=True):
            total.add_(part)
    x.clear()
    visual = _run(module.feature, norms, features)
    return [v.mul_(total).add_(up) for v, total, up in zip(visual, sums, ups, strict=True)]
