"""Scores of a decomposition as a table: gains over few real anomalies as a share of the headroom, and in how many seeds."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.quality.decomposition import cases
from benchmarks.quality.decomposition.cases import Case
from benchmarks.quality.decomposition.trainings import Found
from benchmarks.quality.tables import Cell, Seeds, Table

COMPARED = {"IoU": "pixel_iou_half", "AP": "pixel_ap"}
"""Scores whose gains are told, by their column."""
SHOWN = {"PRO": "pixel_pro", "image AUROC": "image_auroc"}
NEARLY = 0.8
"""Share of the headroom that is asked of a method."""


def table(found: Found) -> Table:
    """Every case: mean and spread over seeds, gains, and the number of seeds in which they hold.

    Args:
        found: Of the trainings; a case without another of its shots to compare with has no gain.
    """
    rows = tuple(_row(case, found) for case in found)
    columns = ["shots", "learns from", "how", "pairs"]
    for name in COMPARED:
        columns += [name, f"{name} above few real", f"{name} above Crop&Paste", f"{name}: % of headroom", f"{name} at {NEARLY:.0%}"]
    notes = (
        "Scores in per cent, mean and standard deviation over seeds. IoU is that of all pixels together at probability one half.",
        "Above: in how many seeds, each compared with the same seed of few real anomalies (or Crop&Paste) of the same shots, real "
        "normal images alone, and the first share and order.",
        "Headroom: what perfect pairs gain over few real anomalies in the mean (without a judge: the other real anomalies for "
        f"training); at {NEARLY:.0%}: in how many seeds a gain is more than that share of it.",
        *(f"{method}: {text}." for method, text in cases.LEGEND.items() if any(case.method == method for case in found)),
    )
    return Table("What segmenters gain", (*columns, *SHOWN), rows, notes)


def of(found: Found, case: Case, score: str) -> Seeds | None:
    """A score of one case in per cent, in the order of seeds; None where it was not measured."""
    by_seed = found.get(case, {})
    values = [by_seed[seed]["scores"].get(score) for seed in sorted(by_seed)]
    return Seeds(tuple(100 * value for value in values)) if values and None not in values else None


def headroom(found: Found, case: Case, score: str) -> float | None:
    """What perfect pairs gain in the mean over few real anomalies of a case's shots; None where nothing is known or gained."""
    few = _base(found, case, cases.FEW)
    most = _base(found, case, cases.PERFECT) or _base(found, case, cases.MORE)
    if few is None or most is None:
        return None
    (low, high) = (of(found, one, score) for one in (few, most))
    gained = high.mean - low.mean if low and high else 0.0
    return gained if gained > 0 else None


def _row(case: Case, found: Found) -> tuple[Cell, ...]:
    numbers = [kept["pairs"] for kept in found[case].values()]
    cells: list[Cell] = [case.shots or "all", case.method, case.how, max(numbers)]
    for score in COMPARED.values():
        cells += [of(found, case, score), *_gains(case, found, score)]
    return (*cells, *(of(found, case, score) for score in SHOWN.values()))


def _gains(case: Case, found: Found, score: str) -> tuple[Cell, ...]:
    few, crop = _base(found, case, cases.FEW), _base(found, case, cases.CROP_PASTE)
    over_few, over_crop = (_differences(found, case, other, score) for other in (few, crop))
    room = headroom(found, case, score)
    if not over_few or room is None:
        return (_above(over_few, 0.0), _above(over_crop, 0.0), None, None)
    share = 100 * sum(over_few.values()) / len(over_few) / room
    return (_above(over_few, 0.0), _above(over_crop, 0.0), share, _above(over_few, NEARLY * room))


def _base(found: Found, case: Case, method: str) -> Case | None:
    """The case of another method with the same shots and the first of everything else."""
    return next((other for other in found if (other.shots, other.method) == (case.shots, method)), None)


def _differences(found: Found, case: Case, other: Case | None, score: str) -> Mapping[int, float]:
    """Per cent by seed; none against itself."""
    if other is None or other == case:
        return {}
    own, its = found[case], found[other]
    return {seed: 100 * (own[seed]["scores"][score] - its[seed]["scores"][score]) for seed in own if seed in its}


def _above(differences: Mapping[int, float], least: float) -> str | None:
    if not differences:
        return None
    held = sum(value > least for value in differences.values())
    return f"{held} of {len(differences)}"
