"""Environments with the tools of others, made for these tests and kept where SEAS_ECOSYSTEM says."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

TOOLS = {
    "datasets": ("hf", ["datasets>=3.2", "pillow"]),
    "labelme": ("labelme", ["labelme"]),
    "ultralytics": ("yolo", ["ultralytics"]),
    "anomalib": ("anomalib", ["anomalib[cpu]"]),
    "mmseg": ("mmseg", ["mmsegmentation==1.2.2", "mmcv-lite==2.1.0", "mmengine", "torch", "ftfy", "regex", "setuptools<81"]),
}


def python_with(tool: str, requirements: list[str], root: Path) -> Path:
    """The interpreter of an environment that has the tool."""
    folder = Path(os.environ.get("SEAS_ECOSYSTEM", root)) / tool
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *requirements], check=True)
    return python
