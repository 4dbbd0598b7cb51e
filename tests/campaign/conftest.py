"""Campaigns: `pytest -m campaign tests/campaign --minutes 10`."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaign import shim
from tests.campaign.smallest import BASE, COUNTS, MASKS, OFTEN, TUNE
from tests.campaign.trials import Campaign
from tests.campaign.warm import ROOT, Warm


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this folder is a campaign but the tests of its own tools."""
    for item in items:
        if Path(__file__).parent in item.path.parents and item.path.name != "test_tools.py":
            item.add_marker(pytest.mark.campaign)


@pytest.fixture(scope="session")
def campaign(pytestconfig: pytest.Config) -> Campaign:
    asked = pytestconfig.getoption
    folder = Path(asked("--journal") or ROOT / "out" / "campaign")
    return Campaign(folder, asked("--seed"), asked("--minutes"), asked("--most"))


@pytest.fixture(scope="session")
def work() -> Iterator[Path]:
    """A folder in memory where there is one: thousands of flushes to a disk would take the time of the trials."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="seas-campaign-", dir=memory if memory.is_dir() else None))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def library(work: Path) -> Path:
    return shim.build(work)


@pytest.fixture(scope="session")
def runtime(library: Path) -> Iterator[Warm]:
    with Warm("runtime", library) as warm:
        yield warm


@pytest.fixture(scope="session")
def training(library: Path) -> Iterator[Warm]:
    with Warm("train", library) as warm:
        yield warm


@pytest.fixture(scope="session")
def tile(work: Path) -> Path:
    """The bundle that is worked out by hand, with photographs."""
    from tests.runtime.small_bundle import seal, write_parts, write_photographs

    folder = work / "tile.plan"
    write_parts(folder)
    seal(folder, photographs=write_photographs(folder))
    return folder


@pytest.fixture(scope="session")
def made(training: Warm, work: Path) -> Path:
    """A folder with data in `bottle`, a `base`, a `tuned` run and a `run` with its mask branch."""
    folder = work / "made"

    def once(*words: object) -> None:
        ended = training.run(folder, "seas-train", *words)
        assert ended.wrong((0,)) is None, ended

    once("demo-data", folder, *COUNTS)
    once("base", folder / "bottle", "--out", folder / "base", *BASE, *OFTEN)
    once("tune", folder / "bottle", "--base", folder / "base", "--out", folder / "tuned", *TUNE)
    shutil.copytree(folder / "tuned", folder / "run")
    once("masks", folder / "run", folder / "bottle", *MASKS)
    return folder
