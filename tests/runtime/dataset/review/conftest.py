"""A folder to review, and what is open on it."""

import pytest

from seas_runtime.dataset.review.gallery import Gallery
from seas_runtime.dataset.review.log import DecisionLog

from .fabricated import write_run


@pytest.fixture
def out(tmp_path):
    return write_run(tmp_path / "out")


@pytest.fixture
def log(out):
    return DecisionLog(out)


@pytest.fixture
def gallery(out, log):
    return Gallery(out, log)
