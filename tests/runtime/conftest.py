"""Bundles to read and to spoil, and `seas-gen` in this process."""

import shutil
from functools import partial

import pytest
from click.testing import CliRunner

from seas_runtime.bundle import graph_rules
from seas_runtime.bundle.reader import read_bundle, write_manifest
from seas_runtime.cli import generate
from tests.runtime.small_bundle import change_graph, manifest_fields, seal, write_parts, write_photographs


@pytest.fixture(scope="session")
def pristine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "tile.plan"
    write_parts(folder)
    write_manifest(folder, manifest_fields())
    return folder


@pytest.fixture(scope="session")
def bundle(pristine):
    return read_bundle(pristine)


@pytest.fixture(scope="session")
def photographed(pristine, tmp_path_factory):
    """The same bundle with photographs of its normal images."""
    folder = shutil.copytree(pristine, tmp_path_factory.mktemp("photographed") / "tile.plan")
    seal(folder, photographs=write_photographs(folder))
    return folder


@pytest.fixture
def plan_folder(pristine, tmp_path):
    """A copy to be spoiled."""
    return shutil.copytree(pristine, tmp_path / "tile.plan")


@pytest.fixture
def edit_graph(plan_folder):
    """Change one ONNX file of `plan_folder` and seal the bundle again, as an attacker could."""

    return partial(change_graph, plan_folder)


@pytest.fixture
def any_operator(monkeypatch):
    """Let graphs hold operators that our export does not write, to see what an engine says of them."""
    monkeypatch.setattr(graph_rules, "OPERATORS", graph_rules.OPERATORS | {"NoSuchOperator", "Unique", "Det", "Bend", "QuickGelu"})
    monkeypatch.setattr(graph_rules, "DOMAINS", graph_rules.DOMAINS | {"own", "com.microsoft"})


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The user's cache, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def gen(pristine, tmp_path):
    """Run seas-gen in this process: gen("--count", 4, out="name", code=0) -> output."""

    def run(*words, out="out", code=0, plan=pristine):
        given = ["--engine", plan, "--out", tmp_path / out, "--threads", 1, "--backend", "cpu", *words]
        result = CliRunner().invoke(generate, [str(word) for word in given])
        assert result.exit_code == code, (result.output, result.exception)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.output

    return run
