"""A stand-in for a GPU, and a bundle with engines for it."""

import pytest

from tests.runtime import stand_in_gpu


@pytest.fixture
def machine(monkeypatch, tmp_path):
    return stand_in_gpu.install(monkeypatch, tmp_path / "cache")


@pytest.fixture
def engines(plan_folder):
    return stand_in_gpu.with_engines(plan_folder)
