"""What the runtime loads, seen from a process of its own."""

import json
import subprocess
import sys
import time

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
EVERYTHING = """
import importlib, json, pkgutil, sys
import seas_runtime
for module in pkgutil.walk_packages(seas_runtime.__path__, "seas_runtime."):
    importlib.import_module(module.name)
print(json.dumps(sorted(sys.modules)))
"""


def loaded(code):
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return json.loads(run.stdout)


def test_no_module_of_the_runtime_loads_a_training_package():
    modules = loaded(EVERYTHING)
    assert "seas_runtime.backends.ort" in modules
    assert [name for name in modules if name.split(".")[0] in FORBIDDEN] == []


def test_training_knows_of_the_runtime_only_its_sheets_and_names():
    code = "import json, sys, seas_train.cli, seas_train.samples, seas_train.watch, seas_train.data.check; "
    modules = loaded(code + "print(json.dumps([m for m in sys.modules if m.startswith('seas_runtime.')]))")
    assert set(modules) == {f"seas_runtime.{name}" for name in ("atomic", "errors", "names", "sheet")}


def test_reading_a_bundle_loads_no_engine():
    modules = loaded("import json, sys, seas_runtime.bundle; print(json.dumps(sorted(sys.modules)))")
    assert [name for name in modules if name.split(".")[0] in (*FORBIDDEN, "onnxruntime", "PIL")] == []


def test_the_command_line_alone_loads_neither_numpy_nor_an_engine():
    modules = loaded("import json, sys, seas_runtime.cli; print(json.dumps(sorted(sys.modules)))")
    assert [name for name in modules if name in (*FORBIDDEN, "numpy", "onnxruntime", "pydantic", "PIL")] == []


def test_generating_and_the_review_command_alone_load_no_server():
    modules = loaded(
        "import json, sys, seas_runtime.run, seas_runtime.dataset.review.command; print(json.dumps(sorted(sys.modules)))"
    )
    assert [name for name in modules if name.split(".")[0] in ("starlette", "uvicorn", "anyio", "selenium")] == []


def test_the_review_command_alone_loads_neither_numpy_nor_pillow():
    modules = loaded("import json, sys, seas_runtime.dataset.review.command; print(json.dumps(sorted(sys.modules)))")
    assert [name for name in modules if name in (*FORBIDDEN, "numpy", "pydantic", "PIL", "starlette")] == []


def test_help_answers_at_once():
    command = [sys.executable, "-c", "from seas_runtime.cli import generate; generate()", "--help"]
    times = []
    for _ in range(3):
        started = time.monotonic()
        shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        times.append(time.monotonic() - started)
    assert "from the bundle" in shown.stdout
    assert "Examples:" in shown.stdout
    assert min(times) < 0.5
