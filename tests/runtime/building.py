"""`seas-engine build` in this process and in one of its own."""

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import tensorrt_rtx
from click.testing import CliRunner

from seas_runtime.backends.tensorrt import library
from seas_runtime.backends.tensorrt.build import build
from seas_runtime.engine_cli import engine

BOTTLE = Path(__file__).parents[2] / "engines" / "bottle.plan"
GRAPHS = ("unet", "decoder", "mask_branch")
GENERATIONS = ("sm86", "sm89", "sm120")
RTX = version("tensorrt-rtx-cu13")
COMMAND = [sys.executable, "-c", "from seas_runtime.engine_cli import engine; engine(prog_name='seas-engine')"]


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


def check_engine(data, gpus):
    """What a serialized engine tells without a GPU: header, library version, GPUs."""
    runtime = tensorrt_rtx.Runtime(library.load("rtx").logger)
    malformed, other_version = (
        tensorrt_rtx.EngineInvalidityDiagnostics.MALFORMED_ENGINE.value,
        tensorrt_rtx.EngineInvalidityDiagnostics.VERSION_MISMATCH.value,
    )
    header = data[: runtime.engine_header_size]
    assert runtime.get_engine_validity(header)[1] & (malformed | other_version) == 0
    assert runtime.get_engine_validity(b"x" + header[1:])[1] & malformed
    assert bytes(map(int, RTX.split("."))) in header
    (named,) = set(re.findall(rb"accelerators=\{(sm[^}]*)\}", data))
    assert named.decode().split() == list(gpus)
