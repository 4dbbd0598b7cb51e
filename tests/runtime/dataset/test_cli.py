"""`seas-data` from outside: what it loads, how it is left, and what it says to a person at a terminal."""

import json
import sys

import pytest
from click.testing import CliRunner

from seas_runtime.dataset import cli
from seas_runtime.dataset.importers import cli as import_cli
from seas_runtime.dataset.importers import writing
from tests.runtime.dataset.truth import dump
from tests.runtime.dataset.written_sources import WRITERS
from tests.runtime.own_process import answers_at_once, loaded

ALLOWED = {"seas_runtime", "numpy", "click", "PIL", "pydantic", "pydantic_core", "tqdm", "safetensors"}
BELOW_PYDANTIC = {"annotated_types", "typing_extensions", "typing_inspection"}
EVERY_MODULE = """
import importlib, json, pkgutil, sys
import seas_runtime.dataset
before = set(sys.modules)
for module in pkgutil.walk_packages(seas_runtime.dataset.__path__, "seas_runtime.dataset."):
    if module.name.split(".")[2].startswith(("import", "export", "shapes", "cli")):
        importlib.import_module(module.name)
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_importers_and_exporters_load_nothing_but_what_the_runtime_may():
    tops = {name.partition(".")[0] for name in loaded(EVERY_MODULE)}
    strange = tops - ALLOWED - BELOW_PYDANTIC - sys.stdlib_module_names
    assert {name for name in strange if not name.startswith("_sysconfigdata")} == set()


def test_the_command_line_alone_loads_neither_numpy_nor_pictures():
    code = "import json, sys, seas_runtime.dataset.cli, seas_runtime.dataset.importers.cli; print(json.dumps(sorted(sys.modules)))"
    assert not {"numpy", "PIL", "pydantic", "tqdm"} & set(loaded(code))


def test_help_answers_at_once():
    assert "Examples:" in answers_at_once("from seas_runtime.dataset.cli import data; data()", "import", "--help")


def test_every_command_of_the_table_exists():
    for name in cli.COMMANDS:
        assert CliRunner().invoke(cli.data, [name, "--help"]).exit_code == 0
    assert "No such command" in CliRunner().invoke(cli.data, ["nothing"]).output


def test_an_interrupt_leaves_nothing(tmp_path, run, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    WRITERS["labelme"](tmp_path / "source")
    monkeypatch.setattr(writing, "_flush", interrupt)
    assert "Interrupted: nothing unfinished was left behind." in run(code=130)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 3)])
def test_a_person_is_asked_where_something_is_in_doubt_and_only_then(answer, code, tmp_path, monkeypatch):
    WRITERS["labelme"](tmp_path / "source")
    monkeypatch.setattr(import_cli, "_is_terminal", lambda: True)
    words = ["import", str(tmp_path / "source"), "--into"]
    sure = CliRunner().invoke(cli.data, [*words, str(tmp_path / "sure")])
    assert sure.exit_code == 0
    assert "Go on?" not in sure.output
    fields = json.loads((tmp_path / "source/a1.json").read_text())
    dump(tmp_path / "source/a1.json", fields | {"shapes": []})
    unsure = CliRunner().invoke(cli.data, [*words, str(tmp_path / "unsure")], input=answer)
    assert "1 doubt and 0 files left out. Go on?" in unsure.output
    assert unsure.exit_code == code
    assert (tmp_path / "unsure").exists() == (code == 0)
