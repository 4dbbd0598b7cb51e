"""Training anomalies placed on normal images: what pairs can start from, so that size and place are those of real anomalies.

A real anomaly is turned, scaled and moved, as Crop&Paste does (Lin et al. 2021), to the one of a few random places whose
surroundings look most like its own, so that most scratches on the glass stay on the glass. Not the best of many: what lies
where the training anomalies lay teaches a segmenter nothing new (`benchmarks/README.md`). What reaches an edge of its image
reaches the same edge again. Its pixels become as much brighter or darker as the new surroundings are. The joint may
still be seen; generation starts from such a picture with noise on it (SDEdit, Meng et al. 2022), which takes the joint away
and changes the anomaly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from seas_train.data.dataset import step_generator

TRIES = 3
"""Random places that are compared."""
MOST, MORE = 3, 0.0
"""Anomalies of a composite at most, and the chance of each but the first."""
SCALE = (0.75, 1.33)
"""Range of the factor by which an anomaly grows."""
TILT = 15.0
"""Degrees that an anomaly of a product in a fixed pose is turned by at most, either way."""
GAIN = 1.5
"""Most by which an anomaly becomes brighter, or darker, with its surroundings."""
DARK = 0.1
"""Added to levels, from 0 to 2, whose ratio is taken: in the dark it is noise."""
AROUND = 1 / 16
"""Width of the surroundings that are compared, of the image's side."""


@dataclass(frozen=True)
class Placed:
    """A normal image with an anomaly on it, image (3, s, s) in [-1, 1], and where that is, mask (1, s, s) of 0 and 1."""

    image: Tensor
    mask: Tensor


def composites(
    normals: Sequence[Tensor], anomalies: Sequence[tuple[Tensor, Tensor]], count: int, turned: bool, seed: int
) -> Iterator[Placed]:
    """Place anomalies of one type: number k is on normal image k mod their number P.

    The A anomalies take turns to be the first on it; a normal image meets the same one again when it has met all.

    Args:
        normals: images (3, s, s) in [-1, 1].
        anomalies: images like those, and masks (1, s, s) of 0 and 1, none empty.
        count: how many to make.
        turned: whether the product is seen in any pose; otherwise anomalies are hardly turned and never stand on their heads.
        seed: number k depends on (seed, k) alone.
    """
    for k in range(count):
        generator = step_generator(seed, k)
        first = anomalies[(k + k // math.lcm(len(normals), len(anomalies))) % len(anomalies)]
        placed = place(*first, normals[k % len(normals)], turned, generator)
        for chance in torch.rand(MOST - 1, generator=generator).tolist():
            if chance < MORE:
                chosen = anomalies[int(torch.randint(len(anomalies), (), generator=generator))]
                more = place(*chosen, placed.image, turned, generator)
                placed = Placed(more.image, torch.maximum(placed.mask, more.mask))
        yield placed


def place(anomaly: Tensor, mask: Tensor, normal: Tensor, turned: bool, generator: torch.Generator) -> Placed:
    """Place the masked part of `anomaly` (3, s, s) on `normal`, where its surroundings fit best out of `TRIES` places."""
    side = normal.shape[-1]
    width = max(1, round(side * AROUND))
    maps = [_map(mask[0], turned, generator) for _ in range(TRIES)]
    grid = F.affine_grid(torch.stack(maps), [TRIES, 3, side, side], align_corners=False)
    images = F.grid_sample(anomaly.expand(TRIES, -1, -1, -1), grid, padding_mode="border", align_corners=False)
    covers = F.grid_sample(mask.expand(TRIES, -1, -1, -1), grid, align_corners=False)
    masks = (covers >= 0.5 * covers.amax(dim=(-2, -1), keepdim=True)) & (covers > 0)  # one of a single pixel does not vanish
    seen = F.grid_sample(torch.ones(TRIES, 1, side, side), grid, align_corners=False)  # 0 where the anomaly's image ends
    ring = (_grown(masks.float(), width) - masks.float()) * (covers == 0) * seen
    wrong = ((images - normal).abs() * ring).sum(dim=(1, 2, 3)) / ring.sum(dim=(1, 2, 3)).clamp(min=1)
    best = int(wrong.argmin())
    share = torch.maximum(covers[best], masks[best].float())
    before, after = (_mean(image + 1, ring[best]) + DARK for image in (images[best], normal))
    lit = ((images[best] + 1) * (after / before).clamp(1 / GAIN, GAIN)[:, None, None] - 1).clamp(-1, 1)
    return Placed(share * lit + (1 - share) * normal, masks[best].float())


def _map(mask: Tensor, turned: bool, generator: torch.Generator) -> Tensor:
    """An affine map (2, 3) from places of the result to places of the anomaly, both in [-1, 1], as `affine_grid` takes it.

    The masked pixels of `mask` (s, s) stay inside the image, and at its edges where they reach them.
    """
    side = mask.shape[-1]
    angle, factor, flip, *target = torch.rand(5, generator=generator).tolist()
    rows, columns = mask.nonzero(as_tuple=True)
    edges = torch.stack([torch.stack([columns == end, rows == end]).any(dim=1) for end in (0, side - 1)])  # (low or high, x or y)
    turn = 2 * math.pi * angle if turned else math.radians(TILT) * (2 * angle - 1)
    if edges.any():  # an edge is an edge again after quarter-turns alone
        turn = math.pi / 2 * int(4 * angle) if turned else 0.0
    low, high = map(math.log, SCALE)
    scale = 1.0 if edges.all(dim=0).any() else math.exp(low + factor * (high - low))  # from edge to edge as before
    points = (2 * torch.stack([columns, rows]) + 1) / side - 1  # of pixel centres, (2, n)
    centre = (points.amin(dim=1) + points.amax(dim=1)) / 2
    forward = torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    if flip < 0.5:
        forward[:, 0] *= -1
    reach = forward @ (points - centre[:, None])
    extent = reach.amax(dim=1) - reach.amin(dim=1)
    room = 2 - 2 / side  # between the centres of the outermost pixels
    scale = min(scale, *(room / extent.clamp(min=1e-6)).tolist())
    least = -room / 2 - scale * reach.amin(dim=1)
    most = (room / 2 - scale * reach.amax(dim=1)).maximum(least)
    middle = least + torch.tensor(target) * (most - least)
    for outward, reached in zip((-1.0, 1.0), edges, strict=True):
        for axis in reached.nonzero()[:, 0].tolist():
            side_of = outward * forward[:, axis]  # where that edge is now
            middle = torch.where(side_of < -0.5, least, torch.where(side_of > 0.5, most, middle))
    back = torch.linalg.inv(scale * forward)
    return torch.cat([back, (centre - back @ middle)[:, None]], dim=1)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean of values (3, s, s) by weights (1, s, s); 0 where they are 0 everywhere."""
    return (values * weights).sum(dim=(1, 2)) / weights.sum().clamp(min=1e-6)


def _grown(masks: Tensor, pixels: int) -> Tensor:
    return F.max_pool2d(masks, 2 * pixels + 1, stride=1, padding=pixels)
