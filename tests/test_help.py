"""Every command of every program: -h, examples, help of each option, one way to speak, headings that fit."""

import json
import re

import click
import pytest
from click.testing import CliRunner

from seas_export.cli import main as seas_export
from seas_runtime.cli import generate
from seas_runtime.dataset.cli import data
from seas_runtime.engine_cli import engine
from seas_runtime.versions import own_version
from seas_train.cli import main as seas_train

PROGRAMS = {
    "seas-train": seas_train,
    "seas-export": seas_export,
    "seas-gen": generate,
    "seas-engine": engine,
    "seas-data": data,
}


def commands():
    """Name and words of every command, its program first."""
    for name, program in PROGRAMS.items():
        yield (name, program, ())
        if isinstance(program, click.Group):
            context = click.Context(program)
            for word in program.list_commands(context):
                yield (f"{name} {word}", program, (word,))


ALL = list(commands())
SINGLE = [case for case in ALL if case[2] or not isinstance(case[1], click.Group)]
each = pytest.mark.parametrize(("name", "program", "words"), ALL, ids=[name for name, *_ in ALL])
each_single = pytest.mark.parametrize(("name", "program", "words"), SINGLE, ids=[name for name, *_ in SINGLE])


def found(program, words):
    return program.get_command(click.Context(program), words[0]) if words else program


@each
def test_both_words_for_help_and_an_example_in_it(name, program, words):
    short, long = (CliRunner().invoke(program, [*words, word], prog_name=name.split()[0]) for word in ("-h", "--help"))
    assert short.exit_code == long.exit_code == 0
    assert short.output == long.output
    assert re.search(r"Examples?:", short.output)
    assert f"{name} " in short.output.partition("Example")[2]
    assert "\x1b" not in short.output


@each
def test_every_option_says_what_it_does(name, program, words):
    for param in found(program, words).params:
        if isinstance(param, click.Option):
            assert param.help, param.name
            assert param.help.strip().endswith((".", "]")), param.help


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_version_is_told_alike(name):
    result = CliRunner().invoke(PROGRAMS[name], ["--version"])
    assert (result.exit_code, result.output) == (0, f"seas {own_version()}\n")


@each_single
def test_the_manner_of_speaking_is_the_same_everywhere(name, program, words):
    command = found(program, words)
    flags = {flag for param in command.params for flag in param.opts}
    assert {"--quiet", "--verbose", "--json"} <= flags
    result = CliRunner().invoke(program, [*words, "--quiet", "--verbose", *_required(command)])
    assert result.exit_code == 2
    assert "--quiet and --verbose found" in result.output


def _required(command):
    """Words that fill what a command cannot do without."""
    for param in command.params:
        if isinstance(param, click.Argument) and param.required:
            yield "x"
        elif param.required:
            yield from (param.opts[0], "coco" if isinstance(param.type, click.Choice) else "x")


@each_single
def test_headings_are_of_options_that_there_are(name, program, words):
    command = found(program, words)
    names = {param.name for param in command.get_params(click.Context(command))}
    listed = [name for heading, names in command.headings.items() if heading != "What is said" for name in names]
    assert len(set(listed)) == len(listed)
    assert set(listed) <= names


@each_single
def test_no_list_of_options_is_long(name, program, words):
    text = CliRunner().invoke(program, [*words, "-h"]).output
    lists = re.split(r"^(?=\S.*:$)", text, flags=re.M)
    longest = max(len(re.findall(r"^  -", part, re.M)) for part in lists)
    assert longest <= 16, text
    assert "-h, --help" in text.rpartition("What is said:")[2]
    if name in ("seas-train tune", "seas-gen", "seas-export"):
        assert text.index("\nOptions:") == min(text.index(f"\n{heading}:") for heading in re.findall(r"^(\S.*):$", text, re.M)[:3])


def test_json_is_one_object_on_standard_output(tmp_path):
    words = ["demo-data", str(tmp_path), "--normals", "1", "--per-defect", "1", "--test-normals", "0", "--size", "64"]
    result = CliRunner().invoke(seas_train, [*words, "--json", "--quiet"], prog_name="seas-train")
    told = json.loads(result.stdout)
    assert told.pop("seconds") >= 0
    assert told == {"command": "seas-train demo-data", "already": False, "out": str(tmp_path / "bottle")}
    result = CliRunner().invoke(seas_train, ["check", str(tmp_path / "bottle"), "--json"])
    told = json.loads(result.stdout)
    assert (told["product"], told["layout"], told["problem"]) == ("bottle", "mvtec", [])
    assert any("single image" in line for line in told["warning"])


def test_json_tells_what_was_found_before_an_error(tmp_path):
    words = ["demo-data", str(tmp_path), "--normals", "1", "--per-defect", "1", "--test-normals", "0", "--size", "64"]
    CliRunner().invoke(seas_train, words)
    (tmp_path / "bottle/train/good/000.png").write_bytes(b"torn")
    result = CliRunner().invoke(seas_train, ["check", str(tmp_path / "bottle"), "--json"])
    assert result.exit_code == 3
    assert len(json.loads(result.stdout)["problem"]) >= 1
    none = CliRunner().invoke(seas_train, ["check", str(tmp_path / "none"), "--json"])
    assert (none.exit_code, none.stdout) == (3, "")
