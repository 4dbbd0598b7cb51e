"""Folders of strangers: journals and records in OUT, run folders, pictures."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest

from tests.campaign.damage import damaged, edited, nested
from tests.campaign.trials import Campaign, differ, tree
from tests.campaign.warm import Warm

SOON = 20.0
TEXTS = ("run.json", "metadata.jsonl", "normals.jsonl", "refused.jsonl", "review.jsonl")


def spoil(folder: Path, name: str, draw: random.Random) -> None:
    """Damage a text file as bytes or as JSON, or put something in its place that is no file."""
    path = folder / name
    was = path.read_bytes() if path.is_file() else b"{}\n"
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    path.unlink(missing_ok=True)
    kind = draw.randrange(10)
    try:
        values = [json.loads(text) for text in (was.splitlines() if name.endswith(".jsonl") else [was])] or [{}]
    except (ValueError, RecursionError):  # damaged before
        values, kind = [], min(kind, 4)
    match kind:
        case 0:
            path.mkdir()
        case 1:
            os.mkfifo(path)
        case 2:
            path.symlink_to(draw.choice((name, "../elsewhere/kept.txt", "/dev/zero", "/nowhere/at/all", "..")))
        case 3 | 4:
            path.write_bytes(damaged(was, draw))
        case 5:
            path.write_text(nested(draw) + "\n" + was.decode())
        case _ if name.endswith(".jsonl"):
            at = draw.randrange(len(values))
            values[at] = edited(values[at], draw)
            path.write_text("".join(json.dumps(value) + "\n" for value in values))
        case _:
            path.write_text(json.dumps(edited(values[0], draw)))


class Folders:
    """A finished OUT, and damaged ones of it, beside a folder that nothing may touch."""

    def __init__(self, warm: Warm, plan: Path, work: Path) -> None:
        self.warm, self.plan, self.whole, self.root = warm, plan, work / "whole", work / "folders"
        self.out = self.root / "tile"
        self.words = ("--engine", plan, "--out", self.out, "--backend", "cpu", "--threads", 1, "--steps", 2, "--mask-steps", 1)
        self.words = (*self.words, "--quiet", "--batch", 2, "--normals", 2, "--count")
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir()
        ended = warm.run(self.root, "seas-gen", *self.words, 4)
        assert ended.wrong((0, 6)) is None, ended
        review = {"index": 0, "decision": "reject", "time": 1.0}
        (self.out / "review.jsonl").write_text(json.dumps(review) + "\n")
        shutil.copytree(self.out, self.whole)

    def trial(self, draw: random.Random) -> str | None:
        """Damage one or two of its files, then go on with the run, export it or summarise it."""
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.whole, self.out)
        elsewhere = self.root / "elsewhere"
        for name in ("kept.txt", "tile/test/crack/000000.png", "tile/run.json"):
            (elsewhere / name).parent.mkdir(parents=True, exist_ok=True)
            (elsewhere / name).write_text("{}\n")
        before = tree(elsewhere), tree(self.plan)
        for _ in range(draw.choice((1, 1, 2))):
            spoil(self.out, draw.choice(TEXTS), draw)
        if draw.random() < 0.3:
            picture = draw.choice(sorted(self.out.rglob("*.png")))
            picture.write_bytes(damaged(picture.read_bytes(), draw))
        export = draw.random() < 0.3
        exported = ("seas-data", "export", self.out, "--to", "coco", "--into", self.root / "coco")
        command = exported if export else ("seas-gen", *self.words, draw.choice((2, 4, 6)))
        ended = self.warm.run(self.root, *command)
        if wrong := ended.wrong((0, 2, 3, 5, 6)):
            return f"{command[0]}: {wrong}"
        if ended.seconds > SOON:
            return f"{command[0]}: {ended.seconds:.0f} s"
        if found := differ(tree(elsewhere), before[0]) or differ(tree(self.plan), before[1]):
            return f"{command[0]} touched what lies outside: {found}"
        return None


@pytest.fixture(scope="session")
def folders(runtime: Warm, tile: Path, work: Path) -> Folders:
    return Folders(runtime, tile, work)


def test_out_folders(campaign: Campaign, folders: Folders) -> None:
    campaign.run("out_folders", folders.trial)


def test_images(campaign: Campaign, training: Warm, work: Path) -> None:
    from PIL import Image

    root = work / "images"
    root.mkdir()
    picture = Image.effect_noise((24, 16), 80)
    kinds = [(picture.convert(mode), suffix) for mode in ("L", "RGB", "P", "1") for suffix in (".png", ".bmp", ".tif")]
    kinds += [(picture.convert(mode), ".png") for mode in ("LA", "RGBA", "I;16")] + [(picture, ".jpg")]
    good = []
    for number, (image, suffix) in enumerate(kinds):
        image.save(root / f"whole{number}{suffix}")
        good.append((root / f"whole{number}{suffix}").read_bytes())

    def trial(draw: random.Random) -> str | None:
        files = [root / f"{number}.png" for number in range(50)]
        for file in files:
            file.write_bytes(damaged(draw.choice(good), draw))
        ended = training.run(root, "image", *files)
        return ended.wrong((0,)) or (f"{ended.seconds:.0f} s" if ended.seconds > SOON else None)

    campaign.run("images_by_fifty", trial)


@pytest.fixture(scope="session")
def a_run(work: Path) -> Path:
    """A run folder with random weights, as `seas-train` leaves it."""
    from tests.random_run import write

    return write(work / "random_run")


def test_run_folders(campaign: Campaign, training: Warm, work: Path, a_run: Path) -> None:
    texts = sorted(path.relative_to(a_run).as_posix() for path in a_run.rglob("*.json"))
    weights = sorted(path.relative_to(a_run).as_posix() for path in a_run.rglob("*.safetensors"))
    root = work / "run_folders"

    def trial(draw: random.Random) -> str | None:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(a_run, root / "run")
        for _ in range(draw.choice((1, 1, 2))):
            if draw.random() < 0.7:
                name = "run.json" if draw.random() < 0.5 else draw.choice(texts)
                spoil(root / "run", name, draw)
            else:
                file = root / "run" / draw.choice(weights)
                file.write_bytes(damaged(file.read_bytes(), draw))
        ended = training.run(root, "load", root / "run")
        return ended.wrong((0, 3)) or (f"{ended.seconds:.0f} s" if ended.seconds > SOON else None)

    campaign.run("run_folders", trial)
