"""Normal images that seas-gen made, in exports and in the review."""

import json

import pytest
from click.testing import CliRunner

from seas_runtime.dataset.cli import data
from seas_runtime.dataset.read import read
from seas_runtime.dataset.review.gallery import Gallery
from seas_runtime.dataset.review.log import Decisions
from seas_runtime.errors import DataError


def test_exports_take_them_and_the_review_shows_the_pairs_alone(gen, tmp_path):
    gen("--count", 3, "--normals", 4)
    out = tmp_path / "out"
    assert [record.key for record in read(out)][3:] == [f"normal_{i:06d}" for i in range(4)]
    result = CliRunner().invoke(data, ["export", str(out), "--to", "coco", "--into", str(tmp_path / "coco"), "--val", "0"])
    assert result.exit_code == 0, result.output
    assert "3 pairs and 4 normal pictures" in result.output
    (file,) = (tmp_path / "coco").rglob("instances*.json")
    written = json.loads(file.read_text())
    assert len(written["images"]) == 7
    assert len({annotation["image_id"] for annotation in written["annotations"]}) == 3
    shown = Gallery(out, Decisions(out), None).page(0, 10)
    assert [row[0] for row in shown["rows"]] == [0, 1, 2]


def test_a_run_of_normal_images_alone_has_nothing_to_decide(gen, tmp_path):
    assert "next:" not in gen("--normals", 2)
    out = tmp_path / "out"
    assert Gallery(out, Decisions(out), None).page(0, 10)["total"] == 0
    result = CliRunner().invoke(data, ["review", str(out), "--static", str(tmp_path / "page.html")])
    assert result.exit_code == 3
    assert "holds no pair yet" in result.output
    with pytest.raises(DataError, match="no pair"):
        read(out)
