"""Every command that loads what takes its time says a word before it: seen from processes of their own."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "diffusers", "transformers", "onnxruntime", "numpy"}
# A finder that is asked before all others: it ends the process at the first heavy module, when standard error should have a word.
CODE = """
import os, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {heavy!r}:
            sys.stderr.flush()
            os._exit(7)
sys.meta_path.insert(0, Finder())
from {module} import {function}
{function}()
"""
TRAIN, EXPORT = ("seas_train.cli", "main"), ("seas_export.cli", "main")
GEN, ENGINE, DATA = ("seas_runtime.cli", "generate"), ("seas_runtime.engine_cli", "engine"), ("seas_runtime.dataset.cli", "data")
CASES = [
    (TRAIN, "base x --out y", "loading PyTorch"),
    (TRAIN, "tune x --base y --out z", "loading PyTorch"),
    (TRAIN, "masks x", "loading PyTorch"),
    (TRAIN, "distill x --out y", "loading PyTorch"),
    (TRAIN, "sample x --out y", "loading PyTorch"),
    (TRAIN, "check x", "looking at the images"),
    (TRAIN, "check --base x", "loading PyTorch"),
    (TRAIN, "demo-data x", "drawing bottle"),
    (EXPORT, "x --out y.plan", "loading PyTorch"),
    (GEN, "--engine x.plan --count 1", "reading x.plan"),
    (ENGINE, "inspect x.plan", "reading x.plan"),
    (ENGINE, "verify x.plan", "reading x.plan"),
    (ENGINE, "copy x.plan y.plan", "copying x.plan"),
    (ENGINE, "build x.plan", "reading x.plan"),
    (ENGINE, "doctor", "looking at this machine"),
    (DATA, "import x --into y", "looking at x"),
    (DATA, "export x --to coco --into y", "reading x"),
    (DATA, "place x --on y --into z", "reading x"),
    (DATA, "status x", "reading the shards"),
    (DATA, "merge x --into y", "reading the shards"),
    (DATA, "review x", "reading x"),
]


@pytest.mark.parametrize(("program", "words", "said"), CASES, ids=[f"{program[0]} {words}" for program, words, _ in CASES])
def test_a_word_comes_first(program, words, said):
    code = CODE.format(heavy=HEAVY, module=program[0], function=program[1])
    done = subprocess.run([sys.executable, "-c", code, *words.split()], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (7, f"{said} ...\n")
