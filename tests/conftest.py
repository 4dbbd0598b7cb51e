"""A small base, its data set, a run trained on both and its bundle, made once and shared. Read only."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from seas_train.data.layouts import Product

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of every process of the tests, which may run side by side (pytest -n 2)
hypothesis.settings.register_profile("patient", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the campaigns (`-m campaign`)."""
    group = parser.getgroup("campaign")
    group.addoption("--minutes", type=float, default=10.0, help="of each campaign")
    group.addoption("--seed", type=int, default=0, help="that trials are drawn from")
    group.addoption("--most", type=int, default=0, help="trials of each campaign at most, 0 for any number")
    group.addoption("--journal", help="folder of the journals (out/campaign)")


def pytest_configure(config: pytest.Config) -> None:
    """Do the same on every machine: a GPU is hidden from all tests but those that ask for one, and an interrupt is heard.

    What a shell starts in the background hears no interrupt, and neither does what that starts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not re.search(r"(?<!not )\bgpu\b", config.option.markexpr):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What engines keep between runs stays out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def _once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name` of this run of the tests: `make` fills it in the first process that asks, all others share it."""
    own = factory.getbasetemp()
    root = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder, partial = root / name, root / f"{name}.partial"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            shutil.rmtree(partial, ignore_errors=True)
            make(partial)
            partial.rename(folder)
    return folder


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a base model with random weights."""
    import torch

    from seas_train.models import components
    from tests.smallest import CAPTIONS, GEOMETRY

    torch.set_num_threads(1)  # of all trainings here: some are compared to the bit

    def make(folder: Path) -> None:
        torch.manual_seed(0)
        components.build(GEOMETRY, CAPTIONS).save(folder)

    return _once(tmp_path_factory, "base", make)


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """A procedural bottle of 64 x 64 pixels: three normal images and three of each defect type."""
    from seas_train.data import demo, layouts

    def make(folder: Path) -> None:
        demo.write(folder, "bottle", 64, normals=3, per_defect=3, test_normals=1)

    return layouts.read(_once(tmp_path_factory, "data", make) / "bottle")


@pytest.fixture(scope="session")
def tuned(base: Path, product: Product, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, tuned in four steps and with a mask branch of three."""
    from seas_train import masks, tune
    from tests.smallest import MASKS, TUNE

    def make(folder: Path) -> None:
        tune.train(product, str(base), folder, TUNE, {"licence": "CC0"})
        masks.train(folder, product, MASKS)

    return _once(tmp_path_factory, "tuned", make)


@pytest.fixture(scope="session")
def plan(tuned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fp16 bundle of `tuned`: 6 steps, guidance 3, threshold 0.5, 3 mask steps."""
    from seas_export import bundle
    from seas_runtime.bundle.manifest import Defaults
    from seas_train import run_folder

    defaults = Defaults(steps=6, guidance=3.0, threshold=0.5, mask_steps=3)
    settings = bundle.ExportSettings(half=True, defaults=defaults)
    return _once(
        tmp_path_factory, "small.plan", lambda out: bundle.export(run_folder.load(tuned), out, settings, lambda _stage: None)
    )
