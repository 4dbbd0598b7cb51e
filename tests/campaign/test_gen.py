"""`seas-gen`: killed, without room, without rights, four of them at once."""

from pathlib import Path

import pytest

from tests.campaign import stages
from tests.campaign.stages import Stage
from tests.campaign.trials import Campaign
from tests.campaign.warm import Warm


@pytest.fixture(scope="session")
def gen(runtime: Warm, tile: Path, work: Path) -> list[Stage]:
    """seas-gen in four ways."""
    out = work / "gen" / "out"
    first = ("--engine", tile, "--out", out, "--threads", 1, "--backend", "cpu", "--quiet", "--batch", 2)
    ways = [
        ("--count", 6),
        ("--count", 3, "--normals", 3, "--steps", 2, "--mask-steps", 1),
        ("--count", 4, "--sheet", "--background", "real", "--strength", 0.8, "--steps", 3, "--mask-steps", 1),
        ("--count", 4, "--also", "coco,yolo", "--steps", 2, "--mask-steps", 1),
    ]
    return [Stage(runtime, work / "gen", "seas-gen", (*first, *way), codes=(0, 6)) for way in ways]


@pytest.mark.parametrize("kind", stages.KINDS)
def test_gen(campaign: Campaign, gen: list[Stage], kind: str) -> None:
    campaign.run(f"gen_{kind}", stages.any_of(gen, kind))
