"""The published mask branch, folded, against the branch written out in plain torch."""

import math

import numpy as np
import pytest
import torch

from seas_export.published import checkpoint, mask_branch
from seas_train.data import layouts
from seas_train.data.dataset import load_image
from seas_train.models import components, taps
from seas_train.models.rmp import RmpConfig
from tests.export.published_checkpoint import DEFECTS, published_forward, published_shapes, relative


def random_batch(n=3, side=4):
    generator = torch.Generator().manual_seed(7)
    shapes = [(24, side // 2), (16, side), (16, 2 * side), (12, 4 * side), (8, 8 * side)]
    tensors = [torch.randn(n, c, s, s, generator=generator) * (1 + torch.arange(n).view(-1, 1, 1, 1)) for c, s in shapes]
    return tensors[0], tensors[1], tensors[2:]


def fold(path, up2, up3, features):
    return mask_branch.fold(mask_branch.load(path), up2, up3, [list(f.split(1)) for f in features])


@torch.no_grad()
def test_folded_branch_is_the_published_one_on_its_batch(root, state):
    up2, up3, features = random_batch()
    rmp = fold(root / "checkpoint" / "mask-checkpoint" / "rmp", up2, up3, features)
    coarse, refined = published_forward(state, up2, up3, features)
    assert refined.std() > 0.05
    assert relative(rmp(up2, up3, *features)[:, 0], refined) < 1e-5
    assert relative(rmp.coarse_logits(rmp.coarse(up2, up3)).softmax(dim=1)[:, 1], coarse) < 1e-5


@torch.no_grad()
def test_folded_branch_no_longer_depends_on_the_neighbours(root, state):
    up2, up3, features = random_batch()
    rmp = fold(root / "checkpoint" / "mask-checkpoint" / "rmp", up2, up3, features)
    alone = [x[:1] for x in (up2, up3, *features)]
    torch.testing.assert_close(rmp(*alone), rmp(up2, up3, *features)[:1], rtol=1e-4, atol=1e-6)
    other = published_forward(state, alone[0], alone[1], alone[2:])[1]
    assert relative(rmp(*alone)[:, 0], other) > 0.01


@torch.no_grad()
def test_the_run_is_calibrated_on_what_its_mask_branch_meets(root, run, state):
    up2, up3, features = checkpoint.calibration_batch(run, layouts.read(root / "data" / "bottle"))
    assert [len(feature) for feature in features] == [10, 10, 10]
    features = [torch.cat(feature) for feature in features]
    expected = published_forward(state, up2, up3, features)[1]
    assert relative(run.rmp(up2, up3, *features)[:, 0], expected) < 1e-5
    assert taps.channels(run.model.unet, run.model.vae) == (
        up2.shape[1], up3.shape[1], tuple(feature.shape[1] for feature in features)
    )  # fmt: skip


@torch.no_grad()
def test_calibration_stands_at_the_last_three_steps_with_every_type(root, run):
    calls = []
    hook = run.model.unet.register_forward_pre_hook(lambda _module, inputs: calls.append(inputs))
    checkpoint.calibration_batch(run, layouts.read(root / "data" / "bottle"))
    hook.remove()
    steps = np.linspace(0, 999, 26).round()[::-1][:25][-3:]
    assert [int(timestep) for _, timestep, _ in calls] == [*[steps[0]] * 4, *[steps[1]] * 3, *[steps[2]] * 3]
    for i, (sample, timestep, prompt) in enumerate(calls):
        defect = DEFECTS[i % 3]
        assert torch.equal(prompt, run.embed([run.facts.prompts.anomaly[defect]]))
        image = load_image(root / "data" / "bottle" / "test" / defect / f"00{i // 3 % 2}.png", 64)
        clean, spread = components.encode_moments(run.model.vae, image[None])
        level = run.model.scheduler.alphas_cumprod[int(timestep)]
        expected = (level * spread.square().mean() + 1 - level).sqrt()
        assert (sample - level.sqrt() * clean).std() == pytest.approx(float(expected), rel=0.15)


def test_published_sizes():
    config = RmpConfig(
        up2_channels=1280, up3_channels=640, feature_channels=(512, 512, 256),
        fuse=False, align_corners=True, norm="folded",
    )  # fmt: skip
    expected = published_shapes(1280, 640, 128, 64, (512, 512, 256), layers=4)
    assert mask_branch.shapes(config) == expected
    assert sum(math.prod(shape) for shape in expected.values()) == 6_459_010
