"""The recipes of docs/formats.md, run by the tools themselves; see test_ecosystem.py."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from benchmarks import blocks
from seas_runtime.dataset.export import export
from seas_runtime.dataset.exporters.job import Options
from seas_runtime.dataset.read import read
from tests.ecosystem.environments import TOOLS, python_with
from tests.runtime.dataset.exporters.out_folder import masks, write

pytestmark = pytest.mark.ecosystem
PAGE = blocks.ROOT / "docs/formats.md"
RECIPES = {word.partition("=")[2]: block for block in blocks.blocks(PAGE) for word in block.words if word.startswith("ecosystem=")}


@pytest.mark.parametrize("tool", RECIPES)
def test_a_recipe_says_a_line_for_each_picture(tool: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    form, requirements = TOOLS[tool]
    out = write(tmp_path / "run/out", list(masks().values()), normals=3)
    splits = export(read(out), form, tmp_path / f"out/bottle-{form}", Options(val=0.25)).record.splits
    text = RECIPES[tool].text.replace('category="bottle"', 'category="tile"')
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
    python = python_with(tool, requirements, tmp_path_factory.getbasetemp())
    done = subprocess.run([python, "-c", text], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(done.stdout.splitlines()) >= splits["test" if form == "anomalib" else "train"] > 1
