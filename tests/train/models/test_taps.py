"""What is read inside the networks, against the stock networks and hooks of our own."""

import pytest
import torch
from diffusers import UNet2DConditionModel

from seas_runtime.errors import SettingsError
from seas_train.models import taps


def inputs(unet: UNet2DConditionModel, n: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    side = unet.config.sample_size
    latents = torch.randn(n, unet.config.in_channels, side, side, generator=generator)
    prompt = torch.randn(n, 24, unet.config.cross_attention_dim, generator=generator)
    return latents, torch.tensor([10, 900][:n]), prompt


def latents_for(model, n: int = 2) -> torch.Tensor:
    return inputs(model.unet, n)[0]


def processors(unet: UNet2DConditionModel) -> list[object]:
    return list(unet.attn_processors.values())


@pytest.fixture
def sharp(model):
    """The small U-Net with cross-attention that is far from flat."""
    for name, parameter in model.unet.named_parameters():
        if "attn2.to_k" in name or "attn2.to_q" in name:
            parameter.data *= 8
    return model.unet.eval()


@pytest.mark.parametrize("softmax", ["paper", "published"])
@torch.no_grad()
def test_recording_leaves_the_output_as_it_is(sharp, softmax):
    stock = sharp(*inputs(sharp)).sample
    taps.record_attention(sharp, (1, 2, 3), softmax)
    recorded = sharp(*inputs(sharp)).sample
    torch.testing.assert_close(recorded, stock, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("softmax", "over"), [("paper", 3), ("published", (1, 2))])
@torch.no_grad()
def test_maps_sum_to_one(sharp, softmax, over):
    maps = taps.record_attention(sharp, (1, 2), softmax)
    sharp(*inputs(sharp))
    for level, side in ((1, 8), (2, 4)):
        recorded = maps.level(level)
        assert recorded.shape == (2, side, side, 24)
        assert recorded.std() > 1e-4
        total = recorded.sum(dim=over)
        torch.testing.assert_close(total, torch.ones_like(total))


@torch.no_grad()
def test_maps_are_attention_worked_out_by_hand(sharp):
    layer = sharp.down_blocks[1].attentions[0].transformer_blocks[0].attn2
    seen = []
    hook = layer.register_forward_pre_hook(
        lambda _m, args, kwargs: seen.append((args[0], kwargs["encoder_hidden_states"])), with_kwargs=True
    )
    maps = taps.record_attention(sharp, (2,))
    sharp(*inputs(sharp))
    hook.remove()
    (hidden, prompt), heads = seen[0], layer.heads
    queries, keys = (x.unflatten(-1, (heads, -1)) for x in (layer.to_q(hidden), layer.to_k(prompt)))
    scores = torch.einsum("nqhd,nkhd->nhqk", queries, keys) / queries.shape[-1] ** 0.5
    expected = scores.softmax(dim=-1).mean(dim=1).unflatten(1, (4, 4))
    torch.testing.assert_close(maps.level(2), expected)


@torch.no_grad()
def test_maps_are_of_the_latest_forward_pass(sharp):
    maps = taps.record_attention(sharp, (2,))
    sharp(*inputs(sharp, 2))
    sharp(*inputs(sharp, 1))
    assert len(maps.level(2)) == 1


@pytest.mark.parametrize("level", [0, 5, -1])
def test_a_level_without_attention_is_refused_and_changes_nothing(sharp, level):
    before = processors(sharp)
    with pytest.raises(SettingsError, match="choose from 1, 2, 3, 4"):
        taps.record_attention(sharp, (2, level))
    assert all(a is b for a, b in zip(processors(sharp), before, strict=True))


@torch.no_grad()
def test_decoder_taps_are_what_the_next_level_is_given(model):
    given = []
    hooks = [
        model.unet.up_blocks[i].register_forward_pre_hook(
            lambda _m, _a, kwargs: given.append(kwargs["hidden_states"]), with_kwargs=True
        )
        for i in (2, 3)
    ]
    with taps.decoder_taps(model.unet) as tap:
        model.unet(*inputs(model.unet))
    for hook in hooks:
        hook.remove()
    assert (tap.up2.shape[-1], tap.up3.shape[-1]) == (4, 8)
    assert torch.equal(tap.up2, given[0])
    assert torch.equal(tap.up3, given[1])
    kept = tap.up2
    model.unet(*inputs(model.unet))
    assert tap.up2 is kept


@torch.no_grad()
def test_decode_features_are_those_of_the_stock_decoder(model):
    model.vae.eval()
    latents = latents_for(model)
    seen = []
    hooks = [block.register_forward_hook(lambda _m, _a, out: seen.append(out)) for block in model.vae.decoder.up_blocks]
    image = model.vae.decode(latents / model.vae.config.scaling_factor).sample
    for hook in hooks:
        hook.remove()
    features = taps.decode_features(model.vae, latents)
    assert [f.shape[-1] for f in features] == [16, 32, 64]
    for feature, expected in zip(features, seen[:3], strict=True):
        torch.testing.assert_close(feature, expected)
    torch.testing.assert_close(taps.decode(model.vae, latents), image)
