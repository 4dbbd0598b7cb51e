import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import seas_runtime
from seas_runtime.bundle import shipped
from seas_runtime.engine_cli import engine


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_demo_is_found_by_its_name_from_anywhere(elsewhere):
    result = CliRunner().invoke(engine, ["verify", "bottle.plan"])
    assert (result.exit_code, result.output[:3]) == (0, "ok ")
    assert seas_runtime.open("bottle.plan", "cpu").bundle.manifest.product == "bottle"


def test_what_lies_here_goes_first(elsewhere):
    (elsewhere / "bottle.plan").mkdir()
    assert shipped.find(Path("bottle.plan")) == Path("bottle.plan")
    result = CliRunner().invoke(engine, ["verify", "bottle.plan"])
    assert result.exit_code == 3


@pytest.mark.parametrize("asked", ["engines/bottle.plan", "./x/bottle.plan", "../bottle.plan", "other.plan", ".", ".."])
def test_a_path_or_a_strange_name_is_taken_as_it_is(elsewhere, asked):
    assert shipped.find(Path(asked)) == Path(asked)


def test_a_program_of_its_own_finds_it_too(elsewhere):
    # The installed package, where these tests run against one; the clone otherwise.
    program = "import seas_runtime; print(seas_runtime.open('bottle.plan', 'cpu').bundle.path)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).parent.name == "engines"
