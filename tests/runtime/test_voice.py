"""The one way in which commands speak: what is heard in which manner, and progress with and without a terminal."""

import json
import sys

import click
import pytest
from click.testing import CliRunner

from seas_runtime import voice
from seas_runtime.commands import Command
from seas_runtime.errors import DataError


def speak(*, error=None):
    voice.note("on the way")
    voice.detail("in detail")
    voice.warn("a danger")
    voice.tell("the result", "and \x1b[2J more", path="out", count=3)
    if error is not None:
        raise error


@pytest.mark.parametrize(
    ("words", "out", "err"),
    [
        ([], "the result\nand \\x1b[2J more\n", "on the way\nWarning: a danger\n"),
        (["--verbose"], "the result\nand \\x1b[2J more\n", "on the way\nin detail\nWarning: a danger\n"),
        (["--quiet"], "", "Warning: a danger\n"),
    ],
)
def test_what_is_heard(words, out, err):
    result = CliRunner().invoke(Command("name", callback=speak), words)
    assert (result.exit_code, result.stdout, result.stderr) == (0, out, err)


@pytest.mark.parametrize("words", [["--json"], ["--json", "--quiet"], ["--verbose", "--json"]])
def test_json_takes_the_place_of_the_lines(words):
    result = CliRunner().invoke(Command("name", callback=speak), words)
    told = json.loads(result.stdout)
    assert told.pop("seconds") >= 0
    assert told == {"command": "name", "path": "out", "count": 3}
    assert ("on the way" in result.stderr) == ("--quiet" not in words)


def test_what_was_told_before_an_error_is_told():
    result = CliRunner().invoke(Command("name", callback=lambda: speak(error=DataError("bad"))), ["--json"])
    assert (result.exit_code, json.loads(result.stdout)["count"]) == (3, 3)

    def fails():
        raise DataError("bad")

    result = CliRunner().invoke(Command("name", callback=fails), ["--json"])
    assert (result.exit_code, result.stdout) == (3, "")


def test_the_manner_ends_with_its_command(capsys):
    CliRunner().invoke(Command("name", callback=speak), ["--quiet"])
    voice.note("heard")
    assert capsys.readouterr().err == "heard\n"


def test_a_word_before_what_loads_slowly_and_none_where_it_is_loaded(capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "slow_module", raising=False)
    with voice.loading("slow_module", "loading Slow"):
        assert capsys.readouterr().err == "loading Slow ...\n"
        monkeypatch.setitem(sys.modules, "slow_module", sys)
    with voice.loading("slow_module", "loading Slow"):
        pass
    assert capsys.readouterr().err == ""


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(voice.time, "monotonic", lambda: self.now)


def test_without_a_terminal_there_is_a_line_every_half_a_minute(capsys, monkeypatch):
    clock = Clock(monkeypatch)
    with voice.progress(100, "tune", "step", 20) as bar:
        for _ in range(30):
            clock.now += 4
            bar.values({"loss": 0.25})
            bar.update()
    lines = capsys.readouterr().err.splitlines()
    # A first one after 5 s, which are 2 steps of 4 s; 8 steps are half a minute, and 70 of 80 are left when it is over.
    assert lines[0] == "tune: 22 of 100 steps in 8 s, 5 min left, loss 0.2500"
    assert lines[1] == "tune: 30 of 100 steps in 40 s, 5 min left, loss 0.2500"
    assert len(lines) == 1 + (120 - 8) // 32


def test_quick_loops_and_quiet_ones_say_nothing(capsys, monkeypatch):
    with voice.progress(3, "quick", "step") as bar:
        bar.update(3)
    clock = Clock(monkeypatch)

    def slow():
        with voice.progress(None, "slow", "step") as bar:
            clock.now += 1000
            bar.update()

    assert CliRunner().invoke(Command("name", callback=slow), ["--quiet"]).output == ""
    assert capsys.readouterr().err == ""
    assert "slow: 1 steps in 17 min" in CliRunner().invoke(Command("name", callback=slow)).stderr


class Terminal:
    """What a terminal would be sent."""

    encoding, errors = "utf-8", "strict"

    def __init__(self):
        self.sent = ""

    def write(self, text):
        self.sent += text
        return len(text)

    def flush(self):
        pass

    def isatty(self):
        return True


def test_on_a_terminal_words_go_again_and_lines_stay(monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with voice.doing("reading"):
        voice.note("kept")
        assert "reading ..." in terminal.sent
    assert terminal.sent.endswith("\r\x1b[K")
    screen = ""
    for part in terminal.sent.split("\n"):  # what stays of each line, by the rules of a terminal
        screen += part.rpartition("\r\x1b[K")[2] + "\n"
    assert screen == "kept\n\n"


def test_on_a_terminal_progress_is_a_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with voice.progress(4, "sampling", "pair") as bar:
        bar.update(4)
        bar.bar.refresh()
    assert "sampling: 100%" in terminal.sent
    assert "4/4" in terminal.sent


def test_other_click_commands_are_left_alone():
    assert CliRunner().invoke(click.Command("name", callback=speak)).stdout.startswith("the result")
