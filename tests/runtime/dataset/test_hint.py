"""The hint that other commands give to those who have annotated photographs."""

import shlex

import pytest
from click.testing import CliRunner

from seas_runtime.dataset.cli import data
from seas_runtime.dataset.importers.hint import hint
from tests.runtime.dataset.public_trees import TREES, mvtec, mvtec3d, visa
from tests.runtime.dataset.truth import photograph, write_normals
from tests.runtime.dataset.written_sources import WRITERS


@pytest.mark.parametrize("name", WRITERS)
def test_the_command_that_is_hinted_at_imports(name, tmp_path):
    source = tmp_path / "my photographs"
    WRITERS[name](source)
    words = shlex.split(hint(source))
    assert words[:2] == ["seas-data", "import"]
    result = CliRunner().invoke(data, words[1:])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "my photographs-product/train/good").is_dir()


@pytest.mark.parametrize("tree", [tree for tree in TREES if tree.__name__ not in ("mvtec", "mvtec3d", "visa", "mpdd", "loco")])
def test_trees_that_training_does_not_read_are_hinted_at(tree, tmp_path):
    tree(tmp_path / "part")
    assert hint(tmp_path / "part").startswith("seas-data import ")


@pytest.mark.parametrize("tree", [mvtec, mvtec3d, visa])
def test_there_is_no_hint_for_what_training_reads(tree, tmp_path):
    tree(tmp_path / "part")
    assert hint(tmp_path / "part") is None


def test_there_is_no_hint_where_nothing_is_annotated(tmp_path):
    write_normals(tmp_path / "good")
    photograph(0).save(tmp_path / "x.png")
    (tmp_path / "settings.json").write_text('{"a": 1}')
    (tmp_path / "torn.json").write_text('{"shapes": [')
    assert hint(tmp_path) is None
    assert hint(tmp_path / "missing") is None
    assert hint(tmp_path / "x.png") is None


def test_masks_of_label_studio_without_their_list_are_hinted_at(tmp_path):
    WRITERS["label_studio_png"](tmp_path / "source")
    (tmp_path / "source/tasks.json").unlink()
    assert hint(tmp_path / "source") is not None
