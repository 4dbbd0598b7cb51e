"""What SeaS reads inside the stock networks: cross-attention maps, U-Net decoder taps, VAE decoder features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor

from seas_runtime.errors import SettingsError
from seas_train.losses import at_least_single

Softmax = Literal["paper", "published"]
Features = Literal["decoder", "encoder"]


@dataclass
class DecoderTaps:
    """Outputs of the U-Net's decoder levels in the latest forward pass.

    up1 (n, C1, h/4, w/4), up2 (n, C2, h/2, w/2), up3 (n, C3, h, w), up4 (n, C4, h, w): 1280 x 16 x 16, 1280 x 32 x 32,
    640 x 64 x 64 and 320 x 64 x 64 for v1-4 at 512 x 512 (sec. 3.3; tab. 25).
    """

    up1: Tensor
    up2: Tensor
    up3: Tensor
    up4: Tensor

    def more(self, levels: Sequence[int]) -> tuple[Tensor, ...]:
        """The taps of these levels beside up2 and up3, in rising order."""
        return tuple(getattr(self, f"up{level}") for level in (1, 4) if level in levels)


@contextmanager
def decoder_taps(unet: UNet2DConditionModel) -> Iterator[DecoderTaps]:
    """Record the decoder taps of every forward pass inside the block."""
    taps = DecoderTaps(*[torch.empty(0)] * 4)

    def keep(name: str) -> Callable[..., None]:
        return lambda _module, _inputs, output: setattr(taps, name, output)

    hooks = [block.register_forward_hook(keep(f"up{i}")) for i, block in enumerate(unet.up_blocks, start=1)]
    try:
        yield taps
    finally:
        for hook in hooks:
            hook.remove()


@dataclass
class AttentionMaps:
    """Cross-attention maps of the latest forward pass, by encoder level (1-based, as in the paper's "down-2")."""

    layers: dict[int, list[Tensor]] = field(default_factory=dict)
    open: bool = False

    def level(self, level: int) -> Tensor:
        """Mean over the level's attention layers: (n, r, r, L), heads averaged (eq. 8)."""
        return torch.stack(self.layers[level]).mean(dim=0)

    def begin(self, *_: object) -> None:
        """A forward pass begins: the maps of the one before go."""
        for store in self.layers.values():
            store.clear()
        self.open = True

    def end(self, *_: object) -> None:
        """It is over; what gradient checkpointing computes again is not kept a second time."""
        self.open = False

    def keep(self, level: int, maps: Tensor) -> None:
        """Store a layer's maps (n, r, r, L)."""
        if self.open:
            self.layers[level].append(maps)


class _Recorder:
    """Attention written out, so that its probabilities can be kept; equal to the fused processor it stands in for."""

    def __init__(self, maps: AttentionMaps, level: int, softmax: Softmax) -> None:
        self.maps = maps
        self.level = level
        self.softmax = softmax

    def __call__(self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor, **_: object) -> Tensor:
        query = attn.head_to_batch_dim(attn.to_q(hidden_states))
        key = attn.head_to_batch_dim(attn.to_k(encoder_hidden_states))
        value = attn.head_to_batch_dim(attn.to_v(encoder_hidden_states))
        with torch.autocast(query.device.type, enabled=False):  # eq. 3 stretches the maps: half precision would show
            scores = at_least_single(query) @ at_least_single(key).transpose(-1, -2) * attn.scale
        probabilities = scores.softmax(dim=-1)
        kept = probabilities if self.softmax == "paper" else scores.softmax(dim=-2)
        n, cells, tokens = len(hidden_states), scores.shape[1], scores.shape[2]
        side = round(cells**0.5)
        self.maps.keep(self.level, kept.view(n, -1, side, side, tokens).mean(dim=1))
        return attn.to_out[1](attn.to_out[0](attn.batch_to_head_dim(probabilities.to(value.dtype) @ value)))


def record_attention(unet: UNet2DConditionModel, levels: Sequence[int], softmax: Softmax = "paper") -> AttentionMaps:
    """Record the cross-attention of encoder levels during every forward pass from here on.

    Only the layers of these levels compute their probabilities; all others keep fused attention.

    Args:
        unet: the stock U-Net.
        levels: 1-based encoder levels; (2, 3) in the paper, 4 is the middle block at half the side of level 3 (tab. 24).
        softmax: over tokens ("paper", eq. 2) or over positions ("published").

    Raises:
        SettingsError: a level without attention.
    """
    layers = {level: _cross_attention_layers(unet, level) for level in levels}
    maps = AttentionMaps({level: [] for level in layers})
    for level, attentions in layers.items():
        for attention in attentions:
            attention.processor = _Recorder(maps, level, softmax)
    unet.register_forward_pre_hook(maps.begin)
    unet.register_forward_hook(maps.end)
    return maps


def _cross_attention_layers(unet: UNet2DConditionModel, level: int) -> list[Attention]:
    last = len(unet.down_blocks)  # the innermost level has its attention in the middle block
    block = unet.down_blocks[level - 1] if 0 < level < last else unet.mid_block if level == last else None
    attentions = getattr(block, "attentions", ())
    if not attentions:
        raise SettingsError(f"attention level {level}: found no attention there; choose from 1, 2, 3, 4")
    return [layer.attn2 for part in attentions for layer in part.transformer_blocks]


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


def encode_features(vae: AutoencoderKL, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the VAE encoder sees in the decoded image: its third, second and first level before downsampling (tab. 26).

    Args:
        vae: the autoencoder.
        latents: (n, C, h, w), scaled.

    Returns:
        (n, C1, 2h, 2w), (n, C2, 4h, 4w), (n, C3, 8h, 8w): the sides of `decode_features`.
    """
    x = vae.encoder.conv_in(decode(vae, latents))
    features = []
    for block in vae.encoder.down_blocks[:3]:
        for resnet in block.resnets:
            x = resnet(x, None)
        features.append(x)
        for downsampler in block.downsamplers:
            x = downsampler(x)
    return features[2], features[1], features[0]


def vae_features(vae: AutoencoderKL, latents: Tensor, kind: Features = "decoder") -> tuple[Tensor, Tensor, Tensor]:
    """The features that refine a mask, of the decoder or the encoder."""
    return decode_features(vae, latents) if kind == "decoder" else encode_features(vae, latents)


def tap_channels(unet: UNet2DConditionModel, level: int) -> int:
    """Channels of the U-Net decoder's level 1 to 4."""
    return int(unet.up_blocks[level - 1].resnets[-1].out_channels)


def channels(unet: UNet2DConditionModel, vae: AutoencoderKL, kind: Features = "decoder") -> tuple[int, int, tuple[int, int, int]]:
    """Channels of the taps up-2 and up-3, and of the three VAE features."""
    blocks = vae.decoder.up_blocks[:3] if kind == "decoder" else vae.encoder.down_blocks[2::-1]
    first, second, third = (int(block.resnets[-1].out_channels) for block in blocks)
    return tap_channels(unet, 2), tap_channels(unet, 3), (first, second, third)


def decode(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Images (n, 3, H, W), about [-1, 1], of scaled latents (n, C, h, w)."""
    return vae.decode(latents / vae.config.scaling_factor).sample
