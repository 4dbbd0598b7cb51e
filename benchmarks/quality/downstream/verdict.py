"""What a report is read for: whether generated pairs help beside the few real anomalies, and more than other pairs do."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from benchmarks.quality.downstream import trials
from benchmarks.quality.downstream.scores import percent
from benchmarks.quality.downstream.sources import REAL, STANDARD
from benchmarks.quality.downstream.trials import Result
from benchmarks.quality.tables import Seeds

SCORE, CALLED = "pixel_ap", "pixel AP"


def verdict(results: Sequence[Result], own: Collection[str]) -> Iterator[str]:
    """Two sentences for each network: few real anomalies alone, with our pairs, and with the best other pairs.

    Args:
        results: Of all trainings, of one scope; those with most pairs count.
        own: Names of the methods that are ours, without the end of those that have the real anomalies too.
    """
    most = max(result.trial.count for result in results)
    networks = dict.fromkeys(result.trial.network for result in results)
    for network in networks:
        found = list(trials.of(results, network=network, count=most))
        names = dict.fromkeys(result.trial.method for result in found)
        scores = {name: percent(list(trials.of(found, method=name)), SCORE) for name in names}
        known = {name: score for name, score in scores.items() if score is not None}
        ours = {name: known[name + REAL] for name in own if name + REAL in known}
        others = {name.removesuffix(REAL): score for name, score in known.items() if name.endswith(REAL)}
        others = {name: score for name, score in others.items() if name not in own}
        if ours and STANDARD in known:
            yield from _of(network, known[STANDARD], ours, others)


def _of(network: str, real: Seeds, ours: dict[str, Seeds], others: dict[str, Seeds]) -> Iterator[str]:
    best = max(ours, key=lambda name: ours[name].mean)
    gain, better, seeds = _beside(ours[best], real)
    word = "help" if gain > 0 and 2 * better > seeds else "do not help"
    yield (
        f"Generated pairs {word} here (network {network}): the few real anomalies alone reach a {CALLED} of {real.mean:.1f}, "
        f"with pairs of {best} beside them {ours[best].mean:.1f} ({gain:+.1f}; higher in {better} of {seeds} seeds)."
    )
    if others:
        other = max(others, key=lambda name: others[name].mean)
        gain, better, seeds = _beside(ours[best], others[other])
        yield (
            f"The best of the other pairs, {other}, reach {others[other].mean:.1f} beside the same real ones: ours are "
            f"{abs(gain):.1f} {'above' if gain >= 0 else 'below'}, and higher in {better} of {seeds} seeds."
        )


def _beside(one: Seeds, other: Seeds) -> tuple[float, int, int]:
    """By how much the mean is higher, in how many seeds, and of how many."""
    pairs = list(zip(one.values, other.values, strict=False))  # an interrupted report may have more of one
    return one.mean - other.mean, sum(a > b for a, b in pairs), len(pairs)
