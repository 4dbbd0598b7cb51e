"""Parameter counts, shapes, gradients and whether one image can be learnt."""

import itertools

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F  # noqa: N812 - the field's name for it
from transformers import ResNetConfig, ResNetForImageClassification

from benchmarks.quality.downstream import segmenters
from benchmarks.quality.metrics import efficientnet
from seas_runtime.errors import DataError, SettingsError

NAMES = sorted(segmenters.NETWORKS)
CANCELLED = {"context.mean.1.bias"}
"""BiSeNet's: a constant for all images, which the next batch norm takes out again."""


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def two_images(side=64):
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(2, side, side, dtype=torch.int64)
    square = slice(side // 8, 5 * side // 8)
    masks[0, square, square] = 1
    images[0, :, square, square] += 2
    return images, masks


def test_small_is_as_small_as_promised():
    def block(inputs, outputs):
        return 9 * inputs * outputs + 2 * outputs  # a 3x3 convolution without bias, a scale and a shift

    w = (8, 24, 48, 64, 96)
    down = sum(block(a, b) + block(b, b) for a, b in itertools.pairwise(w))
    up = sum(block(a + b, a) for a, b in itertools.pairwise(w))
    expected = block(3, 8) + down + up + 2 * 8 + 2
    assert parameters(segmenters.build("small", 0)) == expected < 500_000


def without_auxiliary(name):
    network = segmenters.build(name, 0)
    return sum(p.numel() for key, p in network.named_parameters() if "auxiliary" not in key)


def test_bisenet_has_the_papers_parameters():
    assert round(without_auxiliary("bisenet"), -3) == 3_341_000  # tab. 12


def test_lfd_has_the_papers_parameters():
    assert round(parameters(segmenters.build("lfd", 0)), -3) == 936_000  # tab. 12 and LFD's own abstract


def test_upernet_has_the_papers_parameters_but_for_the_stem():
    norm = 2  # scale and shift of a channel
    stem_of_7 = 49 * 3 * 64 + norm * 64
    stem_of_3 = 9 * (3 * 32 + 32 * 32 + 32 * 64) + norm * (32 + 32 + 64)
    assert round(without_auxiliary("upernet") - stem_of_7 + stem_of_3, -3) == 64_042_000  # tab. 12


def test_upernet_stands_on_resnet_50():
    backbone = segmenters.build("upernet", 0).parts.backbone
    assert parameters(backbone) == 25_557_032 - (2048 * 1000 + 1000)  # ResNet-50 as published, without its classifier


@pytest.mark.parametrize(("name", "heads"), [("small", 1), ("efficientnet", 1), ("bisenet", 5), ("upernet", 2), ("lfd", 1)])
def test_logits_have_the_images_side(name, heads):
    network = segmenters.build(name, 0)
    images = torch.zeros(2, 3, 64, 96)
    training = network.train()(images)
    evaluation = network.eval()(images)
    assert [logits.shape for logits in training] == [(2, 2, 64, 96)] * heads
    assert [logits.shape for logits in evaluation] == [(2, 2, 64, 96)]


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns(name):
    network = segmenters.build(name, 0).train()
    images, masks = two_images()
    sum(F.cross_entropy(logits, masks) for logits in network(images)).backward()
    idle = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert set(idle) <= CANCELLED


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("small", 60),
        ("lfd", 40),
        ("efficientnet", 30),
        pytest.param("bisenet", 40, marks=pytest.mark.slow),
        pytest.param("upernet", 20, marks=pytest.mark.slow),
    ],
)
def test_one_image_can_be_learnt(name, steps):
    network = segmenters.build(name, 0).train()
    images, masks = two_images(32 if name == "upernet" else 64)  # the other one is normal: something to tell apart
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        sum(F.cross_entropy(logits, masks) for logits in network(images)).backward()
        optimizer.step()
    found = network(images)[0].argmax(dim=1)  # training mode: running means of batch norms lag behind so few steps
    union = ((found == 1) | (masks == 1)).sum()
    assert ((found == 1) & (masks == 1)).sum() / union > 0.9


def test_efficientnet_begins_with_imagenets_weights_and_a_decoder_of_its_own():
    one, other = (segmenters.build("efficientnet", seed) for seed in (0, 1))
    encoder = efficientnet.Encoder()
    efficientnet.load(encoder)
    assert all(torch.equal(x, encoder.state_dict()[name]) for name, x in one.encoder.state_dict().items())
    assert not torch.equal(one.up[0][0].weight, other.up[0][0].weight)


def test_lfd_context_is_half_as_high_and_a_quarter_as_wide():
    network = segmenters.build("lfd", 0).eval()
    seen = {}
    for name in ("detail", "context"):
        getattr(network, name).register_forward_pre_hook(lambda _, args, name=name: seen.update({name: args[0].shape}))
    network(torch.zeros(1, 3, 64, 128))
    assert seen == {"detail": (1, 3, 64, 128), "context": (1, 3, 32, 32)}


def test_the_seed_decides_the_weights_and_nothing_else():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, same, other = (segmenters.build("small", seed).stem[0].weight for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def resnet_18(path, **changes):
    """Save a random ResNet-18 classifier as the hub has it."""
    config = ResNetConfig(layer_type="basic", hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], **changes)
    model = ResNetForImageClassification(config)
    save_file(model.state_dict(), path)
    return model


def test_weights_of_a_file_are_taken(tmp_path):
    path = tmp_path / "model.safetensors"
    model = resnet_18(path).eval()
    network = segmenters.build("lfd", 0, path).eval()
    images = torch.randn(1, 3, 64, 64)
    expected = model(images, output_hidden_states=True).hidden_states  # stem, then every stage
    torch.testing.assert_close(network.detail(images).feature_maps[-1], expected[1])
    torch.testing.assert_close(network.context(images).feature_maps[-1], expected[2])


def test_weights_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    resnet_18(path, embedding_size=32)
    with pytest.raises(DataError, match=r"holds no embedder.* of shape \(64, 3, 7, 7\)"):
        segmenters.build("lfd", 0, path)
    with pytest.raises(DataError, match="cannot be read"):
        segmenters.build("lfd", 0, tmp_path / "missing.safetensors")
    path.write_bytes(b"no tensors")
    with pytest.raises(DataError, match="cannot be read"):
        segmenters.build("lfd", 0, path)
    with pytest.raises(SettingsError, match="SmallUNet has no ResNet"):
        segmenters.build("small", 0, path)
