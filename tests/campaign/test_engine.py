"""`seas-engine build` and `copy`: killed, without room, without rights, four of them at once."""

import shutil
from pathlib import Path

import pytest

from tests.campaign import stages
from tests.campaign.stages import Stage
from tests.campaign.trials import Campaign
from tests.campaign.warm import Warm


@pytest.fixture(scope="session")
def engine(runtime: Warm, tile: Path, work: Path) -> list[Stage]:
    """`seas-engine build` and `seas-engine copy`."""
    root = work / "engine"
    return [
        Stage(runtime, root, "build", (root / "tile.plan",), lambda root: shutil.copytree(tile, root / "tile.plan")),
        Stage(runtime, root, "seas-engine", ("copy", tile, root / "copy.plan"), codes=(0, 5)),
    ]


@pytest.mark.parametrize("kind", stages.KINDS)
def test_engine(campaign: Campaign, engine: list[Stage], kind: str) -> None:
    campaign.run(f"engine_{kind}", stages.any_of(engine, kind))
