"""Commands of the documents in this process, made short, in a folder that has what they name."""

import json
import shutil
import subprocess
from importlib import import_module
from pathlib import Path

import click
from click.testing import CliRunner

from benchmarks import blocks, photographs
from seas_export import conditioning
from seas_runtime.bundle.reader import write_manifest

ENTRIES = {
    "seas-data": "seas_runtime.dataset.cli:data",
    "seas-engine": "seas_runtime.engine_cli:engine",
    "seas-export": "seas_export.cli:main",
    "seas-gen": "seas_runtime.cli:generate",
    "seas-quality": "benchmarks.quality.cli:main",
    "seas-train": "seas_train.cli:main",
}
PLACED = {
    "seas-gen": {"--count": "4", "--per-type": "1", "--normals": "2", "--steps": "3"},
    "seas-data": {"--size": "64"},
    "seas-export": {"--composites": "2"},
}
"""What stands in place of a number in the documents."""
HUB, SMALL = "CompVis/stable-diffusion-v1-4", "bases/small"
SHORT = {
    **photographs.SHORT,
    "seas-train base": [
        *("--geometry", "tiny", "--vae-steps", "1", "--vae-batch", "1", "--steps", "1", "--batch", "1"),
        *("--sharpen-steps", "1", "--align-steps", "1"),
    ],
    "seas-train demo-data": ["--size", "64", "--normals", "3", "--per-defect", "3", "--test-normals", "1"],
    "seas-train tune": ["--steps", "1", "--normal-count", "3", "--watch-every", "0"],
    "seas-train masks": ["--steps", "1", "--up2-width", "8", "--up3-width", "8", "--layers", "1", "--heads", "2", "--groups", "4"],
    "seas-export": ["--steps", "3"],
    "seas-gen": [*photographs.SHORT["seas-gen"], "--threshold", "0.45", "--backend", "cpu", "--threads", "1", "--batch", "2"],
}
"""What is added to commands, by their beginning."""
SHELL = {"cp", "rm"}
LEFT_OUT = {"pip", "pytest"}
GATE = 6  # exit code: masks of a branch that has learned nothing


def program(name: str) -> click.Command:
    """What a console script runs."""
    module, _, entry = ENTRIES[name].partition(":")
    return getattr(import_module(module), entry)


def in_this_process(words: list[str], where: Path) -> str:
    """Run one command in the working directory; what it wrote to stdout."""
    result = CliRunner().invoke(program(words[0]), list(words[1:]))
    assert result.exit_code in (0, GATE), (words, where, result.output, result.exception)
    return result.stdout


def short(words: list[str]) -> list[str]:
    """A command of the documents that ends soon."""
    shorter = [SMALL if word == HUB else word for word in words]
    for i, word in enumerate(words[1:], start=1):
        if word.isdecimal():
            shorter[i] = PLACED.get(words[0], {}).get(words[i - 1], word)
    added = [more for begin, options in SHORT.items() if " ".join(words).startswith(begin) for more in options]
    return [*shorter, *added]


def run(block: blocks.Block, base: Path, where: Path) -> None:
    """Run a block in the working directory: shell command by command, Python as it is."""
    if block.language == "python":
        exec(compile(block.text, block.place, "exec"), {"__name__": "__main__"})  # our own documents
        return
    for words in blocks.commands(block):
        if words[0] in SHELL:
            subprocess.run(words, check=True)
        elif words[:2] == ["seas-train", "base"]:
            _base(words, base, where)
        elif words[0] not in LEFT_OUT:
            in_this_process(short(words), where)
            if words[:2] == ["seas-data", "review"]:
                photographs.accept_all(where / words[2])


def _base(words: list[str], base: Path, where: Path) -> None:
    """Train a base beside, and put that of all tests where it was to be, which is smaller."""
    out = words.index("--out") + 1
    asked = where / words[out]
    in_this_process(short([*words[:out], f"{asked}-trained", *words[out + 1 :]]), where)
    if not asked.exists():
        shutil.copytree(base, asked)


def filling(plan: Path):
    """What stands for the export's middle part: the graphs of a bundle of the same sizes, and everything else of the run."""

    def fill(run_, facts, folder, settings, _progress):
        for file in (*plan.glob("*.onnx"), plan / "weights.bin"):
            shutil.copy(file, folder)
        conditioning.write(run_, folder, settings.half, settings.composites, facts.patches or (), settings.composite_anomalies)
        for picture in facts.photographs or ():
            (folder / picture).parent.mkdir(exist_ok=True)
            shutil.copy(run_.folder / picture, folder / picture)
        held = json.loads((plan / "manifest.json").read_text())
        return write_manifest(folder, {**facts.model_dump(), **{name: held[name] for name in ("graphs", "half", "parity")}})

    return fill
