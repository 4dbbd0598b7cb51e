"""`seas-export`, its graphs traced beforehand: killed, without room, without rights, four of them at once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaign import stages
from tests.campaign.stages import Stage
from tests.campaign.trials import Campaign
from tests.campaign.warm import Warm


@pytest.fixture(scope="session")
def exporting(library: Path, made: Path) -> Iterator[Warm]:
    """A server of its own: tracing starts threads, and trainings are forked from a process that has none."""
    with Warm("train", library) as warm:
        warm.trace(made / "run")
        yield warm


@pytest.fixture(scope="session")
def export(exporting: Warm, work: Path, made: Path) -> list[Stage]:
    root = work / "export"
    words = (made / "run", "--out", root / "x.plan", "--fp16", "--photographs")
    return [Stage(exporting, root, "seas-export", words, codes=(0, 5))]


@pytest.mark.parametrize("kind", stages.KINDS)
def test_export(campaign: Campaign, export: list[Stage], kind: str) -> None:
    campaign.run(f"export_{kind}", stages.any_of(export, kind))
