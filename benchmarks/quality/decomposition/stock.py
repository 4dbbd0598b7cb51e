"""Everything that segmenters of a decomposition learn from and are tested on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from benchmarks.demo import drawn
from benchmarks.demo.oracle import Labels, Oracle, Pieces
from benchmarks.quality.decomposition import cases
from benchmarks.quality.decomposition.cases import REAL, Case
from benchmarks.quality.downstream.comparators import COMPARATORS
from benchmarks.quality.downstream.fitting import Images
from benchmarks.quality.downstream.segmentation import Source
from benchmarks.quality.metrics.segmentation import overlaps
from benchmarks.quality.pairs import LoadedPairs
from benchmarks.quality.real import Material, digest

AGREE = 0.5
"""IoU of mask and judge from which on they agree."""
SAMPLE = 2
"""Pairs by which made ones are known: more of them begin with the same."""


@dataclass(frozen=True)
class Shots:
    """What belongs to one number of real anomalies.

    Attributes:
        material: The few real anomalies, normal images, and what tests.
        types: (k,) of the few, 1 and more.
        more: Other real anomalies that are for training; none where nothing is known of such.
        ours: Generated pairs, none of the masks empty; None without a generator.
        labels: (n, s, s) what the judge sees in them.
    """

    material: Material
    types: Labels
    more: LoadedPairs | None = None
    ours: Pieces | None = None
    labels: Labels | None = None


@dataclass(frozen=True)
class Stock:
    """All of it.

    Attributes:
        shots: By number of real anomalies of each type.
        count: Most pairs that a method has.
        blends: Pairs that a comparator makes.
        judge: Of a drawn product; None for photographs.
        drawn: Name of the drawn product.
        normals: Other normal images (p, s, s, 3) uint8 by name.
    """

    shots: Mapping[int, Shots]
    count: int
    blends: int
    judge: Oracle | None = None
    drawn: str | None = None
    normals: Mapping[str, Images] = field(default_factory=dict)

    def has(self, case: Case) -> bool:
        """Whether a case can be trained."""
        own = self.shots[case.shots]
        if case.method in cases.OF_A_JUDGE and self.judge is None:
            return False
        if case.method == cases.MORE and own.more is None:
            return False
        if case.method not in cases.OF_THE_GENERATOR:
            return True
        generated = self._generated(case)
        return generated is not None and len(generated.images) > 0

    def pairs(self, case: Case, seed: int, most: int | None = None) -> LoadedPairs:
        """The pairs (n, s, s, 3), (n, s, s) of a case beside its few real ones.

        Args:
            case: Any but few real ones alone.
            seed: Of what is made and of the choice among what is given.
            most: So many of those that are made, where fewer do.

        Raises:
            DataError: a comparator lacks what it needs.
        """
        own = self.shots[case.shots]
        if case.method in COMPARATORS:
            made = COMPARATORS[case.method](own.material.normals, *own.material.few, most or self.blends, seed)
            return LoadedPairs(*made)
        if case.method == cases.PERFECT:
            side = own.material.normals.shape[1]
            perfect = drawn.perfect_pairs(str(self.drawn), side, most or self.count, seed)
            return LoadedPairs(perfect.images, perfect.masks)
        given = own.more if case.method == cases.MORE else self._generated(case)
        if given is None:
            raise ValueError(f"{case} has no pairs")
        chosen = np.sort(np.random.default_rng(seed).permutation(len(given.images))[: self.count])
        return LoadedPairs(given.images[chosen], given.masks[chosen])

    def _generated(self, case: Case) -> LoadedPairs | None:
        own = self.shots[case.shots]
        if own.ours is None:
            return None
        images, masks = own.ours.images, own.ours.masks
        if case.method in (cases.OURS, cases.ALONE) or self.judge is None or own.labels is None:
            return LoadedPairs(images, masks)
        seen = own.labels > 0
        if case.method == cases.JUDGED:
            kept = seen.any(axis=(1, 2))
            return LoadedPairs(images[kept], seen[kept])
        kept = (self.judge.types(own.labels) == own.ours.types) & (overlaps(seen, masks) >= AGREE)
        return LoadedPairs(images[kept], masks[kept])

    def sources(self, case: Case, seed: int) -> list[Source]:
        """What a segmenter learns from, the generated pairs before the real ones."""
        real = self.shots[case.shots].material.few
        if case.method == cases.FEW:
            return [Source(*real)]
        made = self.pairs(case, seed)
        if case.method == cases.ALONE:
            return [Source(*made)]
        return [Source(*made, float(case.share)), Source(*real, 1 - float(case.share))]

    def normals_of(self, case: Case) -> Images:
        """Normal images (p, s, s, 3), real ones and as many of the case's others."""
        real = self.shots[case.shots].material.normals
        if case.normals == REAL:
            return real
        other = self.normals[case.normals]
        return np.concatenate([real, other[np.arange(len(real)) % len(other)]])

    def known(self, case: Case, seed: int) -> str:
        """A digest of all that a training of this case and seed comes from, but for its settings."""
        material = self.shots[case.shots].material
        few = () if case.method == cases.ALONE else material.few
        parts = [*few, self.normals_of(case), *material.test, np.array([case.method, str(case.share), str(seed)])]
        if case.method in COMPARATORS or case.method == cases.PERFECT:
            parts += [np.array([self.blends, self.count]), *self.pairs(case, seed, SAMPLE)]
        elif case.method != cases.FEW:
            parts += self.pairs(case, seed)
        return digest(*parts)
