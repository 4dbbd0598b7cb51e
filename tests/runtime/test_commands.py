"""How commands end where something is wrong with their terminal, or somebody interrupts them at once."""

import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from seas_runtime.commands import Command, Ending
from seas_runtime.errors import SettingsError

FULL = "/dev/full"
CALLS = {
    "seas-gen": "from seas_runtime.cli import generate; generate()",
    "seas-engine": "from seas_runtime.engine_cli import engine; engine()",
    "seas-data": "from seas_runtime.dataset.cli import data; data()",
    "seas-train": "from seas_train.cli import main; main()",
    "seas-export": "from seas_export.cli import main; main()",
}


@pytest.mark.skipif(not os.path.exists(FULL), reason="no /dev/full on this system")  # noqa: PTH110
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_standard_output_is_one_line(name, unbuffered):
    with open(FULL, "w") as full:  # noqa: PTH123
        words = [sys.executable, "-c", CALLS[name], "--help"]
        environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, env=environment, check=False, timeout=60)
        both = subprocess.run(words, stdout=full, stderr=full, env=environment, check=False, timeout=60)
    assert (done.returncode, done.stderr.count("\n"), both.returncode) == (5, 1, 5), done.stderr
    assert "standard output: No space left on device" in done.stderr


def interrupted(_ctx, _param, _value):
    raise KeyboardInterrupt


@pytest.mark.parametrize("kind", [click.Command, click.Group])
def test_an_interrupt_while_the_command_line_is_read(kind):
    class Kind(Ending, kind):
        pass

    command = Kind("name", params=[click.Option(["--x"], callback=interrupted, is_eager=True)], callback=lambda x: None)
    assert CliRunner().invoke(command, ["--x", "1"]).exit_code == 130


def test_errors_of_the_house_and_of_others_stay_what_they_are():
    def fail(error):
        raise error

    for error, code in ((SettingsError("x"), 2), (click.UsageError("x"), 2), (click.exceptions.Exit(7), 7)):
        assert CliRunner().invoke(Command("name", callback=lambda error=error: fail(error)), []).exit_code == code
    strange = OSError(28, "No space left on device")
    assert CliRunner().invoke(Command("name", callback=lambda: fail(strange)), []).exception is strange
