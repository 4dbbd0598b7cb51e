"""What a process of its own loads, prints and takes."""

import json
import os
import subprocess
import sys

FORBIDDEN = (
    "torch",
    "diffusers",
    "transformers",
    "onnx",
    "onnxscript",
    "polygraphy",
    "seas_train",
    "seas_export",
)


def loaded(code):
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return json.loads(run.stdout)


def printed(code):
    """Standard output of a process, what engines print from C included."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout


def answers_at_once(code, *words):
    """Standard output; it may take 2.5 times what click alone takes of the processor, and loading numpy or pydantic takes more."""
    taken = [(_seconds(code, *words), _seconds("import click")) for _ in range(3)]
    assert min(ours for ours, _ in taken) < 2.5 * min(clicks for _, clicks in taken)
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, timeout=60).stdout


def _seconds(code, *words):
    before = os.times()
    subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=True, timeout=60)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system
