"""Exports read by the tools themselves, each in an environment of its own.

    pytest -m ecosystem tests/ecosystem -k datasets

Each test makes a virtual environment, installs the tool from PyPI (ultralytics, anomalib and mmseg bring PyTorch: gigabytes) and
runs a script of this folder in it, which writes the masks that the tool's own loader gives. SEAS_ECOSYSTEM=DIR keeps the
environments for the next time, and takes one that lies there as it is.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from seas_runtime.dataset.export import export
from seas_runtime.dataset.exporters.job import Options
from seas_runtime.dataset.read import read
from tests.ecosystem.environments import TOOLS, python_with
from tests.runtime.dataset.exporters.out_folder import masks, original, write

pytestmark = pytest.mark.ecosystem
HERE = Path(__file__).parent
SIDE = 64


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pairs with masks that are hard to write down, and three normal pictures; all of one size, a multiple of 32."""
    squares = [np.pad(mask, ((0, SIDE - mask.shape[0]), (0, SIDE - mask.shape[1]))) for mask in masks().values()]
    return write(tmp_path_factory.mktemp("run") / "out", squares, normals=3, normal_shape=(SIDE, SIDE))


@pytest.mark.parametrize("tool", TOOLS)
def test_the_tool_gives_every_mask_to_the_pixel(
    tool: str, out: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    form, requirements = TOOLS[tool]
    options = Options() if form == "labelme" else Options(val=0.25)
    folder = export(read(out), form, tmp_path / "made", options).folder
    python = python_with(tool, requirements, tmp_path_factory.getbasetemp())
    result = tmp_path / "masks.npz"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "YOLO_CONFIG_DIR": str(tmp_path), "YOLO_OFFLINE": "1"}
    script = [python, HERE / f"read_{tool}.py", folder, result]
    done = subprocess.run(script, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    seen = dict(np.load(result))
    assert {key for key in seen if not key.startswith("normal")} == {f"{i:06d}" for i in range(12)}
    assert sum(key.startswith("normal") for key in seen) == 3
    for key, mask in seen.items():
        expected = np.zeros((SIDE, SIDE), bool) if key.startswith("normal") else original(out, key)
        assert np.array_equal(mask > 0, expected), key
