"""The values of a set of masks -> what each of them stands for, looked at together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from seas_runtime.dataset.importers.levels import (
    COLOUR,
    Above,
    Among,
    Differs,
    Nearest,
    Rule,
    Survey,
    rgb,
    smooth,
)
from seas_runtime.dataset.importers.settings import Inverted
from seas_runtime.dataset.importers.words import counted

_NAMES = {
    "#ff0000": "red",
    "#00ff00": "green",
    "#008000": "green",
    "#0000ff": "blue",
    "#ffff00": "yellow",
    "#00ffff": "cyan",
    "#ff00ff": "magenta",
    "#ffffff": "white",
    "#000000": "black",
    "#ffa500": "orange",
    "#800000": "maroon",
    "#800080": "purple",
    "#000080": "navy",
    "#808000": "olive",
    "#008080": "teal",
}
_MOST_CLASSES = 32
_FAR = 64  # in RGB: colours nearer than this are one colour with noise or a soft edge
_RARE = 0.02  # of what is coloured: less is the edge between two colours


@dataclass(frozen=True)
class Reading:
    """What the values of a set of masks stand for.

    Attributes:
        rules: A word for each kind of mark (a number, or a colour as #rrggbb) and its rule; a single kind has the word "".
        notes: What the user should know, a line each.
        doubts: What may be wrong, a line each.
    """

    rules: tuple[tuple[str, Rule], ...]
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def read(surveys: Collection[Survey], inverted: Inverted = "auto") -> Reading:
    """Say what the values of masks stand for; "auto" takes the larger half for the background."""
    if any(held.coloured for held in surveys):
        reading = _colours(surveys)
        unheard = ("--inverted says nothing of colours",) if inverted == "yes" else ()
        return replace(reading, notes=reading.notes + unheard)
    levels = _total(surveys)
    if any(map(smooth, surveys)) or _soft_edges(levels):
        return _soft(surveys, levels, inverted)
    marked = set(levels) - {0}
    together = any({1, 255} <= held.counts.keys() for held in surveys)
    if len(levels) <= 2 or (marked <= {1, 255} and not together):
        return _two(surveys, levels, inverted)
    if len(marked) > _MOST_CLASSES:
        return Reading(
            (("", Differs()),),
            doubts=(f"masks hold {len(marked)} numbers, taken as numbers of single anomalies: all but 0 is one type",),
        )
    return _numbers(levels, together)


def word(value: int, coloured: bool) -> str:
    """How a value is called in a table and in `--type`: a number, or #rrggbb."""
    if not coloured:
        return str(value)
    return f"#{value - COLOUR:06x}" if value >= COLOUR else f"#{value:02x}{value:02x}{value:02x}"


def proposed(words: str) -> str:
    """A title for a value that nobody has named."""
    return _NAMES.get(words, f"colour_{words[1:]}") if words.startswith("#") else f"class_{words}"


def _two(surveys: Collection[Survey], levels: Counter[int], inverted: Inverted) -> Reading:
    """Two values: dark is the background, unless it has the smaller part of most masks."""
    dark = min(levels) if len(levels) > 1 else 0
    return _turned(Differs(frozenset((dark,))), Among(frozenset((dark,))), surveys, lambda value: value != dark, inverted)


def _soft(surveys: Collection[Survey], levels: Counter[int], inverted: Inverted) -> Reading:
    """Grey edges: marked from half of the brightest level on."""
    least = (max(levels) + 1) // 2
    reading = _turned(Above(least), Above(least, dark=True), surveys, lambda value: value >= least, inverted)
    note = f"masks have soft edges: marked is what is at least {least} of {max(levels)}"
    between = sum(count for level, count in levels.items() if least // 2 < level < least + least // 2)
    bright = sum(count for level, count in levels.items() if level >= least + least // 2)
    doubt = (f"{note}, and much of them lies in between; they may be numbers, or a map of scores",)
    unclear = between > bright
    return Reading(reading.rules, (*reading.notes, note), reading.doubts + (doubt if unclear else ()))


def _turned(
    bright: Rule,
    dark: Rule,
    surveys: Collection[Survey],
    is_bright: Callable[[int], bool],
    inverted: Inverted,
) -> Reading:
    if inverted == "no":
        return Reading((("", bright),))
    if inverted == "yes":
        return Reading((("", dark),), notes=("masks are read as inverted: dark is the anomaly",))
    shares = [
        sum(count for value, count in held.counts.items() if is_bright(value)) / sum(held.counts.values()) for held in surveys
    ]
    most = sum(share > 0.5 for share in shares)
    if 2 * most <= len(shares):
        return Reading((("", bright),))
    said = f"{most} of {counted(len(shares), 'mask')} are bright in more than half of their area"
    return Reading(
        (("", dark),),
        doubts=(f"{said}: they look inverted, and dark is taken for the anomaly; --inverted no undoes it",),
    )


def _numbers(levels: Counter[int], together: bool) -> Reading:
    """Class numbers; 255 beside 1 is the edge that VOC leaves undecided."""
    void = {255} if together and max(levels) == 255 and sum(level < 255 for level in levels) > 1 else set()
    background = 0 if 0 in levels else levels.most_common(1)[0][0]
    kinds = sorted(set(levels) - {background} - void)
    notes = [f"masks hold the numbers {', '.join(map(str, kinds))}, taken as types; {background} is the background"]
    notes += ["255 in masks is taken as undecided and not marked"] if void else []
    doubts = []
    if levels[background] * 2 < levels.total():
        doubts.append(f"the background {background} has less than half of the masks' area")
    if max(kinds) > _MOST_CLASSES:
        doubts.append(
            f"masks hold the levels {', '.join(map(str, kinds))}: taken as one type each, though they may be one type with "
            f"soft edges; if so, give each the same name with --type {kinds[0]}=NAME and so on"
        )
    rules = tuple((word(kind, coloured=False) if len(kinds) > 1 else "", Among(frozenset((kind,)))) for kind in kinds)
    return Reading(rules, tuple(notes), tuple(doubts))


def _colours(surveys: Collection[Survey]) -> Reading:
    total = _total(surveys)
    blurred = any(map(smooth, surveys)) or len(total) > _MOST_CLASSES
    kinds = _peaks(total) if blurred else [value for value, _ in total.most_common()]
    black = sum(0 in held.counts for held in surveys)
    background = 0 if 0 in kinds and 2 * black >= len(surveys) else kinds[0]
    kinds = sorted(kind for kind in kinds if kind != background)
    if not kinds:
        return Reading((("", Differs(frozenset((background,)))),))
    names = [word(kind, coloured=True) for kind in kinds]
    doubts, notes = [], []
    if len(kinds) > 1:
        notes.append(f"masks hold the colours {', '.join(names)}, taken as types, on {word(background, coloured=True)}")
    if background != 0:
        doubts.append(f"the background of masks is taken to be {word(background, coloured=True)}, their commonest colour")
    if blurred and len(kinds) > 1:
        doubts.append("masks are blurred (JPEG, or soft edges): each pixel counts for the nearest of these colours")
    rules: list[tuple[str, Rule]] = []
    for kind, name in zip(kinds, names, strict=True):
        others = tuple(other for other in (background, *kinds) if other != kind)
        rule: Rule = Nearest((kind,), others) if blurred else Among(frozenset((kind,)))
        rules.append((name if len(kinds) > 1 else "", rule))
    return Reading(tuple(rules), tuple(notes), tuple(doubts))


def _peaks(total: Counter[int]) -> list[int]:
    """The colours that others are noise of or edges between, the commonest first."""
    peaks: list[int] = []
    weight: Counter[int] = Counter()
    for value, count in total.most_common():
        near = [peak for peak in peaks if _distance(peak, value) < _FAR]
        if not near:
            peaks.append(value)
        weight[min(near, key=lambda peak: _distance(peak, value)) if near else value] += count
    coloured = sum(weight[peak] for peak in peaks[1:])
    kept = peaks[:1]
    for peak in sorted(peaks[1:], key=lambda peak: -weight[peak]):
        if weight[peak] >= _RARE * coloured and not _is_edge(peak, kept, weight):
            kept.append(peak)
    return kept


def _is_edge(peak: int, kept: list[int], weight: Counter[int]) -> bool:
    """Whether a colour is a mixture of two that are there, and has far fewer pixels than either."""
    pairs = ((one, other) for one in kept for other in kept if one < other)
    return any(
        _distance(one, peak) + _distance(peak, other) < 1.15 * _distance(one, other)
        and 4 * weight[peak] < min(weight[one], weight[other])
        for one, other in pairs
    )


def _distance(one: int, other: int) -> float:
    return math.dist(rgb(one), rgb(other))


def _total(surveys: Collection[Survey]) -> Counter[int]:
    total: Counter[int] = Counter()
    for held in surveys:
        total.update(held.counts)
    return total


def _soft_edges(levels: Counter[int]) -> bool:
    """Whether levels between the lowest and the highest are few pixels of many values, as antialiasing leaves them."""
    if len(levels) < 5 or max(levels) < _MOST_CLASSES:
        return False
    between = levels.total() - levels[min(levels)] - levels[max(levels)]
    return 4 * between < levels[max(levels)]
