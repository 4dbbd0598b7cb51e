"""What a process of its own loads, prints and takes."""

import json
import resource
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
    """Standard output; it may take at most four times what click alone takes of the processor, on any machine."""
    taken = [(_seconds(code, *words), _seconds("import click")) for _ in range(3)]
    assert min(ours for ours, _ in taken) < 4 * min(clicks for _, clicks in taken)
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, timeout=60).stdout


def _seconds(code, *words):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
