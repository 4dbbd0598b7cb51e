"""The documents say what is so: files that they name, and where tests keep what they share."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE = re.compile(r"[\w.]+/|[\w-]+\.(?:py|md)|\.ci/")


def tree():
    """Every path of the tree in docs/house.md, each line below the last one with less indentation."""
    section = (ROOT / "docs/house.md").read_text(encoding="utf-8").split("## The tree")[1].split("\n## ")[0]
    above = ""
    for line in section.splitlines():
        if found := re.match(r"    (  )?(\S.*?)(?:   +|$)", line):
            names = found[2].split(" ")
            if not all(FILE.fullmatch(name) for name in names):
                continue
            above = above if found[1] else names[0]
            yield from (above + name if found[1] else name for name in names)


def table():
    """Rows of the table of first guesses: where to begin, and the names in its last column."""
    for line in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines():
        if found := re.fullmatch(r"\| [^|]+ \| `([^`]+)` \| ([^|]+) \|", line):
            yield found[1], re.findall(r"`([^`]+)`", found[2])


def test_the_tree_has_every_package_and_no_path_that_is_not_there():
    paths = list(tree())
    assert [path for path in paths if not (ROOT / path).exists()] == []
    packages = {
        path.parent for part in ("seas_runtime", "seas_train", "seas_export") for path in (ROOT / part).glob("*/__init__.py")
    }
    assert {str(path.relative_to(ROOT)) + "/" for path in packages} <= set(paths)


@pytest.mark.parametrize(("begin", "names"), list(table()), ids=str)
def test_a_first_guess_is_a_file_and_what_is_said_of_it_is_there(begin, names):
    file = ROOT / begin
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "pyproject.toml", *file.parent.glob("*.py"))]
    assert file.is_file()
    for name in names:
        places = (ROOT / name, file.parent / name)
        assert any(path.exists() for path in places) or any(re.search(rf"\b{re.escape(name)}\b", text) for text in texts), name


def test_there_are_ten_first_guesses():
    assert len(list(table())) == 10


def test_every_promise_of_security_names_tests_that_there_are():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    promised = text.split("\n- ")[1:]
    assert len(promised) > 10
    for promise in promised:
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", promise.split("\n\n")[0])
        assert named, promise
    for file, name in re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", text):
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), name


def imports(file):
    """Every part of every name that import statements of a file give."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield from (*(node.module or "").split("."), *(alias.name for alias in node.names))


def test_no_test_module_is_imported_by_another():
    files = (ROOT / "tests").rglob("*.py")
    assert [f"{file}: {name}" for file in files for name in imports(file) if name.startswith("test_")] == []
