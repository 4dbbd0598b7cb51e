"""Pictures of masks by their names and folders."""

import numpy as np
import pytest

from tests.runtime.dataset.masked import DISC, OTHER, SIZE, check, levels, save_each
from tests.runtime.dataset.truth import photograph, save_mask, write_normals

NAMES = [
    "{}_mask.png",
    "{}_gt.png",
    "{}_label.png",
    "{}-mask.png",
    "{}.mask.bmp",
    "{} mask.tif",
    "mask_{}.png",
    "{}.png",
    "{}_seg.png",
]


@pytest.mark.parametrize("pattern", NAMES)
def test_names_of_masks(pattern, unmasked, run, product):
    for i, mask in enumerate((DISC, OTHER, DISC | OTHER)):
        save_mask(unmasked / "masks" / pattern.format(i), mask)
    assert "Doubts" not in run()
    check(product)


@pytest.mark.parametrize("pattern", ["{}_mask.png", "{}_gt.png", "{}-label.png", "{}.png"])
def test_masks_beside_their_photographs(pattern, unmasked, run, product):
    (unmasked / "masks").rmdir()
    for i, mask in enumerate((DISC, OTHER, DISC | OTHER)):
        save_mask(unmasked / "bad" / pattern.format(i), mask)
    assert "Doubts" not in run()
    check(product)


def test_ome_endings(unmasked, run, product):
    for i, mask in enumerate((DISC, OTHER, DISC | OTHER)):
        (unmasked / f"bad/{i}.jpg").unlink()
        photograph(i, *SIZE).save(unmasked / f"bad/part{i}.ome.tif")
        save_mask(unmasked / f"masks/part{i}_mask.ome.tif", mask)
    run()
    assert np.array_equal(product.mask("anomaly/part1.ome"), OTHER)


def test_a_folder_of_masks_for_each_photograph(unmasked, run, product):
    for i in range(3):
        save_mask(unmasked / f"masks/{i}/0.png", DISC)
        save_mask(unmasked / f"masks/{i}/1.png", OTHER)
    said = run()
    assert "3 photographs with several masks each, which are united" in said
    assert np.array_equal(product.mask("anomaly/0"), DISC | OTHER)


def test_a_folder_for_each_photograph_and_its_masks(tmp_path, run, product):
    root = tmp_path / "source"
    write_normals(root / "good")
    for i, mask in enumerate((DISC, OTHER)):
        (root / f"scan{i}/images").mkdir(parents=True)
        photograph(i, *SIZE).save(root / f"scan{i}/images/scan{i}.png")
        save_mask(root / f"scan{i}/masks/7fe3{i}.png", mask)
        save_mask(root / f"scan{i}/masks/a01b{i}.png", mask)
    run()
    assert np.array_equal(product.mask("anomaly/scan1"), OTHER)


def test_types_are_named_after_folders_and_equal_names_do_not_mix(tmp_path, run, product):
    root = tmp_path / "source"
    write_normals(root / "ok")
    for name, mask in (("Kratzer", DISC), ("2", OTHER)):
        (root / f"test/{name}").mkdir(parents=True)
        photograph(len(name), *SIZE).save(root / f"test/{name}/1.png")
        save_mask(root / f"label/{name}/1.png", mask)
    run()
    assert np.array_equal(product.mask("Kratzer/1"), DISC)
    assert np.array_equal(product.mask("2/1"), OTHER)


def test_masks_and_photographs_without_one_another_are_named(unmasked, run, product):
    save_each(unmasked, lambda mask: levels(mask, 255))
    (unmasked / "bad/1.jpg").unlink()
    (unmasked / "masks/2.png").unlink()
    said = run(code=3)
    assert "masks/1.png: a mask without a photograph of its name" in said
    assert "bad/2.jpg: has no annotation" in said
    run("--unmarked", "normal", "--yes")
    assert "2.jpg" in product.names("train/good")
