"""A checkpoint of the published implementation: its names and shapes, and its mask branch written out in plain torch."""

import math

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from seas_export.published import checkpoint as published

DEFECTS = ["broken_large", "broken_small", "contamination"]  # of the demo's bottle, sorted
TOKENS = ["ob1", *(f"sks{i}" for i in range(1, 13))]
LOW, MID = 16, 8


def published_shapes(up2, up3, low, mid, features, layers):
    """The table of names and shapes of a published state dict, written down by hand."""
    w = low + mid
    found = {"low_feature_conv.0.weight": (low, up2, 1, 1), "mid_feature_conv.0.weight": (mid, up3, 1, 1)}

    def norm(name):
        found.update({f"{name}.{part}": (w,) for part in ("gain", "bias", "stored_mean", "stored_var")})

    attention = "mid_attn_block.attentions.0"
    found.update({f"{attention}.norm.weight": (w,), f"{attention}.norm.bias": (w,)})
    for name in ("proj_in", "proj_out"):
        found.update({f"{attention}.{name}.weight": (w, w, 1, 1), f"{attention}.{name}.bias": (w,)})
    for block in (f"{attention}.transformer_blocks.{i}" for i in range(layers)):
        for name in ("norm1", "norm3"):
            found.update({f"{block}.{name}.weight": (w,), f"{block}.{name}.bias": (w,)})
        found.update({f"{block}.attn1.to_{name}.weight": (w, w) for name in "qkv"})
        found.update({f"{block}.attn1.to_out.0.weight": (w, w), f"{block}.attn1.to_out.0.bias": (w,)})
        found.update({f"{block}.ff.net.0.proj.weight": (8 * w, w), f"{block}.ff.net.0.proj.bias": (8 * w,)})
        found.update({f"{block}.ff.net.2.weight": (w, 4 * w), f"{block}.ff.net.2.bias": (w,)})
    for i, channels in enumerate(features, start=1):
        inputs = {1: channels}
        kernels = {3: 3, 6: 3, 8: 3}
        for k in range(1, 10):
            found[f"MRM{i}.conv{k}.0.weight"] = (w, inputs.get(k, w), kernels.get(k, 1), kernels.get(k, 1))
            norm(f"MRM{i}.conv{k}.1")
    norm("out_layer.0")
    found.update({"out_layer.2.weight": (2, w, 3, 3), "out_layer.2.bias": (2,)})
    return found


def random_state(shapes):
    """Random weights of a size that keeps every layer alive; the stored statistics are nonsense, as nobody reads them."""
    generator = torch.Generator().manual_seed(5)

    def value(name, shape):
        noise = torch.randn(shape, generator=generator)
        if name.endswith(("gain", "norm.weight", "norm1.weight", "norm3.weight")):
            return 1 + 0.3 * noise
        if len(shape) == 1:
            return noise.abs() if name.endswith("stored_var") else 0.3 * noise
        return noise / math.sqrt(math.prod(shape[1:]))

    return {name: value(name, shape) for name, shape in shapes.items()}


def coarse_feature(state, up2, up3, heads=8):
    """F_hat from the taps: 1x1 convolutions, then transformer blocks in a group norm, projections and a residual."""
    low = F.conv2d(up2, state["low_feature_conv.0.weight"])
    low = F.interpolate(low, size=up3.shape[-2:], mode="bilinear", align_corners=False)
    x = torch.cat([low, F.conv2d(up3, state["mid_feature_conv.0.weight"])], dim=1)
    s = {k.removeprefix("mid_attn_block.attentions.0."): v for k, v in state.items()}
    n, width, h, w = x.shape
    y = F.group_norm(x, math.gcd(32, width), s["norm.weight"], s["norm.bias"], eps=1e-6)
    y = F.conv2d(y, s["proj_in.weight"], s["proj_in.bias"]).flatten(2).transpose(1, 2)
    for b in sorted({k.split(".")[1] for k in s if k.startswith("transformer_blocks.")}):
        p = f"transformer_blocks.{b}."
        z = F.layer_norm(y, (width,), s[p + "norm1.weight"], s[p + "norm1.bias"])
        q, k, v = ((z @ s[f"{p}attn1.to_{c}.weight"].T).view(n, h * w, heads, -1).transpose(1, 2) for c in "qkv")
        z = (q @ k.transpose(2, 3) / math.sqrt(width // heads)).softmax(dim=-1) @ v
        z = z.transpose(1, 2).reshape(n, h * w, width)
        y = y + F.linear(z, s[p + "attn1.to_out.0.weight"], s[p + "attn1.to_out.0.bias"])
        z = F.layer_norm(y, (width,), s[p + "norm3.weight"], s[p + "norm3.bias"])
        value, gate = F.linear(z, s[p + "ff.net.0.proj.weight"], s[p + "ff.net.0.proj.bias"]).chunk(2, dim=-1)
        y = y + F.linear(value * F.gelu(gate), s[p + "ff.net.2.weight"], s[p + "ff.net.2.bias"])
    y = y.transpose(1, 2).reshape(n, width, h, w)
    return F.conv2d(y, s["proj_out.weight"], s["proj_out.bias"]) + x


def published_forward(state, up2, up3, features):
    """Anomaly probabilities, coarse (n, h, w) and refined (n, 8h, 8w), every norm with the statistics of its batch."""

    def norm(x, name):
        return F.batch_norm(x, None, None, state[f"{name}.gain"], state[f"{name}.bias"], training=True, eps=1e-5)

    def unit(x, name):
        kernel = state[f"{name}.0.weight"]
        return F.relu(norm(F.conv2d(x, kernel, padding=kernel.shape[-1] // 2), f"{name}.1"))

    def head(x):
        x = F.conv2d(F.relu(norm(x, "out_layer.0")), state["out_layer.2.weight"], state["out_layer.2.bias"], padding=1)
        return x.softmax(dim=1)[:, 1]

    coarse = x = coarse_feature(state, up2, up3)
    for i, v in enumerate(features, start=1):
        up = F.interpolate(x, size=v.shape[-2:], mode="bilinear", align_corners=True)
        chain = [up]
        for k in (2, 3, 4, 7, 8, 9):
            chain.append(unit(chain[-1], f"MRM{i}.conv{k}"))
        x = unit(v, f"MRM{i}.conv1") * (chain[3] + chain[6] + unit(up, f"MRM{i}.conv5")) + up
    return head(coarse), head(x)


def relative(found, expected):
    return float((found - expected).norm() / expected.norm())


def load(root, checkpoint="checkpoint", **given):
    arguments = {"base": str(root / "base"), "data": root / "data" / "bottle", "licence": "test", **given}
    return published.load(root / checkpoint, progress=lambda _stage: None, **arguments)


def refused(kind, code, *arguments, **given):
    with pytest.raises(kind) as caught:
        load(*arguments, **given)
    assert caught.value.exit_code == code
    message = caught.value.format_message()
    assert "\n" not in message
    return message
