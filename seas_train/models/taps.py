"""What SeaS reads inside the stock networks: cross-attention maps, U-Net decoder taps, VAE decoder features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor

from seas_train.errors import SettingsError

Softmax = Literal["paper", "published"]


@dataclass
class DecoderTaps:
    """Outputs of the U-Net's second and third decoder level in the latest forward pass.

    up2 is (n, C2, h/2, w/2), up3 is (n, C3, h, w): 1280 x 32 x 32 and 640 x 64 x 64 for v1-4 at 512 x 512 (sec. 3.3).
    """

    up2: Tensor
    up3: Tensor


@contextmanager
def decoder_taps(unet: UNet2DConditionModel) -> Iterator[DecoderTaps]:
    """Record the decoder taps of every forward pass inside the block."""
    taps = DecoderTaps(torch.empty(0), torch.empty(0))
    hooks = [
        unet.up_blocks[1].register_forward_hook(lambda _m, _i, out: setattr(taps, "up2", out)),
        unet.up_blocks[2].register_forward_hook(lambda _m, _i, out: setattr(taps, "up3", out)),
    ]
    try:
        yield taps
    finally:
        for hook in hooks:
            hook.remove()


@dataclass
class AttentionMaps:
    """Cross-attention maps of the latest forward pass, by encoder level (1-based, as in the paper's "down-2")."""

    layers: dict[int, list[Tensor]] = field(default_factory=dict)

    def level(self, level: int) -> Tensor:
        """Mean over the level's attention layers: (n, r, r, L), heads averaged (eq. 8)."""
        return torch.stack(self.layers[level]).mean(dim=0)


class _Recorder:
    """Attention written out, so that its probabilities can be kept; equal to the fused processor it stands in for."""

    def __init__(self, store: list[Tensor], softmax: Softmax) -> None:
        self.store = store
        self.softmax = softmax

    def __call__(self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor, **_: object) -> Tensor:
        query = attn.head_to_batch_dim(attn.to_q(hidden_states))
        key = attn.head_to_batch_dim(attn.to_k(encoder_hidden_states))
        value = attn.head_to_batch_dim(attn.to_v(encoder_hidden_states))
        scores = query @ key.transpose(-1, -2) * attn.scale
        probabilities = scores.softmax(dim=-1)
        kept = probabilities if self.softmax == "paper" else scores.softmax(dim=-2)
        n, cells, tokens = len(hidden_states), scores.shape[1], scores.shape[2]
        side = round(cells**0.5)
        self.store.append(kept.view(n, -1, side, side, tokens).mean(dim=1))
        return attn.to_out[1](attn.to_out[0](attn.batch_to_head_dim(probabilities @ value)))


@contextmanager
def cross_attention(
    unet: UNet2DConditionModel, levels: Sequence[int], softmax: Softmax = "paper"
) -> Iterator[AttentionMaps]:
    """Record the cross-attention of encoder levels during every forward pass inside the block.

    Only the layers of these levels compute their probabilities; all others keep fused attention.

    Args:
        unet: the stock U-Net.
        levels: 1-based encoder levels; (2, 3) in the paper.
        softmax: over tokens ("paper", eq. 2) or over positions ("published").

    Raises:
        SettingsError: a level without attention.
    """
    layers = {level: _cross_attention_layers(unet, level) for level in levels}
    maps = AttentionMaps({level: [] for level in layers})
    stock = [(layer, layer.processor) for level in layers.values() for layer in level]

    def clear(*_: object) -> None:
        for store in maps.layers.values():
            store.clear()

    hook = unet.register_forward_pre_hook(clear)
    for level, attentions in layers.items():
        for attention in attentions:
            attention.processor = _Recorder(maps.layers[level], softmax)
    try:
        yield maps
    finally:
        hook.remove()
        for attention, processor in stock:
            attention.processor = processor


def _cross_attention_layers(unet: UNet2DConditionModel, level: int) -> list[Attention]:
    blocks = getattr(unet.down_blocks[level - 1], "attentions", []) if 0 < level <= len(unet.down_blocks) else []
    if not blocks:
        raise SettingsError(f"attention level {level}: found no attention there; choose from 1, 2, 3")
    return [layer.attn2 for block in blocks for layer in block.transformer_blocks]


def decode_features(vae: AutoencoderKL, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs of the VAE decoder's first three up-blocks; the fourth and the output convolution do not run.

    Args:
        vae: the autoencoder.
        latents: (n, C, h, w), scaled.

    Returns:
        (n, C1, 2h, 2w), (n, C2, 4h, 4w), (n, C3, 8h, 8w).
    """
    decoder = vae.decoder
    x = decoder.mid_block(decoder.conv_in(vae.post_quant_conv(latents / vae.config.scaling_factor)))
    features = []
    for block in decoder.up_blocks[:3]:
        x = block(x)
        features.append(x)
    return features[0], features[1], features[2]


def channels(unet: UNet2DConditionModel, vae: AutoencoderKL) -> tuple[int, int, tuple[int, int, int]]:
    """Channels of the taps up-2 and up-3, and of the three VAE features."""
    up2, up3 = (int(block.resnets[-1].out_channels) for block in unet.up_blocks[1:3])
    first, second, third = (int(block.resnets[-1].out_channels) for block in vae.decoder.up_blocks[:3])
    return up2, up3, (first, second, third)


def decode(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Images (n, 3, H, W), about [-1, 1], of scaled latents (n, C, h, w)."""
    return vae.decode(latents / vae.config.scaling_factor).sample
