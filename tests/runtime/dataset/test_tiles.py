"""Squares and tiles of photographs, and the way back."""

import shutil

import numpy as np
import pytest
from PIL import Image

from seas_train.data import check, layouts
from tests.runtime.dataset.truth import TRUTH, photograph, save_mask, shapes, write_normals
from tests.runtime.dataset.written_sources import WRITERS

ONE = TRUTH[0]


def test_tiles_of_large_photographs(tmp_path, run, product):
    root = tmp_path / "source"
    for name in ("bad", "good", "masks"):
        (root / name).mkdir(parents=True)
    photograph(1, 700, 500).save(root / "bad/x.png")
    photograph(2, 700, 500).save(root / "good/y.png")
    mask = np.zeros((500, 700), bool)
    mask[100:140, 120:380] = True
    save_mask(root / "masks/x.png", mask)
    said = run("--fit", "tile", "--size", 256, "--overlap", 0.2)
    pictures = product.record["pictures"]
    assert "2 pictures to use, written as" in said
    marked = [one for one in pictures if "mask" in one]
    normal = [one for one in pictures if "mask" not in one]
    assert {one["source"] for one in normal} == {"good/y.png"}
    assert len(normal) == 12  # 4 columns of 256 in 700 and 3 rows in 500, a fifth in common
    again = np.zeros_like(mask)
    for one in marked:
        left, top, across, down = one["box"]
        assert one["size"] == [across, down] == [256, 256]
        tile = np.asarray(Image.open(product.root / one["file"]))
        with Image.open(root / one["source"]) as photo:
            assert np.array_equal(tile, np.asarray(photo)[top : top + down, left : left + across])
        again[top : top + down, left : left + across] |= np.asarray(Image.open(product.root / one["mask"])) > 0
    assert np.array_equal(again, mask)
    assert not check.inspect(layouts.read(product.root)).problems


def test_tiles_without_a_mark_are_normal_only_if_asked(tmp_path, run, product):
    WRITERS["masks"](tmp_path / "source")
    run("--fit", "tile", "--size", 128)
    without = len(product.names("train/good"))
    shutil.rmtree(product.root)
    run("--fit", "tile", "--size", 128, "--normal-tiles")
    assert len(product.names("train/good")) > without


def test_a_tile_with_a_mere_edge_of_a_mark_is_neither_anomaly_nor_normal(tmp_path, run, product):
    root = tmp_path / "source"
    write_normals(root / "good")
    (root / "bad").mkdir()
    photograph(1, 256, 128).save(root / "bad/x.png")
    mask = np.zeros((128, 256), bool)
    mask[40:80, 60:130] = True  # two columns of it on the second tile
    mask[40:80, 130:] = False
    save_mask(root / "masks/x.png", mask & (np.arange(256) < 129))
    said = run("--fit", "tile", "--size", 128, "--overlap", 0, "--normal-tiles")
    assert "1 tile not written" in said
    assert product.names("test/anomaly") == ["x_r0_c0.png"]
    assert {"file": "bad/x.png", "reason": "40 pixels of a mask at the edge of tile 0, 1"} in product.record["left_out"]


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
def test_squares(fit, source, run, product):
    run("--fit", fit, "--size", 128)
    for record in product.record["pictures"]:
        assert Image.open(product.root / record["file"]).size == (128, 128)
    left, top, across, down = next(one["box"] for one in product.record["pictures"] if one["source"] == "a1.jpg")
    rows, columns = np.nonzero(product.mask("scratch/a1"))
    where = np.array((columns.mean() * across / 128 + left, rows.mean() * down / 128 + top))
    truth = np.argwhere(ONE.mask).mean(axis=0)[::-1]
    assert np.abs(where - truth).max() < 3


def test_anomalies_below_a_latent_cell_are_told_with_figures(source, run):
    shapes(source / "a1.json", ("scratch", "polygon", [[100, 100], [300, 100], [300, 105], [100, 105]]))
    said = run("--dry-run", "--size", 128)
    width = 5 * 128 / 480
    assert f"scratch: 1 of 2 are narrower than a latent cell (8 pixels) at 128: one of 5 px becomes {width:.2g} px (a1.jpg)" in said
