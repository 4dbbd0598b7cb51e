"""What the runtime loads, seen from a process of its own."""

from tests.runtime import import_graph
from tests.runtime.own_process import FORBIDDEN, answers_at_once, loaded

EVERYTHING = """
import importlib, json, pkgutil, sys
import seas_runtime
for module in pkgutil.walk_packages(seas_runtime.__path__, "seas_runtime."):
    if module.name != "seas_runtime.torch_dataset":  # which is there for who has torch
        importlib.import_module(module.name)
print(json.dumps(sorted(sys.modules)))
"""


# What training may take from the runtime; the solver's table knows the manifest's schedule.
LEAVES = (
    "array", "commands", "errors", "files", "fit", "footprint", "options", "staging", "telemetry", "terminal", "versions", "voice",
    "bundle.graphs", "bundle.names", "bundle.manifest", "bundle.schema", "bundle.student",
    "dataset.importers.hint", "dataset.sheet", "dataset.shapes.widths", "sampling.defaults", "sampling.noise", "sampling.solver",
)  # fmt: skip


def test_no_module_of_the_runtime_loads_a_training_package():
    modules = loaded(EVERYTHING)
    assert "seas_runtime.backends.ort" in modules
    assert [name for name in modules if name.split(".")[0] in FORBIDDEN] == []


def test_training_knows_of_the_runtime_only_its_leaves():
    known = import_graph.known("seas_train", "seas_runtime")
    assert {"seas_runtime.errors", "seas_runtime.files"} <= known
    assert known <= {f"seas_runtime.{name}" for name in LEAVES}


def test_reading_a_bundle_loads_no_engine():
    modules = loaded("import json, sys, seas_runtime.bundle.reader; print(json.dumps(sorted(sys.modules)))")
    assert [name for name in modules if name.split(".")[0] in (*FORBIDDEN, "onnxruntime", "PIL")] == []


def test_the_command_line_alone_loads_neither_numpy_nor_an_engine():
    modules = loaded("import json, sys, seas_runtime.cli; print(json.dumps(sorted(sys.modules)))")
    assert [name for name in modules if name in (*FORBIDDEN, "numpy", "onnxruntime", "pydantic", "PIL")] == []


def test_generating_and_the_review_command_alone_load_no_server():
    modules = loaded(
        "import json, sys, seas_runtime.generate, seas_runtime.dataset.review.cli; print(json.dumps(sorted(sys.modules)))"
    )
    assert [name for name in modules if name.split(".")[0] in ("starlette", "uvicorn", "anyio", "selenium")] == []


def test_the_review_command_alone_loads_neither_numpy_nor_pillow():
    modules = loaded("import json, sys, seas_runtime.dataset.review.cli; print(json.dumps(sorted(sys.modules)))")
    assert [name for name in modules if name in (*FORBIDDEN, "numpy", "pydantic", "PIL", "starlette")] == []


def test_help_answers_at_once():
    shown = answers_at_once("from seas_runtime.cli import generate; generate()", "--help")
    assert "from the bundle" in shown
    assert "Examples:" in shown
