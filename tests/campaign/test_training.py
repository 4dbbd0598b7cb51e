"""Commands of `seas-train`, and `seas-export`: killed, without room, without rights, four of them at once."""

import shutil
from pathlib import Path

import pytest

from tests.campaign import stages
from tests.campaign.stages import Stage
from tests.campaign.trials import Campaign
from tests.campaign.warm import Warm

OFTEN = ("--checkpoint-every", 1, "--log-every", 1)
ONE = ("--anomaly-batch", 1, "--normal-batch", 1)
BASE = ("--vae-steps", 1, "--vae-batch", 1, "--vae-crop", 32, "--batch", 1, "--steps", 2, "--align-steps", 1, "--sharpen-steps", 1)
TUNE = ("--preset", "tiny", "--steps", 2, "--normal-count", 1, *ONE, *OFTEN)
MASKS = ("--steps", 2, "--up2-width", 8, "--up3-width", 8, "--layers", 1, "--heads", 2, "--groups", 4, *ONE, *OFTEN)


@pytest.fixture(scope="session")
def ways(training: Warm, work: Path) -> dict[str, list[Stage]]:
    """Every command, after those that it needs."""
    made, root = work / "made", work / "training"
    data, base, tuned, run = made / "bottle", made / "base", made / "tuned", made / "run"
    counts = ("--normals", 3, "--per-defect", 2, "--test-normals", 1, "--size", 64)

    def once(command: str, *words: object) -> None:
        ended = training.run(made, command, *words)
        assert ended.wrong((0,)) is None, ended

    once("seas-train", "demo-data", made, *counts)
    once("seas-train", "base", data, "--out", base, *BASE, *OFTEN)
    once("seas-train", "tune", data, "--base", base, "--out", tuned, *TUNE)
    shutil.copytree(tuned, run)
    once("seas-train", "masks", run, data, *MASKS)
    training.trace(run)

    def stage(command: str, *words: object, start: Path | None = None, codes: tuple[int, ...] = (0,)) -> list[Stage]:
        def prepare(root: Path) -> None:
            root.mkdir()
            if start is not None:
                shutil.copytree(start, root / "run")

        return [Stage(training, root, command, words, prepare, codes)]

    return {
        "demo-data": stage("seas-train", "demo-data", root / "out", *counts, codes=(0, 5)),
        "base": stage("seas-train", "base", data, "--out", root / "base", "--defects", "--keep-every", 1, *BASE, *OFTEN),
        "tune": stage("seas-train", "tune", data, "--base", base, "--out", root / "run", *TUNE),
        "masks": stage("seas-train", "masks", root / "run", data, *MASKS, start=tuned),
        "sample": stage("seas-train", "sample", run, "--out", root / "samples", "--count", 2, "--steps", 2),
        "export": stage("seas-export", run, "--out", root / "x.plan", "--fp16", "--photographs", codes=(0, 5)),
    }


@pytest.mark.parametrize("kind", stages.KINDS)
@pytest.mark.parametrize("command", ["base", "tune", "masks", "export", "sample", "demo-data"])
def test_training(campaign: Campaign, ways: dict[str, list[Stage]], command: str, kind: str) -> None:
    campaign.run(f"{command}_{kind}", stages.any_of(ways[command], kind))
