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
LEGEND: Mapping[str, str] = {
    "4": "TP: a prompt of fixed generic words. Mixed: one generator learns all defect types, not one each. NA: the loss of normal "
    "images. ST: the term that keeps the product's token off the anomaly.",
    "5": "Coarse mask alone: enlarged, without refinement. MRM: one mask refinement module. PM: three, one after the other. "
    "Ours learns from the coarse mask too.",
    "20": "N', N: tokens of the product and of each defect type; ours has 1 and 4.",
    "21": "ST: the product's token looks away from the anomaly. AT: it looks at the background in place of that.",
    "22": "H: anomalies of each type to learn from; ours has a third of them.",
    "23": "Ours has anomalies and normal images in every batch.",
    "24": "l: levels of the U-Net's encoder whose attention the DA loss uses; ours has 2, 3.",
    "25": "y: levels of the U-Net's decoder that the coarse mask is made of; ours has 2, 3.",
    "26": "Ours refines by features of the VAE's decoder.",
    "27": "NIA: the losses of normal images, of the mask branch.",
    "28": "MRM: mask refinement modules with no (a) or one (b) block of convolutions; ours has two.",
    "29": "The probability above which a pixel is anomalous; ours has 0.2.",
}
"""What a table's rows are called after."""
TABLES = tuple(_ABLATED)
"""Numbers of the paper's ablation tables."""


def of(table: str) -> dict[str, Variant]:
    """The rows of a table by the names that `paper.json` has for them, ours last."""
    return {**_ABLATED[table], OURS: Variant()}
