"""Pairs written by `seas-data export` and read by `seas-data import`: the same pictures, the same masks."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from seas_runtime.dataset.cli import data

from .out_folder import masks, original, write


def run(*words):
    result = CliRunner().invoke(data, [str(word) for word in words])
    assert result.exit_code == 0, (result.output, result.exception)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Pairs whose masks an import takes: it wants some pixels unmarked."""
    marks = [mask for mask in masks().values() if not mask.all()]
    return write(tmp_path_factory.mktemp("run") / "out", marks, normals=3, normal_shape=(30, 40))


@pytest.mark.parametrize("words", [["coco"], ["coco", "--polygons"], ["yolo"], ["labelme"]], ids=" ".join)
def test_an_export_is_imported_to_the_pixel(out, tmp_path, words):
    run("export", out, "--to", *words, "--into", tmp_path / "exported")
    run("import", tmp_path / "exported", "--into", tmp_path / "tile", "--yes")
    found = sorted((tmp_path / "tile/ground_truth").rglob("*.png"))
    assert len(found) == len(masks()) - 1
    for path in found:
        key = path.stem.removesuffix("_mask")
        assert path.parent.name == ("crack", "stain")[int(key) % 2]
        assert np.array_equal(np.asarray(Image.open(path)) > 0, original(out, key)), key
    assert len(list((tmp_path / "tile/train/good").iterdir())) == 3
