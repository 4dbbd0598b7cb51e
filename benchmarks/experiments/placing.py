"""What composites should be like (`seas_train.data.placing`): where, turned how, how many anomalies, and in what shapes?

Crop&Paste is beside them: anywhere, turned anyhow, lit as it was, one anomaly in a picture, in the shape that it has.

    python -m benchmarks.experiments.placing --data data/bottle --shots 5 --steps 200 --seeds 5

Segmenters learn from the few real anomalies and, for the other half of their batches, from composites as they are placed, before
any generator has seen them. Writes placing_NAME.json and .md after every training, and goes on from there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from benchmarks import common
from benchmarks.quality import real
from benchmarks.quality.downstream import segmentation
from benchmarks.quality.downstream.comparators import crop_paste
from benchmarks.quality.downstream.fitting import channels_first
from benchmarks.quality.downstream.segmentation import SegmenterSettings, Source, Task
from benchmarks.quality.pose import LOOKED_AT, Pose, grey
from benchmarks.quality.real import Material
from benchmarks.quality.tables import Cell, Seeds, Table
from seas_train.config import TuneSettings
from seas_train.data import layouts, placing
from seas_train.data.dataset import step_generator, to_bytes, to_float
from seas_train.data.placing import Placed, affine

Found = dict[str, dict[str, Mapping[str, float]]]
"""Scores by case and seed."""
COUNT = 240
"""Composites."""


MOST = 3
"""Anomalies of a composite."""
GAIN = 1.5
"""Most by which an anomaly becomes brighter, or darker, with its surroundings."""
DARK = 0.1
"""Added to levels, from 0 to 2, whose ratio is taken: in the dark it is noise."""
AROUND = 1 / 16
"""Width of the surroundings that are compared, of the image's side."""
KNOTS = 4
"""Random values along either side of an anomaly, between which a smooth field runs."""
KEPT = 0.4
"""Least share of an anomaly that is kept where it is cut."""


class Case(NamedTuple):
    """How anomalies are placed.

    Attributes:
        tries: where the surroundings fit best, of so many places.
        turned: anyhow; None for as the pose says.
        more: the chance of each of two more anomalies.
        alike: whether those are of the first one's type.
        gain: the most by which they become brighter or darker with their surroundings.
        bend: the standard deviation of a smooth displacement, of the anomaly's extent.
        cut: the chance that only a part of it is kept, where a smooth field is high.
        decoy: the chance that a part of another normal image is placed as well, in an anomaly's shape, which is none.
    """

    tries: int = 1
    turned: bool | None = None
    more: float = 0.0
    alike: bool = False
    gain: float = 1.0
    bend: float = 0.0
    cut: float = 0.0
    decoy: float = 0.0

    def place(self, anomaly: Tensor, mask: Tensor, normal: Tensor, turned: bool, generator: torch.Generator) -> Placed:
        """As `placing.place`, but where it fits best."""
        side, tries = normal.shape[-1], self.tries
        width = max(1, round(side * AROUND))
        if self.cut and torch.rand((), generator=generator) < self.cut:
            mask = _part(mask, generator)
        grid = F.affine_grid(torch.stack([affine(mask[0], turned, generator) for _ in range(tries)]), [tries, 3, side, side], False)
        if self.bend:
            grid = grid + self.bend * _bends(mask, grid, generator)
        images = F.grid_sample(anomaly.expand(tries, -1, -1, -1), grid, padding_mode="border", align_corners=False)
        covers = F.grid_sample(mask.expand(tries, -1, -1, -1), grid, align_corners=False)
        masks = (covers >= placing.MARKED * covers.amax(dim=(-2, -1), keepdim=True)) & (covers > 0)
        seen = F.grid_sample(torch.ones(tries, 1, side, side), grid, align_corners=False)  # 0 where the anomaly's image ends
        grown = F.max_pool2d(masks.float(), 2 * width + 1, stride=1, padding=width)
        ring = (grown - masks.float()) * (covers == 0) * seen
        wrong = ((images - normal).abs() * ring).sum(dim=(1, 2, 3)) / ring.sum(dim=(1, 2, 3)).clamp(min=1)
        best = int(wrong.argmin())
        share = torch.maximum(covers[best], masks[best].float())
        before, after = (_mean(image + 1, ring[best]) + DARK for image in (images[best], normal))
        lit = ((images[best] + 1) * (after / before).clamp(1 / self.gain, self.gain)[:, None, None] - 1).clamp(-1, 1)
        return Placed(share * lit + (1 - share) * normal, masks[best].float())


def _bends(mask: Tensor, grid: Tensor, generator: torch.Generator) -> Tensor:
    """Displacements (n, s, s, 2) of places in `grid`, as long as the masked part is in the mean, that change within it."""
    low, high = _box(mask)
    extent = float((high - low).max())
    knots = torch.randn(len(grid), 2, KNOTS, KNOTS, generator=generator)
    inside = 2 * (grid - low) / (high - low) - 1
    found = F.grid_sample(knots, inside, mode="bicubic", padding_mode="border", align_corners=True)
    return extent * found.permute(0, 2, 3, 1)


def _box(mask: Tensor) -> tuple[Tensor, Tensor]:
    """The corners (x, y) of what is masked, in coordinates of [-1, 1]."""
    places = mask[0].nonzero().flip(1).float()
    return 2 * places.amin(dim=0) / mask.shape[-1] - 1, 2 * (places.amax(dim=0) + 1) / mask.shape[-1] - 1


def _part(mask: Tensor, generator: torch.Generator) -> Tensor:
    """A part of what is masked, of more than `KEPT` of its area, where a field that changes within it is high."""
    knots = torch.randn(1, 1, KNOTS, KNOTS, generator=generator)
    rows, columns = mask[0].nonzero(as_tuple=True)
    size = int(torch.stack([rows - rows.amin(), columns - columns.amin()]).max()) + 2
    field = F.interpolate(knots, size=(size, size), mode="bicubic", align_corners=True)[0, 0]
    values = field[rows - rows.amin(), columns - columns.amin()]
    share = KEPT + (1 - KEPT) * float(torch.rand((), generator=generator))
    kept = values >= values.quantile(1 - share)
    part = torch.zeros_like(mask)
    part[0, rows[kept], columns[kept]] = 1.0
    return part


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean of values (3, s, s) by weights (1, s, s); 0 where they are 0 everywhere."""
    return (values * weights).sum(dim=(1, 2)) / weights.sum().clamp(min=1e-6)


CASES: dict[str, Case | None] = {
    "Crop&Paste": None,
    "best of 1, lit as it was": Case(),
    "best of 1, lit as it was, two anomalies in the mean": Case(more=0.5),
    "two anomalies of one type in the mean": Case(more=0.5, alike=True),
    "three anomalies of one type in the mean": Case(more=1.0, alike=True),
    "bent": Case(bend=0.08),
    "cut": Case(cut=0.5),
    "with decoys": Case(decoy=1.0),
    "bent, cut, two anomalies in the mean, with decoys": Case(more=0.5, bend=0.08, cut=0.5, decoy=1.0),
}
"""Dropped after a seed (AP on bottles 65.5 and 64.4 in place of 74.3): Case(3), Case(3, gain=GAIN)."""


def composites(material: Material, types: Sequence[str | None], case: Case, seed: int) -> Source:
    """Composites of all few anomalies, which are of these types, as half of what a segmenter learns from."""
    images, masks = material.few
    normals = [to_float(image) for image in channels_first(material.normals)]
    pairs = [
        (to_float(image), torch.from_numpy(mask).float()[None]) for image, mask in zip(channels_first(images), masks, strict=True)
    ]
    turned = Pose.of(np.stack([grey(Image.fromarray(image)) for image in material.normals[:LOOKED_AT]])).turned
    made = list(_placed(normals, pairs, types, case, turned if case.turned is None else case.turned, seed))
    pictures = np.stack([to_bytes(each.image).permute(1, 2, 0).numpy() for each in made])
    return Source(pictures, np.stack([each.mask[0].numpy() > 0 for each in made]))


def _placed(
    normals: Sequence[Tensor],
    anomalies: Sequence[tuple[Tensor, Tensor]],
    types: Sequence[str | None],
    case: Case,
    turned: bool,
    seed: int,
) -> Iterator[Placed]:
    """As `placing.composites`, and more anomalies by chance."""
    rounds = math.lcm(len(normals), len(anomalies))
    for k in range(COUNT):
        generator = step_generator(seed, k)
        normal = normals[k % len(normals)]
        if case.decoy and torch.rand((), generator=generator) < case.decoy:
            other, shape = (int(torch.randint(len(known), (), generator=generator)) for known in (normals, anomalies))
            normal = case.place(normals[other], anomalies[shape][1], normal, turned, generator).image
        first = (k + k // rounds) % len(anomalies)
        others = [i for i, kind in enumerate(types) if kind == types[first] or not case.alike]
        placed = case.place(*anomalies[first], normal, turned, generator)
        for chance in torch.rand(MOST - 1, generator=generator).tolist():
            if chance < case.more:
                chosen = others[int(torch.randint(len(others), (), generator=generator))]
                more = case.place(*anomalies[chosen], placed.image, turned, generator)
                placed = Placed(more.image, torch.maximum(placed.mask, more.mask))
        yield placed


def scores(
    material: Material, types: Sequence[str | None], settings: SegmenterSettings, seed: int, case: Case | None
) -> Mapping[str, float]:
    """Of a segmenter that learns from the few real anomalies and the composites of a case; None for Crop&Paste's."""
    pairs = (
        composites(material, types, case, seed) if case else Source(*crop_paste.make(material.normals, *material.few, COUNT, seed))
    )
    task = Task((Source(*material.few), pairs), material.normals, *material.test)
    return segmentation.evaluate({"": task}, segmentation.segment({"": task}, settings, seed))[""].row()


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="A product's folder.")
@click.option("--shots", type=click.IntRange(1), default=5, show_default=True, help="Real anomalies of each type.")
@click.option("--steps", type=click.IntRange(1), default=200, show_default=True, help="Of every segmenter.")
@click.option("--side", type=click.IntRange(32), default=128, show_default=True, help="Of all images, pixels.")
@click.option("--seeds", type=click.IntRange(1), default=2, show_default=True, help="Of each case.")
@click.option("--case", "chosen", multiple=True, type=click.Choice(list(CASES)), help="Repeat for more.  [default: all]")
@click.option("--results", type=click.Path(path_type=Path), default=common.RESULTS, show_default=True)
def main(data: Path, shots: int, steps: int, side: int, seeds: int, chosen: tuple[str, ...], results: Path) -> None:
    """Train, compare, write."""
    product = layouts.read(data)
    divided = real.divide(product, TuneSettings(shots=shots))
    material, types = real.load(divided, side), [record.defect for record in divided.few]
    settings, record = SegmenterSettings(steps=steps), results / f"placing_{product.name}"
    asked = {"shots": shots, "side": side, "steps": steps, "composites": COUNT}
    found = _earlier(record.with_suffix(".json"), asked)
    for seed in map(str, range(seeds)):
        for name in chosen or CASES:  # in turns, so that an interrupted run has something of each
            if seed in found.setdefault(name, {}):
                continue
            found[name][seed] = reached = scores(material, types, settings, int(seed), CASES[name])
            click.echo(f"seed {seed}, {name}: pixel AP {100 * reached['pixel_ap']:.1f}", err=True)
            _save(record, product.name, asked, found, f"--data {data.name} --shots {shots} --steps {steps} --seeds {seeds}")
    click.echo(record.with_suffix(".md").read_text(encoding="utf-8"))


def _earlier(record: Path, asked: Mapping[str, int]) -> Found:
    """What an interrupted run of the same has found."""
    held = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    return held["scores"] if held.get("asked") == asked else {}


def _save(record: Path, name: str, asked: Mapping[str, int], found: Found, words: str) -> None:
    command = f"python -m benchmarks.experiments.placing {words}"
    facts: dict[str, Any] = {"command": command, "asked": asked, "scores": found, **common.machine()}
    columns = {"pixel AP": "pixel_ap", "pixel IoU": "pixel_iou", "image AUROC": "image_auroc"}
    rows: list[tuple[Cell, ...]] = []
    for case, reached in found.items():
        every = tuple(Seeds(tuple(100 * each[score] for each in reached.values())) for score in columns.values())
        rows.append((case, len(reached), *every, ", ".join(f"{100 * each['pixel_ap']:.1f}" for each in reached.values())))
    title = f"{name}: {asked['shots']} real anomalies of each type, and as much of composites"
    table = Table(title, ("composites", "seeds", *columns, "AP of each seed"), tuple(rows), digits=1)
    text = "\n".join([table.markdown(), *common.listed(facts, "command", "asked", "machine", "versions", "commit"), ""])
    common.save(record, facts, text)


if __name__ == "__main__":
    main()
