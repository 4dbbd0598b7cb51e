"""The small bundle as MNN takes it."""

import shutil

import pytest

from seas_runtime.bundle.reader import read_bundle
from tests.runtime.small_bundle import change_graph, two_sums


@pytest.fixture(scope="session")
def mnn_bundle(pristine, tmp_path_factory):
    """The small bundle with two sums of two instead of a sum of three, which MNN gets wrong."""
    folder = shutil.copytree(pristine, tmp_path_factory.mktemp("mnn") / "tile.plan")
    change_graph(folder, two_sums)
    return read_bundle(folder)
