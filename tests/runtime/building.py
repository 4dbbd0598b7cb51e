"""`seas-engine build` in this process and in one of its own."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from seas_runtime.build import build
from seas_runtime.cli import engine

BOTTLE = Path(__file__).parents[2] / "engines" / "bottle.plan"
GRAPHS = ("unet", "decoder", "mask_branch")
GENERATIONS = ("sm86", "sm89", "sm120")
RTX = version("tensorrt-rtx-cu13")
COMMAND = [sys.executable, "-c", "from seas_runtime.cli import engine; engine(prog_name='seas-engine')"]


def seas_engine(*words):
    return CliRunner().invoke(engine, [str(word) for word in words])


def build_refused(error, folder, *words, **options):
    """The build ends in one line and leaves nothing in the bundle."""
    with pytest.raises(error) as caught:
        build(folder, **options)
    for word in words:
        assert word in caught.value.message, caught.value.message
    assert "\n" not in caught.value.message
    assert not (folder / "engines").exists()


def start_build(folder, *words, before=None):
    return subprocess.Popen(
        [*COMMAND, "build", str(folder), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,
    )
