"""Every format: written as its tool writes it, imported, and compared with the masks of pycocotools."""

import numpy as np
import pytest

from tests.runtime.dataset.truth import COLOURS, NORMALS, TRUTH, iou
from tests.runtime.dataset.written_sources import WRITERS

FORMATS = {
    "labelme": "LabelMe",
    "coco": "COCO",
    "cvat_xml": "CVAT XML",
    "cvat_masks": "masks of classes",
    "label_studio": "Label Studio",
    "via": "VIA",
    "yolo": "YOLO",
    "supervisely": "Supervisely",
    "masks": "pictures of masks",
    "voc": "Pascal VOC",
}


@pytest.mark.parametrize("name", WRITERS)
def test_imported_masks_are_those_that_were_drawn(name, tmp_path, run, product):
    WRITERS[name](tmp_path / "source")
    said = run()
    title = next(title for prefix, title in FORMATS.items() if name.startswith(prefix))
    assert f": {title}, 5 pictures to use" in said
    assert "Doubts" not in said
    for one in TRUTH:
        assert iou(product.mask(f"{one.title}/{one.name}"), one.mask) >= 0.995
    assert product.names("test") == sorted(COLOURS)
    assert product.names("train/good") == [f"{name}.jpg" for name in NORMALS]
    written = {record["source"].rpartition("/")[2]: record.get("type") for record in product.record["pictures"]}
    assert written == {f"{one.name}.jpg": one.title for one in TRUTH} | {f"{name}.jpg": None for name in NORMALS}


BY_PIXEL = [
    "coco_rle",
    "coco_runs",
    "label_studio_brush",
    "label_studio_png",
    "labelme_mask",
    "cvat_masks",
    "masks",
]


@pytest.mark.parametrize("name", BY_PIXEL)
def test_masks_that_are_given_by_pixel_are_equal(name, tmp_path, run, product):
    WRITERS[name](tmp_path / "source")
    run()
    for one in TRUTH:
        assert np.array_equal(product.mask(f"{one.title}/{one.name}"), one.mask)


def test_pictures_that_need_no_change_are_copied_byte_for_byte(tmp_path, run, product):
    WRITERS["labelme"](tmp_path / "source")
    run()
    for one in TRUTH:
        copied = product.root / f"test/{one.title}/{one.name}.jpg"
        assert copied.read_bytes() == (tmp_path / f"source/{one.name}.jpg").read_bytes()
