"""`seas-gen` and the commands around it: killed, without room, without rights, four of them at once."""

import shutil
from collections.abc import Callable
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


@pytest.fixture(scope="session")
def engine(runtime: Warm, tile: Path, work: Path) -> list[Stage]:
    """`seas-engine build` and `seas-engine copy`."""
    root = work / "engine"
    return [
        Stage(runtime, root, "build", (root / "tile.plan",), lambda root: shutil.copytree(tile, root / "tile.plan")),
        Stage(runtime, root, "seas-engine", ("copy", tile, root / "copy.plan"), codes=(0, 5)),
    ]


KINDS = {
    "killed_at_a_change": stages.killed_at_a_change,
    "killed_at_a_time": stages.killed_at_a_time,
    "a_change_fails": stages.a_change_fails,
    "a_small_disk": stages.a_small_disk,
    "four_at_once": stages.four_at_once,
}


@pytest.mark.parametrize("kind", KINDS)
def test_gen(campaign: Campaign, gen: list[Stage], kind: str) -> None:
    campaign.run(f"gen_{kind}", _each(KINDS[kind], gen))


@pytest.mark.parametrize("kind", KINDS)
def test_engine(campaign: Campaign, engine: list[Stage], kind: str) -> None:
    campaign.run(f"engine_{kind}", _each(KINDS[kind], engine))


def _each(kind: Callable, ways: list[Stage]) -> Callable:
    return lambda draw: kind(draw.choice(ways), draw)
