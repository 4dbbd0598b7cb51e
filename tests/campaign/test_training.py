"""Commands of `seas-train`: killed, without room, without rights, four of them at once."""

import shutil
from pathlib import Path

import pytest

from tests.campaign import stages
from tests.campaign.smallest import BASE, COUNTS, MASKS, OFTEN, TUNE
from tests.campaign.stages import Stage
from tests.campaign.trials import Campaign
from tests.campaign.warm import Warm


@pytest.fixture(scope="session")
def ways(training: Warm, work: Path, made: Path) -> dict[str, list[Stage]]:
    """Every command, on what those before it made."""
    root, data, base = work / "training", made / "bottle", made / "base"

    def stage(*words: object, start: Path | None = None, codes: tuple[int, ...] = (0,)) -> list[Stage]:
        def prepare(root: Path) -> None:
            root.mkdir()
            if start is not None:
                shutil.copytree(start, root / "run")

        return [Stage(training, root, "seas-train", words, prepare, codes)]

    return {
        "demo-data": stage("demo-data", root / "out", *COUNTS, codes=(0, 5)),
        "base": stage("base", data, "--out", root / "base", "--defects", "--keep-every", 1, *BASE, *OFTEN),
        "tune": stage("tune", data, "--base", base, "--out", root / "run", *TUNE),
        "masks": stage("masks", root / "run", data, *MASKS, start=made / "tuned"),
        "sample": stage("sample", made / "run", "--out", root / "samples", "--count", 2, "--steps", 2),
    }


@pytest.mark.parametrize("kind", stages.KINDS)
@pytest.mark.parametrize("command", ["base", "tune", "masks", "sample", "demo-data"])
def test_training(campaign: Campaign, ways: dict[str, list[Stage]], command: str, kind: str) -> None:
    campaign.run(f"{command}_{kind}", stages.any_of(ways[command], kind))
