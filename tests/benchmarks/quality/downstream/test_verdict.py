"""Whether pairs help, in words."""

import pytest

from benchmarks.quality.downstream.trials import Result, Trial
from benchmarks.quality.downstream.verdict import verdict

OURS = ("SeaS", "SeaS, composites")


def results(network="small", count=400, **by_method):
    """Results of a method's pixel AP for each seed."""
    names = {"standard": "standard", "ours": "SeaS", "ours_real": "SeaS + few real", "placed_real": "SeaS, composites + few real"}
    names |= {"paste": "crop-paste", "paste_real": "crop-paste + few real"}
    return [
        Result(Trial(names[method], network, "unified", count, seed), {"nut": {"pixel_ap": value}}, 1.0)
        for method, values in by_method.items()
        for seed, value in enumerate(values)
    ]


def test_pairs_that_help_and_beat_the_best_other_pairs():
    found = results(standard=[0.4, 0.5], ours_real=[0.41, 0.45], placed_real=[0.6, 0.62], paste_real=[0.5, 0.64], paste=[0.9, 0.9])
    first, second = verdict(found, OURS)
    assert first.startswith("Generated pairs help here (network small): the few real anomalies alone reach a pixel AP of 45.0, ")
    assert "with pairs of SeaS, composites beside them 61.0 (+16.0; higher in 2 of 2 seeds)." in first
    assert "The best of the other pairs, crop-paste, reach 57.0 beside the same real ones: ours are 4.0 above" in second
    assert second.endswith("and higher in 1 of 2 seeds.")


@pytest.mark.parametrize("ours", [[0.3, 0.3, 0.3], [0.39, 0.39, 0.9]])  # lower; higher in the mean by one lucky seed
def test_pairs_that_do_not_help(ours):
    (first,) = verdict(results(standard=[0.4, 0.4, 0.4], ours_real=ours), OURS)
    assert first.startswith("Generated pairs do not help here")


def test_each_network_has_its_own_and_smaller_numbers_of_pairs_do_not_count():
    found = results(standard=[0.4], ours_real=[0.5], paste_real=[0.6]) + results("efficientnet", standard=[0.6], ours_real=[0.5])
    found += results(count=50, ours_real=[0.9], standard=[0.9])
    said = list(verdict(found, OURS))
    assert [("small" in line, "efficientnet" in line) for line in said] == [(True, False), (False, False), (False, True)]
    assert "ours are 10.0 below" in said[1]
    assert "do not help" in said[2]


def test_nothing_is_said_where_nothing_can_be():
    assert list(verdict(results(standard=[0.4], ours=[0.5]), OURS)) == []
