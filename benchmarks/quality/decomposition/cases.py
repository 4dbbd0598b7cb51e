"""Which trainings take a loss apart: what is learned beside few real anomalies, and how it is mixed in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

FEW, OURS, ALONE = "few-real", "ours", "ours-alone"
CROP_PASTE, PERFECT, MORE = "crop-paste", "perfect", "more-real"
JUDGED, AGREED = "ours-judge-masks", "ours-agreed"
COMPARATORS = (CROP_PASTE, "placed", "perlin", "poisson")
LEGEND = {
    FEW: "the few real anomalies and nothing else",
    CROP_PASTE: "real defects, pasted on normal images",
    "placed": "composites, before any generator has seen them",
    "perlin": "textures blended in where Perlin noise is high",
    "poisson": "patches of other normal images",
    OURS: "generated pairs",
    JUDGED: "generated images with what the judge marks in them: what is lost in masks comes back",
    AGREED: "generated pairs whose type and mask the judge agrees with (IoU of one half)",
    ALONE: "generated pairs without any real anomaly",
    PERFECT: "drawn pairs, as good as pairs can be: with the few real ones the headroom",
    MORE: "the other real anomalies that are for training: the headroom, as far as it is known",
}
"""What a segmenter learns from, by the name of the method, in the order of the tables."""
METHODS = tuple(LEGEND)
OF_THE_GENERATOR = (OURS, JUDGED, AGREED, ALONE)
OF_A_JUDGE = (JUDGED, AGREED, PERFECT)
UNMIXED = (FEW, ALONE)
"""Methods of one origin, which no share or order changes."""
ALL = 0
"""Shots: every anomaly that is for training."""
REAL = "real"
"""Normal images that are the real ones alone."""
Order = Literal["mixed", "in-turn"]
ORDERS: tuple[Order, ...] = ("mixed", "in-turn")


@dataclass(frozen=True)
class Case:
    """One way to learn; trained once for each seed.

    Attributes:
        shots: Real anomalies of each type, or `ALL`.
        method: A key of `LEGEND`.
        normals: `REAL`, or the name of those that half of the normal images are.
        share: Of a batch's anomalies, those that are not the few real ones.
        order: Both in every batch, or the generated ones first and then the real ones, each for their share of the steps.
    """

    shots: int
    method: str
    normals: str = REAL
    share: Fraction = Fraction(1, 2)
    order: Order = "mixed"

    @property
    def how(self) -> str:
        """All but shots and method, in words."""
        parts = [] if self.method in UNMIXED else [str(self.share), "generated first" if self.order == "in-turn" else self.order]
        return ", ".join([*parts, *([f"normals: real and {self.normals}"] if self.normals != REAL else [])])

    @property
    def name(self) -> str:
        """Of files; what is learned without the few real anomalies is the same for all numbers of them."""
        parts = [] if self.method in UNMIXED else [f"{float(self.share):g}", self.order]
        shots = [] if self.method == ALONE else [str(self.shots or "all")]
        return "_".join([self.method, self.normals, *parts, *shots])


def spoken(*shots: int) -> str:
    """Numbers of real anomalies of a type in words, such as "3, 5 shots"."""
    return f"{', '.join(str(number or 'all') for number in in_order(shots))} shots"


def in_order(shots: Iterable[int]) -> tuple[int, ...]:
    """From few to many, each once."""
    return tuple(sorted(set(shots), key=lambda number: (number == ALL, number)))


@dataclass(frozen=True)
class Axes:
    """What differs from case to case; the first of normals, shares and orders are those of every method.

    Attributes:
        methods: Keys of `LEGEND`.
        normals: Names of normal images, `REAL` first.
        shares: Of a batch's anomalies.
        orders: Of generated and real ones.
        varied: Methods that are also trained with each of the others, one thing changed at a time.
    """

    methods: tuple[str, ...]
    normals: tuple[str, ...] = (REAL,)
    shares: tuple[Fraction, ...] = (Fraction(1, 2), Fraction(1, 4))
    orders: tuple[Order, ...] = ORDERS
    varied: tuple[str, ...] = (OURS,)


def cases(shots_of: Sequence[int], axes: Axes) -> list[Case]:
    """Every case for each number of real anomalies of a type, method by method."""
    found = []
    for shots in shots_of:
        for method in axes.methods:
            base = Case(shots, method, axes.normals[0], axes.shares[0], axes.orders[0])
            found += [base, *(_changed(base, axes) if method in axes.varied else [])]
    return found


def _changed(base: Case, axes: Axes) -> Sequence[Case]:
    found = [replace(base, normals=normals) for normals in axes.normals[1:]]
    if base.method not in UNMIXED:
        found += [replace(base, share=share) for share in axes.shares[1:]]
        found += [replace(base, order=order) for order in axes.orders[1:]]
    return found
