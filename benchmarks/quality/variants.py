"""The paper's ablations as settings of `seas-train`: each table's rows and what differs from ours in each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """Words added to the commands; without any it is ours.

    Attributes:
        tune: For `seas-train tune`.
        masks: For `seas-train masks`.
        sample: For `seas-train sample`.
        each_type: A generator for each defect type, in place of one for all.
    """

    tune: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()
    sample: tuple[str, ...] = ()
    each_type: bool = False


OURS = "ours"
THRESHOLD = "--threshold"


def _tune(*words: str) -> Variant:
    return Variant(tune=words)


def _masks(*words: str) -> Variant:
    return Variant(masks=words)


_ABLATED: Mapping[str, Mapping[str, Variant]] = {
    "4": {
        "with TP": _tune("--words", "generic", "--init-product", "object", "--init-anomaly", "defect"),
        "w/o Mixed": Variant(each_type=True),
        "w/o NA": _tune("--na-weight", "0"),
        "w/o ST": _tune("--product-term", "off"),
    },
    "5": {
        "coarse mask alone": _masks("--refinement", "none", "--no-coarse-supervision"),
        "MRM": _masks("--refinement", "single", "--no-coarse-supervision"),
        "MRM, PM": _masks("--no-coarse-supervision"),
    },
    "20": {
        "N' = 1, N = 1": _tune("--anomaly-tokens", "1"),
        "N' = 4, N = 4": _tune("--product-tokens", "4"),
    },
    "21": {"w/o ST": _tune("--product-term", "off"), "with AT": _tune("--product-term", "background")},
    "22": {"H = 1": _tune("--shots", "1"), "H = 2": _tune("--shots", "2")},
    "23": {
        "anomalies, then normals": _tune("--order", "anomaly-normal"),
        "normals, then anomalies": _tune("--order", "normal-anomaly"),
    },
    "24": {"l = 1, 2, 3": _tune("--levels", "1,2,3"), "l = 2, 3, 4": _tune("--levels", "2,3,4")},
    "25": {"y = 1, 2, 3": _masks("--taps", "1,2,3"), "y = 2, 3, 4": _masks("--taps", "2,3,4")},
    "26": {"VAE encoder": _masks("--features", "encoder")},
    "27": {"w/o NIA": _masks("--no-normal-supervision")},
    "28": {"MRM (a)": _masks("--mrm", "a"), "MRM (b)": _masks("--mrm", "b")},
    "29": {level: Variant(sample=(THRESHOLD, level)) for level in ("0.1", "0.3", "0.4", "0.5")},
}
TABLES = tuple(_ABLATED)
"""Numbers of the paper's ablation tables."""


def of(table: str) -> dict[str, Variant]:
    """The rows of a table by the names that `paper.json` has for them, ours last."""
    return {**_ABLATED[table], OURS: Variant()}
