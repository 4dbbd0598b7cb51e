"""Annotated photographs where a product's folder is expected: the refusal says the command that imports them."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.quality.cli import main as quality
from seas_runtime.dataset.cli import data as seas_data
from seas_train.cli import main as train
from tests.runtime.dataset.written_sources import WRITERS

COMMANDS = {
    "check": (train, ["check", "{}"]),
    "tune": (train, ["tune", "{}", "--base", "nowhere", "--out", "{}-run"]),
    "base": (train, ["base", "{}", "--defects", "--out", "{}-base"]),
    "generation": (quality, ["generation", "{}", "--data", "{}", "--out", "{}-out"]),
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("source", ["labelme", "coco_rle"])
def test_the_refusal_says_the_command_that_imports(name: str, source: str, tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    WRITERS[source](folder)
    group, words = COMMANDS[name]
    result = CliRunner().invoke(group, [word.format(folder) for word in words])
    assert (result.exit_code, result.stderr.count("\n")) == (3, 1), result.output
    command = shlex.split(re.split("imported: |import them first: ", result.stderr)[1])
    assert command[:2] == ["seas-data", "import"]
    done = CliRunner().invoke(seas_data, command[1:])
    assert done.exit_code == 0, done.output
    assert CliRunner().invoke(train, ["check", command[-1]]).exit_code == 0


def test_a_tree_without_its_masks_but_with_annotations(tmp_path: Path) -> None:
    WRITERS["labelme"](tmp_path / "source")
    good = tmp_path / "source/train/good"
    good.parent.mkdir()
    (tmp_path / "source/good").rename(good) if (tmp_path / "source/good").is_dir() else good.mkdir()
    result = CliRunner().invoke(train, ["check", str(tmp_path / "source")])
    assert result.exit_code == 3
    assert "test: no such folder" in result.stderr
    assert "or import the annotated pictures: seas-data import " in result.stderr
