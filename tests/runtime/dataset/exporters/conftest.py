"""Folders of `seas-gen` with masks that are hard to write down; read only, but for `fresh`."""

import shutil

import pytest

from .out_folder import masks, write


@pytest.fixture(scope="session")
def out(tmp_path_factory):
    """Twelve pairs of two types, and five normal pictures of another size."""
    return write(tmp_path_factory.mktemp("run") / "out", list(masks().values()), normals=5)


@pytest.fixture
def fresh(out, tmp_path):
    """A copy to be spoiled."""
    return shutil.copytree(out, tmp_path / "out")
