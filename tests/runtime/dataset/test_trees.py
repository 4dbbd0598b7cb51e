"""The trees of public data sets are known and read."""

import numpy as np
import pytest
from PIL import Image

from tests.runtime.dataset.public_trees import SPOT, TREES, kolektor, loco, mvtec, real_iad


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.__name__)
def test_trees_are_known_and_read(tree, tmp_path, run, product):
    tree(tmp_path / "source")
    said = run()
    title, types, normals, held_out = TREES[tree]
    assert f": {title}, " in said
    assert "Doubts" not in said
    assert {name: len(product.names(f"test/{name}")) for name in product.names("test") if name != "good"} == types
    assert len(product.names("train/good")) == normals
    assert (len(product.names("test/good")) if held_out else 0) == held_out
    for record in product.record["pictures"]:
        if "mask" in record and "logical" not in record["mask"]:
            mask = np.asarray(Image.open(product.root / record["mask"]))
            assert np.array_equal(mask, SPOT * np.uint8(255))


def test_several_masks_of_a_picture_are_united(tmp_path, run, product):
    loco(tmp_path / "source")
    run()
    expected = SPOT.copy()
    expected[40:50, 60:70] = True
    assert np.array_equal(product.mask("logical_anomalies/000"), expected)


def test_pictures_of_one_name_in_several_folders_do_not_overwrite_each_other(tmp_path, run, product):
    kolektor(tmp_path / "source")
    run()
    sources = {record["source"]: record["file"] for record in product.record["pictures"]}
    assert len(set(sources.values())) == 3
    for source, file in sources.items():
        assert (tmp_path / "source" / source).read_bytes() == (product.root / file).read_bytes()


def test_views_without_a_mask_and_tests_without_masks_are_named_and_no_loss(tmp_path, run):
    real_iad(tmp_path / "source")
    said = run()
    assert "NG/HS/S0007/mint_0007_NG_HS_C2_1.jpg: an anomaly without a mask" in said
    assert "Left out" not in said


def test_an_anomaly_without_its_mask_is_a_loss(tmp_path, run, product):
    mvtec(tmp_path / "source")
    (tmp_path / "source/ground_truth/cut/000_mask.png").unlink()
    said = run(code=3)
    assert "test/cut/000.png: an anomaly without a mask" in said
    assert not product.root.exists()
    run("--yes")
    assert product.names("test") == ["broken large", "good"]


def test_a_folder_of_products_is_refused_with_their_names(tmp_path, run):
    for name in ("bottle", "cable"):
        mvtec(tmp_path / "source" / name)
    said = run(code=3)
    assert "holds the products bottle, cable" in said
    assert str(tmp_path / "source/bottle") in said
    assert len(said.splitlines()) == 1
