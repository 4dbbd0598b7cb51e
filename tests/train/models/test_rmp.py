"""The mask branch: shapes, independence of the batch, the fuse convolution, and sums worked out by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from seas_train.models.rmp import ChannelAffine, MaskRefinement, RefinedMaskPredictor, RmpConfig

CONFIG = RmpConfig(
    up2_channels=12, up3_channels=6, feature_channels=(5, 5, 3), up2_width=8, up3_width=4, layers=2, heads=2, groups=4
)


def inputs(n: int, side: int = 4) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    shapes = [(12, side // 2), (6, side), (5, 2 * side), (5, 4 * side), (3, 8 * side)]
    return [torch.randn(n, c, s, s, generator=generator) for c, s in shapes]


@pytest.fixture
def rmp() -> RefinedMaskPredictor:
    torch.manual_seed(0)
    return RefinedMaskPredictor(CONFIG)


@torch.no_grad()
def test_probability_at_the_side_of_the_image(rmp):
    probability = rmp(*inputs(2))
    assert probability.shape == (2, 1, 32, 32)
    assert 0 <= probability.min() < probability.max() <= 1


@torch.no_grad()
def test_shapes_of_the_coarse_branch(rmp):
    coarse = rmp.coarse(*inputs(2)[:2])
    assert coarse.shape == (2, 12, 4, 4)
    assert rmp.coarse_logits(coarse).shape == (2, 2, 4, 4)
    assert rmp.refined_logits(coarse, inputs(2)[2:]).shape == (2, 2, 32, 32)


@pytest.mark.parametrize("training", [False, True])
@torch.no_grad()
def test_a_pair_does_not_depend_on_its_batch(rmp, training):
    rmp.train(training)
    together, others = inputs(3), inputs(3)
    for tensor in others:
        tensor[1:] *= 10
    alone = rmp(*(x[:1] for x in together))
    torch.testing.assert_close(rmp(*together)[:1], alone)
    torch.testing.assert_close(rmp(*others)[:1], alone)


def test_without_fuse_exactly_the_last_convolutions_are_missing(rmp):
    published = RefinedMaskPredictor(CONFIG.model_copy(update={"fuse": False}))
    fuse = {f"refine.{i}.fuse.{kind}" for i in range(3) for kind in ("weight", "bias")}
    assert set(rmp.state_dict()) - set(published.state_dict()) == fuse
    assert set(published.state_dict()) < set(rmp.state_dict())
    assert rmp.refine[0].fuse.weight.shape == (12, 12, 3, 3)


@torch.no_grad()
def test_without_fuse_the_sum_goes_out_as_it_is(rmp):
    published = RefinedMaskPredictor(CONFIG.model_copy(update={"fuse": False}))
    kept = published.state_dict().keys()
    published.load_state_dict({k: v for k, v in rmp.state_dict().items() if k in kept})
    for module in rmp.refine:
        nn.init.dirac_(module.fuse.weight)
        module.fuse.bias.zero_()
    torch.testing.assert_close(rmp(*inputs(1)), published(*inputs(1)))


@torch.no_grad()
def test_mask_refinement_is_the_formula():
    torch.manual_seed(0)
    config = CONFIG.model_copy(update={"up2_width": 5, "up3_width": 3})
    module = MaskRefinement(config, 5)
    d, v = torch.randn(1, 8, 4, 4), torch.randn(1, 5, 8, 8)

    def unit(x: torch.Tensor, part: nn.Sequential) -> torch.Tensor:
        kernel = part[0].weight
        x = F.conv2d(x, kernel, padding=kernel.shape[-1] // 2)
        groups = x.reshape(1, 4, -1)
        x = (groups - groups.mean(-1, keepdim=True)) / (groups.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
        return x.reshape(1, 8, 8, 8).clamp(min=0)

    def block(x: torch.Tensor, parts: nn.Sequential) -> torch.Tensor:
        assert [p[0].kernel_size[0] for p in parts] == [1, 3, 1]
        for part in parts:
            x = unit(x, part)
        return x

    up = F.interpolate(d, size=(8, 8), mode="bilinear")
    a = block(up, module.first)
    s = a + block(a, module.second) + unit(up, module.local)
    expected = F.conv2d(unit(v, module.feature) * s + up, module.fuse.weight, module.fuse.bias, padding=1)
    torch.testing.assert_close(module(d, v), expected, rtol=1e-4, atol=1e-5)


def test_every_weight_learns(rmp):
    coarse = rmp.coarse(*inputs(1)[:2])
    (rmp.refined_logits(coarse, inputs(1)[2:]).square().sum() + rmp.coarse_logits(coarse).square().sum()).backward()
    assert [name for name, p in rmp.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_gradient_checkpointing_keeps_less_and_gives_the_same_gradients(rmp):
    def learned() -> tuple[int, list[torch.Tensor]]:
        kept = {}

        def keep(x: torch.Tensor) -> torch.Tensor:
            kept[x.data_ptr()] = x
            return x

        rmp.zero_grad()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            loss = rmp(*inputs(2)).square().mean()
        loss.backward()
        return sum(x.numel() for x in kept.values()), [p.grad.clone() for p in rmp.parameters() if p.grad is not None]

    whole, expected = learned()
    rmp.enable_gradient_checkpointing()
    less, found = learned()
    assert less < 0.7 * whole
    assert len(found) == len(expected) > 0
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_paper_sizes():
    config = RmpConfig(up2_channels=1280, up3_channels=640, feature_channels=(512, 512, 256))
    assert config.width == 192
    with torch.device("meta"):
        rmp = RefinedMaskPredictor(config)
    assert rmp.coarse.fuse.config.num_attention_heads == 8
    assert len(rmp.coarse.fuse.transformer_blocks) == 4
    assert rmp.head.weight.shape == (2, 192, 3, 3)


def test_the_config_of_an_older_run_is_still_read():
    older = (
        '{"up2_channels": 12, "up3_channels": 6, "feature_channels": [5, 5, 3], "up2_width": 8, "up3_width": 4,'
        ' "layers": 2, "heads": 2, "groups": 4, "fuse": true}'
    )
    config = RmpConfig.model_validate_json(older)
    assert config == CONFIG
    assert (config.norm, config.align_corners) == ("group", False)


FOLDED = CONFIG.model_copy(update={"norm": "folded", "fuse": False})


def test_a_folded_branch_has_biases_and_no_norm_outside_the_transformer():
    rmp = RefinedMaskPredictor(FOLDED)
    outside = [m for name, m in rmp.named_modules() if not name.startswith("coarse.fuse")]
    assert not [m for m in outside if isinstance(m, nn.GroupNorm | nn.BatchNorm2d)]
    assert all(m.bias is not None for m in outside if isinstance(m, nn.Conv2d))


@torch.no_grad()
def test_a_folded_unit_is_a_batch_norm_with_constant_statistics():
    torch.manual_seed(0)
    unit = MaskRefinement(FOLDED, 5).feature
    kernel = torch.randn(12, 5, 1, 1)
    mean, variance, gain, bias = torch.randn(12), torch.rand(12) + 0.1, torch.randn(12), torch.randn(12)
    scale = gain / (variance + 1e-5).sqrt()
    unit.load_state_dict({"0.weight": kernel * scale.view(-1, 1, 1, 1), "0.bias": bias - mean * scale})
    x = torch.randn(2, 5, 8, 8)
    expected = F.batch_norm(F.conv2d(x, kernel), mean, variance, gain, bias).clamp(min=0)
    torch.testing.assert_close(unit(x), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_channel_affine_by_hand():
    affine = ChannelAffine(2)
    affine.load_state_dict({"weight": torch.tensor([[[2.0]], [[-1.0]]]), "bias": torch.tensor([[[0.5]], [[3.0]]])})
    x = torch.tensor([[[[1.0, 2.0]], [[1.0, 2.0]]]])
    assert affine(x).tolist() == [[[[2.5, 4.5]], [[2.0, 1.0]]]]


@pytest.mark.parametrize(("corners", "row"), [(True, [0.0, 1.0, 2.0, 3.0]), (False, [0.0, 0.75, 2.25, 3.0])])
def test_upsampling_with_and_without_aligned_corners(corners, row):
    module = MaskRefinement(FOLDED.model_copy(update={"align_corners": corners}), 5)
    (found,) = module.upsample(torch.tensor([[[[0.0, 3.0]]]])).unique(dim=2)[0, 0]
    torch.testing.assert_close(found, torch.tensor(row))
