"""A product's folder, generators, normal images and judge -> the stock of a decomposition."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.demo import drawn
from benchmarks.demo.drawn import JudgeSettings
from benchmarks.demo.oracle import Labels, Oracle, Pieces
from benchmarks.quality.decomposition import cases
from benchmarks.quality.decomposition.cases import ALL
from benchmarks.quality.decomposition.stock import Shots, Stock
from benchmarks.quality.pairs import LoadedPairs, by_type, load_pairs, read_normals, read_pairs
from benchmarks.quality.real import Material, Real, load, match, refuse_leak
from benchmarks.stages import generation, here
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.errors import DataError, SettingsError
from seas_train.data import demo, layouts
from seas_train.data.layouts import Record
from seas_train.pipeline.stages import Log, Stages

SHOTS = (3, 5, 15)
"""Numbers of real anomalies of each type, unless others are asked for."""


@dataclass(frozen=True)
class Request:
    """What is taken apart.

    Attributes:
        real: The product; the few come from what it has for training.
        side: Of all images, pixels.
        shots: Real anomalies of each type, `ALL` among them; none for those of `SHOTS` that there are, and all.
        order: How the few are chosen, as `seas-train tune --shots` does.
        seed: Of that choice.
        engines: Bundles by the shots that their generators learned from, 0 for all others.
        pairs: Folders of generated pairs in their place, in the same way.
        normals: Folders of other normal images by name.
        drawn: Name of the drawn product that the data set is of; None for photographs.
        count: Pairs of each kind.
        judge: Of a drawn product.
    """

    real: Real
    side: int
    shots: tuple[int, ...]
    order: Literal["seeded", "first"]
    seed: int
    engines: Mapping[int, Path]
    pairs: Mapping[int, Path]
    normals: Mapping[str, Path]
    drawn: str | None
    count: int
    judge: JudgeSettings

    @property
    def defects(self) -> tuple[str, ...]:
        """Names of the defect types; type k of `Pieces` is number k - 1."""
        return drawn.defects(self.drawn) if self.drawn else self.real.product.defects


def stock_of(asked: Request, work: Path, log: Log) -> Stock:
    """Load everything, generate the pairs and train the judge, as far as that is not done.

    Args:
        asked: What is taken apart.
        work: Where pairs and judge are kept.
        log: Called with a line for each thing that takes time.

    Raises:
        DataError: as `real.load`; a type has fewer images than shots, a folder has no images, a pair is a copy of a test
            image, or drawn pieces are asked for and photographs given.
        SettingsError: there is no such drawn product, or generators of shots that are not asked for.
        click.ClickException: as `seas-gen`.
    """
    _require_product(asked)
    real, material, few = asked.real, load(asked.real, asked.side), _typed(asked.real.few, asked.defects)
    shots, judge = _shots(asked, log), None
    if asked.drawn is not None:
        material, judge = _judged(asked.drawn, asked, Pieces(*material.few, few), material, work, log)
    unused = sorted({*asked.engines, *asked.pairs} - {*shots, 0})
    if unused:
        raise SettingsError(f"found a generator of {unused[0]} shots, expected one of {cases.spoken(*shots)}; add --shots")
    made = {place: _generated(place, asked, material, work, log) for place in _places(asked, shots)}
    labels = {place: judge.labels(pieces.images) for place, pieces in made.items()} if judge else {}
    found = {}
    for number in shots:
        chosen = np.array([record in _few(real, number, asked) for record in real.few])
        rest = LoadedPairs(material.few.images[~chosen], material.few.masks[~chosen])
        own = replace(material, few=LoadedPairs(material.few.images[chosen], material.few.masks[chosen]))
        more = rest if judge is None and len(rest.images) else None
        place = number if number in {**asked.engines, **asked.pairs} else 0
        found[number] = Shots(own, few[chosen], more, made.get(place), labels.get(place))
    normals = {name: load_pairs(read_normals(folder), asked.side).images for name, folder in asked.normals.items()}
    return Stock(found, asked.count, asked.count, judge, asked.drawn, normals)


def sets(stock: Stock, request: Request) -> tuple[dict[str, Pieces], str]:
    """Pairs whose defects are laid side by side, and which of them are the real ones.

    Of photographs the real ones are the anomalies of the test, of a drawn product fresh ones.
    """
    most = list(stock.shots)[-1]
    own = stock.shots[most]
    anomalous = own.material.test.masks.any(axis=(1, 2))
    test = LoadedPairs(own.material.test.images[anomalous], own.material.test.masks[anomalous])
    if stock.drawn:
        turns = drawn.in_turn(stock.drawn, len(test.images))
        types = np.array([1 + request.defects.index(defect) for defect in turns], np.uint8)
        name = "real, drawn for the test"
    else:
        types, name = _typed(request.real.held_out, request.defects), "real, held out"
    found = {name: Pieces(test.images, test.masks, types)}
    found[f"real, {cases.spoken(most)}"] = Pieces(own.material.few.images, own.material.few.masks, own.types)
    for shots, one in stock.shots.items():
        if one.ours is not None and not any(one.ours is known for known in found.values()):
            special = shots and shots in {**request.engines, **request.pairs}
            found[f"generated, {cases.spoken(shots)}" if special else "generated"] = one.ours
            if one.labels is not None:
                found[f"{list(found)[-1]}, by the judge"] = replace(one.ours, masks=one.labels > 0)
    return found, name


def _shots(asked: Request, log: Log) -> tuple[int, ...]:
    if asked.shots:
        return cases.in_order(asked.shots)
    counts = [len(records) for records in by_type(asked.real.few).values()]
    found = [number for number in SHOTS if number <= min(counts)]
    if lost := set(SHOTS) - set(found):
        log(f"{cases.spoken(*lost)} are left out: a type has {min(counts)} anomalies for training; give more with --train-share")
    return cases.in_order(found if max(counts) in found else [*found, ALL])


def _few(real: Real, shots: int, asked: Request) -> frozenset[Record]:
    if shots == ALL:
        return frozenset(real.few)
    learnable = dataclasses.replace(real.product, anomalies=real.few)
    return frozenset(layouts.split(learnable, order=asked.order, seed=asked.seed, shots=shots).train)


def _typed(records: Sequence[Record], defects: Sequence[str]) -> Labels:
    """Number (n,) of each record's defect type, from 1; 0 of another."""
    return np.array([1 + defects.index(str(r.defect)) if r.defect in defects else 0 for r in records], np.uint8)


def _require_product(asked: Request) -> None:
    """Refuse a judge of another product than the data set's."""
    if asked.drawn is None:
        return
    if asked.drawn not in demo.PRODUCTS:
        raise SettingsError(f"--judge {asked.drawn}: no drawn product, expected one of {', '.join(demo.PRODUCTS)}")
    found, expected = asked.real.product.defects, drawn.defects(asked.drawn)
    if set(found) != set(expected):
        raise DataError(
            f"{asked.real.product.root}: found the defect types {', '.join(found)}, expected those of drawn pieces of "
            f"{asked.drawn} ({', '.join(expected)}); leave --judge out"
        )


def _judged(product: str, asked: Request, few: Pieces, material: Material, work: Path, log: Log) -> tuple[Material, Oracle]:
    """The material with fresh drawn pieces as its test, anomalies before whole ones, and the judge."""
    log(f"the judge of {product}: {asked.judge.steps} steps on {asked.judge.pieces} drawn pieces, unless it is there")
    anomalies, whole = drawn.fresh_pieces(product, asked.side, asked.judge)
    judge = drawn.judge_of(work / "judge", product, anomalies, asked.judge)
    drawn.require_drawn(judge, product, few, asked.judge.least)
    test = LoadedPairs(np.concatenate([anomalies.images, whole.images]), np.concatenate([anomalies.masks, whole.masks]))
    return replace(material, test=test, names=tuple(f"drawn {i}" for i in range(len(test.images)))), judge


def _places(asked: Request, shots: Iterable[int]) -> list[int]:
    """Shots of the generators that are used, 0 for that of all others."""
    given = {**asked.engines, **asked.pairs}
    return sorted({number if number in given else 0 for number in shots} & set(given))


def _generated(place: int, asked: Request, material: Material, work: Path, log: Log) -> Pieces:
    """The pairs of one generator whose masks mark something."""
    folder = asked.pairs.get(place)
    if folder is None:
        engine = asked.engines[place]
        folder = work / f"pairs-{read_bundle(engine).manifest.digest[:12]}-{asked.count}"
        Stages(work, log, here).run(generation(folder.name, engine, folder, asked.count))
    products = read_pairs(folder)
    (generated,) = match({asked.real.product.name: asked.real}, products).values()
    records = products[generated]
    pairs, types = load_pairs(records, asked.side), _typed(records, asked.defects)
    refuse_leak(pairs.images, material, f"{folder}: a pair of {generated}")
    marked = pairs.masks.any(axis=(1, 2))
    if not marked.any():
        raise DataError(f"{folder}: the masks of all {len(records)} pairs are empty, expected marked pixels; generate others")
    return Pieces(pairs.images[marked], pairs.masks[marked], types[marked])
