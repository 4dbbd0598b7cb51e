"""Ctrl-C at every first place, and at later ones, of each command that writes: the same command then ends well."""

import pytest
from click.testing import CliRunner

from seas_runtime.cli import generate
from seas_runtime.dataset.cli import data
from seas_runtime.engine_cli import engine
from tests.interrupting import again_and_again
from tests.runtime.dataset.exporters import out_folder
from tests.runtime.dataset.written_sources import WRITERS

NOTHING = "Interrupted: nothing unfinished was left behind."
WORDS = ("--count", 10, "--normals", 3, "--batch", 2, "--backend", "cpu", "--threads", 1)


def called(program, *words):
    return CliRunner().invoke(program, [str(word) for word in words])


@pytest.fixture
def fresh(tmp_path):
    """A folder of its own for each place."""

    def make(number):
        (folder := tmp_path / "places" / str(number)).mkdir(parents=True)
        return folder

    return make


def tidy(root):
    assert not [path.name for path in root.rglob("*") if path.name.endswith(".seas-tmp")]


def test_gen(pristine, fresh):
    def call(root):
        return called(generate, "--engine", pristine, "--out", root / "out", *WORDS, "--also", "coco", "--sheet")

    def done(root):
        assert len(list((root / "out").rglob("0*.png"))) == 10 * 2 + 3
        assert (root / "out/metadata.jsonl").read_text().count("\n") == 10
        assert (root / "out-coco").is_dir()

    assert again_and_again(call, fresh, done) == {
        "Interrupted: nothing was made yet; the same command begins anew.",
        "Interrupted: finished pairs are kept; the same command continues.",
        NOTHING,  # of the sheet or the export
    }


def test_merge(pristine, tmp_path, fresh):
    for part in range(2):
        words = ("--engine", pristine, "--out", tmp_path / "shards", *WORDS, "--shard", f"{part}/2")
        assert called(generate, *words).exit_code == 0

    def done(root):
        tidy(root)
        assert not (root / "whole/merge.json").exists()

    said = again_and_again(lambda root: called(data, "merge", tmp_path / "shards", "--into", root / "whole"), fresh, done)
    assert "Interrupted: pictures that are joined are kept; the same command goes on." in said


def test_export(tmp_path, fresh):
    out = out_folder.write(tmp_path / "out", list(out_folder.masks().values()))
    said = again_and_again(lambda root: called(data, "export", out, "--to", "coco", "--into", root / "coco"), fresh, tidy)
    assert said == {NOTHING}


def test_import(tmp_path, fresh):
    WRITERS["labelme"](tmp_path / "source")

    def call(root):
        return called(data, "import", tmp_path / "source", "--into", root / "part", "--yes")

    assert again_and_again(call, fresh, tidy) == {NOTHING}


def test_static_page(tmp_path, fresh):
    out = out_folder.write(tmp_path / "out", list(out_folder.masks().values()))
    call = lambda root: called(data, "review", out, "--static", root / "page.html")  # noqa: E731
    again_and_again(call, fresh, tidy, least=1)


def test_copy(pristine, fresh):
    again_and_again(lambda root: called(engine, "copy", pristine, root / "tile.plan"), fresh, tidy)
