"""The public data sets that are known by their trees."""

from __future__ import annotations

from seas_runtime.dataset.importers.formats.tree_rules import Place, Tree
from seas_runtime.dataset.importers.formats.visa import visa_lists

_REAL_IAD = {
    "AK": "pit",
    "BX": "deformation",
    "CH": "abrasion",
    "HS": "scratch",
    "PS": "damage",
    "QS": "missing parts",
    "YW": "foreign objects",
    "ZW": "contamination",
}
TREES: dict[str, Tree] = {
    "mvtec3d": Tree(
        "MVTec 3D AD",
        ("train/good/rgb/{name}", "test/{type}/gt/{name}"),
        (
            Place("train/good/rgb/{name}"),
            Place("validation/good/rgb/{name}"),
            Place("test/good/rgb/{name}", held_out=True),
            Place("test/{type}/rgb/{name}", ("test/{type}/gt/{name}",)),
        ),
        ("{part}/{type}/xyz/{name}", "test/good/gt/{name}"),
    ),
    "mvtec_ad2": Tree(
        "MVTec AD 2",
        ("train/good/{name}", "test_public/ground_truth/{type}/{name}"),
        (
            Place("train/good/{name}"),
            Place("validation/good/{name}"),
            Place("test_public/good/{name}", held_out=True),
            Place("test_public/{type}/{name}", ("test_public/ground_truth/{type}/{name}_mask",)),
        ),
        ("test_private/**/{name}", "test_private_mixed/**/{name}", "test_public/ground_truth/good/{name}"),
    ),
    "btad": Tree(
        "BTAD",
        ("train/ok/{name}", "test/ko/{name}", "ground_truth/ko/{name}"),
        (
            Place("train/ok/{name}"),
            Place("test/ok/{name}", held_out=True),
            Place("test/ko/{name}", ("ground_truth/ko/{name}",), title="ko", soft=True),
        ),
    ),
    "mvtec": Tree(
        "MVTec AD",
        ("train/good/{name}", "test/{type}/{name}", "ground_truth/{type}/**/{name}"),
        (
            Place("train/good/{name}"),
            Place("validation/good/{name}"),
            Place("test/good/{name}", held_out=True),
            Place(
                "test/{type}/{name}",
                (
                    "ground_truth/{type}/{name}_mask",
                    "ground_truth/{type}/{name}",
                    "ground_truth/{type}/{name}/*",
                ),
            ),
        ),
        ("ground_truth/good/**/{name}",),
    ),
    "visa": Tree(
        "VisA",
        ("Data/Images/Anomaly/{name}", "Data/Masks/Anomaly/{name}"),
        (
            Place("Data/Images/Normal/{name}"),
            Place("Data/Images/Anomaly/{name}", ("Data/Masks/Anomaly/{name}",), title="anomaly"),
        ),
        lists=visa_lists,
    ),
    "real_iad": Tree(
        "Real-IAD",
        ("OK/**/{name}", "NG/{type}/**/{name}"),
        (
            Place("OK/**/{name}"),
            Place("NG/{type}/**/{name}", ("NG/{type}/{inner}{name}",), titles=_REAL_IAD),
        ),
        views=True,
    ),
    "kolektor": Tree(
        "KolektorSDD",
        ("kos{part}/Part{name}", "kos{part}/Part{name}_label"),
        (Place("kos{part}/Part{name}", ("kos{part}/Part{name}_label",), title="defect", soft=True),),
        blank=True,
    ),
    "kolektor2": Tree(
        "KolektorSDD2",
        ("train/{name}_GT", "test/{name}_GT"),
        (
            Place("train/{name}", ("train/{name}_GT",), title="defect", soft=True),
            Place("test/{name}", ("test/{name}_GT",), title="defect", soft=True, held_out=True),
        ),
        blank=True,
    ),
}
