"""Bundles of strangers: damaged, and damaged and sealed again, read and run by `seas-gen`."""

import hashlib
import json
import random
import shutil
from pathlib import Path

import pytest

from seas_runtime.bundle.digest import canonical_digest, stored_form
from tests.campaign.damage import damaged, edited, nested
from tests.campaign.trials import Campaign
from tests.campaign.warm import Warm

MOST_SECONDS, MOST_MEBIBYTES = 10.0, 1024.0
ENDS = (0, 2, 3, 4, 5, 6)


class Bundles:
    """One bundle of files in memory, and damaged ones of it."""

    def __init__(self, warm: Warm, plan: Path, work: Path) -> None:
        self.warm, self.root = warm, work / "bundles"
        self.files = {path.relative_to(plan).as_posix(): path.read_bytes() for path in plan.rglob("*") if path.is_file()}

    def write(self, files: dict[str, bytes]) -> None:
        """Make a bundle of these files."""
        shutil.rmtree(self.root, ignore_errors=True)
        for name, data in files.items():
            path = self.root / "tile.plan" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def judge(self, codes: tuple[int, ...]) -> str | None:
        """Read it and make a pair of it."""
        out = self.root / "out"
        words = ("--engine", self.root / "tile.plan", "--out", out, "--backend", "cpu", "--threads", 1)
        fewest = ("--count", 1, "--batch", 1, "--steps", 2, "--mask-steps", 1, "--retries", 0, "--quiet")
        ended = self.warm.run(self.root, "seas-gen", *words, *fewest)
        if wrong := ended.wrong(codes):
            return wrong
        if ended.seconds > MOST_SECONDS or ended.mebibytes > MOST_MEBIBYTES:
            return f"{ended.seconds:.1f} s, {ended.mebibytes:.0f} MiB: {ended.said[-500:]}"
        return None

    def unsigned(self, draw: random.Random) -> str | None:
        """Any change that the manifest does not know of is refused."""
        files = dict(self.files)
        name = draw.choice(sorted(files))
        match draw.randrange(8):
            case 0:
                del files[name]
            case 1:
                files[draw.choice(("more.bin", "a/b", ".hidden", "photographs/zz.png", "unet2.onnx"))] = draw.randbytes(9)
            case 2:
                other = draw.choice(sorted(files))
                files[name], files[other] = files[other], files[name]
            case _:
                files[name] = damaged(files[name], draw)
        self.write(files)
        return self.judge((0,) if files == self.files else (3,))

    def sealed(self, draw: random.Random) -> str | None:
        """A change that is sealed again is refused, or ends in one line, or makes a pair: nothing else."""
        files = dict(self.files)
        content = json.loads(files.pop("manifest.json"))
        for _ in range(draw.choice((1, 1, 2))):
            if draw.random() < 0.5:
                content = edited(content, draw)
            else:
                name = draw.choice(sorted(files))
                files[name] = damaged(files[name], draw)
        if isinstance(content, dict):
            if isinstance(content.get("files"), dict):
                for name, data in files.items():
                    if isinstance(entry := content["files"].get(name), dict) and draw.random() < 0.95:
                        entry.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
            _seal(content)
        files["manifest.json"] = _stored(content) if draw.random() < 0.98 else nested(draw).encode()
        self.write(files)
        return self.judge(ENDS)


def _seal(content: dict) -> None:
    try:
        content["digest"] = canonical_digest(content)
    except (ValueError, TypeError, UnicodeError):
        content["digest"] = "0" * 64


def _stored(content: object) -> bytes:
    try:
        return stored_form(content)
    except (ValueError, TypeError, UnicodeError):
        return json.dumps(content).encode()


@pytest.fixture(scope="session")
def bundles(runtime: Warm, tile: Path, work: Path) -> Bundles:
    return Bundles(runtime, tile, work)


@pytest.mark.parametrize("kind", ["unsigned", "sealed"])
def test_bundles(campaign: Campaign, bundles: Bundles, kind: str) -> None:
    campaign.run(f"bundles_{kind}", getattr(bundles, kind))
