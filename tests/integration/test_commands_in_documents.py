"""Commands, options and extras that the documents name are there: every command is parsed by the program that it names."""

import ast
import re
import tomllib

import click
import pytest

from benchmarks import blocks
from tests.integration import walking

OF_SCRIPTS = {"benchmarks/README.md", "CONTRIBUTING.md"}
"""Their text names options of scripts as well."""


def invocations():
    """(place, words) of every command of this project, also where another program starts it."""
    for file in blocks.documents():
        for block in blocks.blocks(file):
            if block.language not in ("", "sh"):
                continue
            for words in blocks.commands(block):
                starts = next((i for i, word in enumerate(words) if word in walking.ENTRIES), None)
                if starts == 0 or (starts and words[0].startswith(("torchrun", "HF_HUB_OFFLINE="))):
                    yield block.place, words[starts:]
                for word in words:
                    if " " in word and word.split()[0] in walking.ENTRIES:
                        yield block.place, word.split()


FOUND = list(invocations())


def parse(words):
    """The context of the command, with every value converted; nothing is run, and no path is looked at."""
    command, name, rest = walking.program(words[0]), words[0], words[1:]
    while isinstance(command, click.Group):
        assert rest, f"{name}: a command expected"
        below = command.get_command(click.Context(command), rest[0])
        assert below is not None, f"{name} has no command {rest[0]}"
        command, name, rest = below, f"{name} {rest[0]}", rest[1:]
    return command.make_context(name, list(rest))


@pytest.fixture
def no_disk(monkeypatch):
    """Paths are taken as they are written, and an array job is running."""
    monkeypatch.setattr(click.Path, "convert", lambda _self, value, _param, _ctx: value)
    for name, value in (("ID", "1"), ("MIN", "0"), ("MAX", "7"), ("COUNT", "8"), ("STEP", "1")):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)


@pytest.mark.parametrize("words", [words for _, words in FOUND], ids=[f"{place} {words[0]}" for place, words in FOUND])
def test_a_command_is_one(words, no_disk):
    parse(words)


def test_commands_of_all_documents_and_programs_were_found():
    assert {words[0] for _, words in FOUND} == set(walking.ENTRIES)
    assert len(FOUND) > 100
    assert {place.rpartition(":")[0] for place, _ in FOUND} >= {"README.md", "benchmarks/README.md", "docs/gpu.md"}
    text = " ".join(" ".join(words) for _, words in FOUND)
    assert "--watch-every 200" in text  # a continued line
    assert "--shard auto" in text  # inside of another command's quotes


@pytest.mark.parametrize(
    "line",
    [
        "seas-gen --engine bottle.plan --cuont 3",
        "seas-gen --engine bottle.plan --background reel",
        "seas-gen --count 3",
        "seas-train tune data --base b --out o --preset papers",
        "seas-data export out --to cocoa --into dir",
        "seas-train tuna data",
        "seas-quality ablate --data d --work w --table 6",
    ],
)
def test_a_command_that_is_none_is_seen(line, no_disk):
    with pytest.raises((click.UsageError, AssertionError)):
        parse(line.split())


def options(command):
    """Every option of a command and of those below it."""
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from options(command.get_command(context, name))


def test_options_that_the_text_names_are_there():
    known = {name for program in walking.ENTRIES for name in options(walking.program(program))} | {"--help", "--version"}
    for file in blocks.documents():
        if str(file.relative_to(blocks.ROOT)) in OF_SCRIPTS:
            continue
        named = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", blocks.prose(file)))
        assert named <= known, (file.name, named - known)


def test_extras_that_the_text_names_are_there():
    project = tomllib.loads((blocks.ROOT / "pyproject.toml").read_text())["project"]
    for file in blocks.documents():
        for names in re.findall(r"(?:\.|seas-gen)\[([\w,-]+)\]", file.read_text(encoding="utf-8")):
            assert set(names.split(",")) <= set(project["optional-dependencies"]), (file.name, names)


def test_python_in_the_documents_is_python():
    found = [block for file in blocks.documents() for block in blocks.blocks(file) if block.language == "python"]
    assert len(found) > 8
    for block in found:
        ast.parse(block.text, block.place)


def test_backends_that_the_text_names_are_there():
    from seas_runtime.backends.registry import BACKENDS

    text = "".join(file.read_text(encoding="utf-8") for file in blocks.documents())
    named = set(re.findall(r"--backend ([a-z0-9+-]+)", text))
    assert named - {"auto"} <= set(BACKENDS)
    assert named
    table = re.findall(r"^\| `([\w+-]+)` \| [^|]*\[", (blocks.ROOT / "docs/export.md").read_text(), re.MULTILINE)
    assert table == list(BACKENDS), "docs/export.md lists all, best first"
