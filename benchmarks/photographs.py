"""Photographs of 12 megapixels with LabelMe JSON become reviewed COCO pairs: the documents' commands, each one timed.

    python -m benchmarks.photographs --work out/photographs

Draws the photographs (JPEG, 4000 x 3000: a brushed plate with scratches and dents), then runs the commands of a section of
docs/own-product.md one after the other, each in a process of its own. Trainings are cut short, on a base of random weights of the
tiny geometry; `check --estimate` says what the whole ones take here. The review is written as a page, since nobody looks, and all
pairs are accepted. With `--engine engines/bottle.plan` nothing is trained or exported: a copy of that bundle stands in, which takes
tiles of the normal photographs for its own. Saves photographs.json and .md.
"""

from __future__ import annotations

import json
import resource
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from benchmarks import blocks, common
from seas_runtime.bundle.reader import read_bundle, write_manifest
from seas_train.pipeline.child import executable

PAGE = blocks.ROOT / "docs/own-product.md"
SECTION = "## From photographs to reviewed COCO pairs"
SHORT = {
    "seas-train tune": ["--steps", "20"],
    "seas-train masks": ["--steps", "20"],
    "seas-gen": ["--threshold", "0.001", "--max-area", "1", "--min-agreement", "0"],  # masks of a branch that has learned nothing
    "seas-data review": ["--static", "review.html"],
}
"""What is added to commands, so that a figure takes minutes and needs nobody."""
TYPES = ("dent", "scratch")
GATE = 6  # exit code
TRAINING = ("seas-train tune", "seas-train masks", "seas-export")


@dataclass(frozen=True)
class Step:
    """A command, the seconds it took by the clock and of processors, and the last line that it said."""

    command: str
    seconds: float
    processor: float
    said: str


def commands() -> list[str]:
    """The commands of the section, without what is said of them."""
    found = (words for block in blocks.blocks(PAGE, SECTION) for words in blocks.commands(block))
    return [shlex.join(words) for words in found if words[0].startswith("seas-")]


def draw(root: Path, size: tuple[int, int], each: int, normals: int) -> None:
    """Photographs (JPEG) of this (width, height): in root/valve `each` of both types with LabelMe JSON, in root/good normal."""
    (root / "valve").mkdir(parents=True)
    (root / "good").mkdir()
    chance = np.random.default_rng(0)
    for number in range(normals):
        _plate(size, chance).save(root / f"good/n{number:03}.jpg", quality=92)
    for number in range(2 * each):
        title = TYPES[number % 2]
        outline = _scratch(size, chance) if title == "scratch" else _dent(size, chance)
        picture = _plate(size, chance)
        pen = ImageDraw.Draw(picture)
        pen.polygon([tuple(point) for point in outline], fill=(60, 52, 50) if title == "scratch" else (150, 140, 130))
        picture.save(root / f"valve/p{number:03}.jpg", quality=92)
        shape = {"label": title, "points": outline, "shape_type": "polygon", "flags": {}}
        fields: dict[str, object] = {
            "version": "5.4.1",
            "flags": {},
            "shapes": [shape],
            "imagePath": f"p{number:03}.jpg",
            "imageData": None,
        }
        text = json.dumps(fields | {"imageWidth": size[0], "imageHeight": size[1]})
        (root / f"valve/p{number:03}.json").write_text(text, encoding="utf-8")


def _plate(size: tuple[int, int], chance: np.random.Generator) -> Image.Image:
    width, height = size
    brushed = chance.normal(0, 6, (height, 1)) + chance.normal(0, 2, (height, width))
    light = 150 + 40 * np.sin(np.linspace(0, 2, width) + chance.uniform(0, 1))
    grey = np.clip(light + brushed, 0, 255).astype(np.uint8)
    return Image.fromarray(grey).filter(ImageFilter.GaussianBlur(1)).convert("RGB")


def _scratch(size: tuple[int, int], chance: np.random.Generator) -> list[list[float]]:
    """A thin quadrangle: a tenth of the photograph long, a three-hundredth wide."""
    length, wide, angle = size[0] / 10, max(3.0, size[0] / 300), chance.uniform(0, np.pi)
    along, across = np.array((np.cos(angle), np.sin(angle))), np.array((-np.sin(angle), np.cos(angle)))
    middle = np.array(size) * chance.uniform(0.2, 0.8, 2)
    ends = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    return [[round(float(v), 1) for v in middle + a * along * length / 2 + b * across * wide / 2] for a, b in ends]


def _dent(size: tuple[int, int], chance: np.random.Generator) -> list[list[float]]:
    radius, middle = size[0] / 30, np.array(size) * chance.uniform(0.2, 0.8, 2)
    turns, radii = np.linspace(0, 2 * np.pi, 24, endpoint=False), radius * chance.uniform(0.8, 1.2, 24)
    points = middle + radii[:, None] * np.stack((np.cos(turns), np.sin(turns)), axis=1)
    return [[round(float(x), 1), round(float(y), 1)] for x, y in points]


def in_process(words: Sequence[str], where: Path) -> str:
    """Run a command in a process of its own; the last line that it said.

    Raises:
        ClickException: it failed.
    """
    done = subprocess.run([executable(words[0]), *words[1:]], cwd=where, capture_output=True, text=True, check=False)
    if done.returncode not in (0, GATE):  # a mask that is refused stops nothing here
        raise click.ClickException(f"{shlex.join(words)}: exit code {done.returncode}: {done.stderr.strip()[-500:]}")
    return (done.stdout.strip().splitlines() or [""])[-1]


def walk(
    work: Path,
    short: dict[str, list[str]],
    run: Callable[[Sequence[str], Path], str] = in_process,
    without: tuple[str, ...] = (),
) -> list[Step]:
    """Run the section's commands but that of the base in a folder that holds photos/ and bases/small.

    Args:
        work: The folder.
        short: What is added to commands, by their beginning.
        run: Runs one command in a folder.
        without: Beginnings of commands that are left out.
    """
    steps = []
    for command in commands():
        if command.startswith(("seas-train base", *without)):
            continue
        words = shlex.split(command)
        for begin, more in short.items():
            words += more if command.startswith(begin) else []
        if command.startswith("seas-data place"):
            accept_all(work / words[2])
        began, before = time.perf_counter(), _of_children()
        said = run(words, work)
        steps.append(Step(command, time.perf_counter() - began, _of_children() - before, said))
    return steps


def _of_children() -> float:
    """Processor seconds of all processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def accept_all(out: Path) -> None:
    """Decide as a person would on the page, for all pairs."""
    lines = (json.loads(line) for line in (out / "metadata.jsonl").read_text(encoding="utf-8").splitlines())
    decided = "".join(json.dumps({"index": line["index"], "decision": "accept"}) + "\n" for line in lines)
    (out / "review.jsonl").write_text(decided, encoding="utf-8")


def _base(folder: Path) -> None:
    """A base of the tiny geometry with random weights."""
    import torch

    from seas_train.models import components

    torch.manual_seed(0)
    components.build(components.GEOMETRIES["tiny"], ["a valve", *(f"a valve with {title}" for title in TYPES)]).save(folder)


def stand_in(engine: Path, photos: Path, plan: Path) -> None:
    """A copy of a bundle whose normal images are tiles of photographs, for `--background real` and `seas-data place`."""
    bundle = read_bundle(engine)
    side, chance = bundle.manifest.geometry.image_size, np.random.default_rng(1)
    files = sorted((photos / "good").iterdir())
    pictures = [Image.open(file).convert("RGB") for file in files]
    shutil.copytree(engine, plan, ignore=shutil.ignore_patterns("manifest.json", "engines"))
    (plan / "photographs").mkdir()
    places, names = [], []
    for number in range(len(bundle.conditioning.mean)):
        which = number % len(files)
        size = pictures[which].size
        left, top = (int(chance.integers(0, length - side + 1)) for length in size)
        names.append(f"photographs/{number:03}.png")
        pictures[which].crop((left, top, left + side, top + side)).save(plan / names[-1])
        places.append({"file": f"photos/good/{files[which].name}", "size": size, "box": (left, top, side, side)})
    fields = json.loads((engine / "manifest.json").read_text(encoding="utf-8"))
    fields = {key: value for key, value in fields.items() if key not in ("format", "files", "digest")}
    fitting = {"fit": "tile", "photograph": pictures[0].size}
    write_manifest(plan, {**fields, "fitting": fitting, "places": places, "photographs": names})


def _table(steps: Sequence[Step], facts: dict[str, object]) -> str:
    lines = ["# Photographs to reviewed COCO pairs", "", "`python -m benchmarks.photographs`", ""]
    lines += [
        *common.listed(facts, "photographs", "machine", "versions", "commit"),
        "",
        "| command | seconds | of processors |",
        "|---|---:|---:|",
    ]
    lines += [f"| `{step.command}` | {step.seconds:.1f} | {step.processor:.1f} |" for step in steps]
    lines += ["", f"{facts['trainings']} `check --estimate` said of the whole ones here:", "", f"> {facts['estimate']}", ""]
    return "\n".join(lines)


@click.command()
@click.option(
    "--work", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Where photographs and results lie; new."
)
@click.option("--each", type=click.IntRange(1), default=8, show_default=True, help="Photographs of each of two types.")
@click.option("--normals", type=click.IntRange(2), default=8, show_default=True, help="Normal photographs.")
@click.option("--pairs", type=click.IntRange(1), default=10, show_default=True, help="Pairs of each type.")
@click.option("--engine", type=click.Path(path_type=Path), metavar="NAME.plan", help="Stands in for training and export.")
def main(work: Path, each: int, normals: int, pairs: int, engine: Path | None) -> None:
    """Time every command from photographs to reviewed pairs."""
    for left in (place for place in work.glob("*") if place.name != "photos"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    if not (work / "photos").exists():
        draw(work / "photos", (4000, 3000), each, normals)
    _base(work / "bases/small")
    if engine is not None:
        stand_in(engine, work / "photos", work / "valve.plan")
    short = {**SHORT, "seas-gen": [*(SHORT["seas-gen"] if engine is None else []), "--per-type", str(pairs)]}
    steps = walk(work, short, without=() if engine is None else TRAINING)
    estimate = next(step.said for step in steps if "--estimate" in step.command)
    drawn = f"{2 * each} with an anomaly, {normals} normal, 4000 x 3000 pixels, JPEG; {pairs} pairs of each type are made"
    trainings = "Trainings are cut to 20 steps." if engine is None else f"Nothing is trained or exported: {engine} stands in."
    facts: dict[str, object] = {"photographs": drawn, "estimate": estimate, "trainings": trainings, **common.machine()}
    common.save(common.RESULTS / "photographs", {**facts, "steps": [asdict(step) for step in steps]}, _table(steps, facts))


if __name__ == "__main__":
    main()
