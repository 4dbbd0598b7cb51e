"""Training anomalies placed on normal images: what pairs can start from, so that size and place are those of real anomalies.

A real anomaly is turned, scaled and moved, as Crop&Paste does (Lin et al. 2021), and keeps its brightness. What reaches an edge of
its image reaches the same edge again. Places where the surroundings fit best, and pixels that are lit as these are, taught
segmenters less (`benchmarks/experiments/placing.py`): an anomaly is seen less well there, and lies where others lay. Two in the
mean taught them more than one or three. The joint may still be seen; generation starts from such a picture with noise on it
(SDEdit, Meng et al. 2022), which takes the joint away and changes the anomaly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from seas_runtime.bundle.manifest import COMPOSITE_ANOMALIES, MAX_ANOMALIES
from seas_train.data.dataset import step_generator

MARKED = 0.3
"""Least share of a pixel that an anomaly covers, of the most it covers of any: a line of one pixel's width does not break."""
SCALE = (0.75, 1.33)
"""Range of the factor by which an anomaly grows."""
TILT = 15.0
"""Degrees that an anomaly of a product in a fixed pose is turned by at most, either way."""


@dataclass(frozen=True)
class Placed:
    """A normal image with an anomaly on it, image (3, s, s) in [-1, 1], and where that is, mask (1, s, s) of 0 and 1."""

    image: Tensor
    mask: Tensor


def composites(
    normals: Sequence[Tensor],
    anomalies: Sequence[tuple[Tensor, Tensor]],
    count: int,
    turned: bool,
    seed: int,
    an_image: float = COMPOSITE_ANOMALIES,
) -> Iterator[Placed]:
    """Place anomalies of one type: number k is on normal image k mod their number P.

    The anomalies take turns; a normal image meets the same one again when it has met all. Others that come to it are any of them,
    and may cover it in part.

    Args:
        normals: images (3, s, s) in [-1, 1].
        anomalies: images like those, and masks (1, s, s) of 0 and 1, none empty.
        count: how many to make.
        turned: whether the product is seen in any pose; otherwise anomalies are hardly turned and never stand on their heads.
        seed: number k depends on (seed, k) alone.
        an_image: anomalies of a composite in the mean, 1 to `MAX_ANOMALIES`.
    """
    for k in range(count):
        generator = step_generator(seed, k)
        first = anomalies[(k + k // math.lcm(len(normals), len(anomalies))) % len(anomalies)]
        placed = place(*first, normals[k % len(normals)], turned, generator)
        for draw in torch.rand(MAX_ANOMALIES - 1, generator=generator).tolist():
            if draw < (an_image - 1) / (MAX_ANOMALIES - 1):
                other = anomalies[int(torch.randint(len(anomalies), (), generator=generator))]
                more = place(*other, placed.image, turned, generator)
                placed = Placed(more.image, torch.maximum(placed.mask, more.mask))
        yield placed


def uncut(anomalies: Sequence[tuple[Tensor, Tensor]]) -> Sequence[tuple[Tensor, Tensor]]:
    """Images and masks (1, s, s) of the anomalies that reach no edge, all where each does.

    The edge of a tile or of a crop is not the photograph's: an anomaly may go on behind it, and must not end like that elsewhere.
    """
    inside = [pair for pair in anomalies if not any(pair[1][0].select(axis, end).any() for axis in (0, 1) for end in (0, -1))]
    return inside or anomalies


def place(anomaly: Tensor, mask: Tensor, normal: Tensor, turned: bool, generator: torch.Generator) -> Placed:
    """Place the masked part of `anomaly` (3, s, s) somewhere on `normal`; its pixels stay as bright as they were."""
    side = normal.shape[-1]
    grid = F.affine_grid(affine(mask[0], turned, generator)[None], [1, 3, side, side], align_corners=False)
    image = F.grid_sample(anomaly[None], grid, padding_mode="border", align_corners=False)[0]
    cover = F.grid_sample(mask[None], grid, align_corners=False)[0]
    marked = (cover >= MARKED * cover.max()) & (cover > 0)
    share = torch.maximum(cover, marked.float())
    return Placed(share * image + (1 - share) * normal, marked.float())


def affine(mask: Tensor, turned: bool, generator: torch.Generator) -> Tensor:
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
