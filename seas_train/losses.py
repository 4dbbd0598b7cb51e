"""The losses of the paper, and of decoders, pure functions of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name for it


def at_least_single(x: Tensor) -> Tensor:
    """Half precision raised to fp32, in which all losses are computed."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def level_mask(mask: Tensor, latent_side: int, side: int) -> Tensor:
    """M^l: the mask at an attention layer's side, (n, side, side) of 0 and 1.

    Bilinear to the latent side, max-pooled to the layer's, then cut at half of its maximum: an anomaly much smaller than a
    cell still marks the cell it lies in.

    Args:
        mask: (n, 1, H, W), 1 = anomaly.
        latent_side: h.
        side: r, a divisor of h.
    """
    soft = F.interpolate(mask, size=(latent_side, latent_side), mode="bilinear", antialias=True)
    soft = F.adaptive_max_pool2d(soft, side)[:, 0]
    peak = soft.amax(dim=(1, 2), keepdim=True)
    return ((soft >= peak / 2) & (soft > 0)).to(mask.dtype)


def min_max(maps: Tensor, over: Literal["image", "batch"] = "image") -> Tensor:
    """Stretch maps (n, r, r) to [0, 1], each image alone or the batch together."""
    dims = (1, 2) if over == "image" else (0, 1, 2)
    low, high = maps.amin(dim=dims, keepdim=True), maps.amax(dim=dims, keepdim=True)
    return (maps - low) / (high - low + 1e-8)


def da_loss(
    attention: Sequence[Tensor],
    mask: Tensor,
    anomaly_tokens: Tensor,
    product_tokens: Tensor,
    latent_side: int,
    over: Literal["image", "batch"] = "image",
    product_term: Literal["anomaly", "off", "background"] = "anomaly",
) -> Tensor:
    """Decoupled anomaly alignment, eq. 3: anomaly tokens look at the anomaly, the product token looks away from it.

    Args:
        attention: one (n, r, r, L) map per level, heads and layers averaged.
        mask: (n, 1, H, W), 1 = anomaly.
        anomaly_tokens: (n, N) positions of each image's anomaly tokens in its prompt.
        product_tokens: (n, N') positions of the product tokens.
        latent_side: h of the latents.
        over: what min-max stretches together.
        product_term: the second term: "anomaly" looks away from it (eq. 3), "off" leaves it out, "background" puts eq. 9's
            alignment with the background in its place. Eq. 9 stands in the NA loss but needs a mask: it is taken here, on
            the images that have one.

    Returns:
        The sum over levels, a scalar. The second term is a mean over the anomaly's cells of an image, 0 where it has none.
    """
    total = mask.new_zeros(())
    for maps in attention:
        target = level_mask(mask, latent_side, maps.shape[1])
        anomaly = min_max(_tokens_mean(maps, anomaly_tokens), over)
        total = total + ((anomaly - target) ** 2).mean()
        if product_term == "off":
            continue
        product = min_max(_tokens_mean(maps, product_tokens), over)
        if product_term == "anomaly":
            cells = target.sum(dim=(1, 2)).clamp(min=1)
            total = total + (((product * target) ** 2).sum(dim=(1, 2)) / cells).mean()
        else:
            total = total + ((product - (1 - target)) ** 2).mean()
    return total


def _tokens_mean(maps: Tensor, tokens: Tensor) -> Tensor:
    index = tokens[:, None, None, :].expand(-1, *maps.shape[1:3], -1)
    return torch.gather(maps, 3, index).mean(dim=3)


def na_loss(target: Tensor, predicted: Tensor) -> Tensor:
    """Normal-image alignment, eq. 5: mean squared error of the noise (or v, `prediction.target`), also the second term of eq. 4."""
    return F.mse_loss(at_least_single(predicted), target)


def focal_loss(logits: Tensor, mask: Tensor, gamma: float = 2.0) -> Tensor:
    """Focal loss of a two-class map, mean over pixels (Lin et al. 2017, without class weights).

    Args:
        logits: (n, 2, H, W), channel 1 = anomaly.
        mask: (n, 1, H, W) of 0 and 1.
        gamma: focusing exponent.
    """
    log_p = F.log_softmax(at_least_single(logits), dim=1).gather(1, mask.long())
    return -((1 - log_p.exp()) ** gamma * log_p).mean()


def reconstruction(decoded: Tensor, images: Tensor, masks: Tensor, anomaly_weight: float, edges: float) -> tuple[Tensor, Tensor]:
    """Weighted means of L1 on pixels, and of L1 on pixels and on the differences of neighbours.

    Args:
        decoded: (n, 3, s, s).
        images: what it should be, same shape.
        masks: (n, 1, s, s), 1 on anomalies, whose pixels weigh more by `anomaly_weight`.
        anomaly_weight: 0 for all pixels alike.
        edges: weight of the differences.
    """
    weight = 1 + anomaly_weight * masks
    weight = weight / weight.mean()
    wrong = decoded - images
    l1 = (wrong.abs() * weight).mean()
    differences = (wrong.diff(dim=-1).abs() * weight[..., 1:]).mean() + (wrong.diff(dim=-2).abs() * weight[..., 1:, :]).mean()
    return l1, l1 + edges * differences
