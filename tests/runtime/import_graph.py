"""Which modules of a package another one imports, read from the sources: nothing is loaded."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]


def source_of(module):
    """The file of a module or package of this repository, None where there is none."""
    path = ROOT.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists()), None)


def imported(nodes, package):
    """Modules of `package` that import statements among the nodes name."""
    found = set()
    for node in nodes:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom):
            below = [f"{node.module}.{name}" for name in names]
            names = [name if source_of(name) else node.module for name in below]
        found |= {name for name in names if name.split(".")[0] == package}
    return found


def known(package, of):
    """All modules of `of` that `package` imports, wherever in its files, and what these import when they are loaded."""
    files = (ROOT / package).rglob("*.py")
    todo = set().union(*(imported(ast.walk(ast.parse(file.read_text(encoding="utf-8"))), of) for file in files))
    found = set()
    while todo:
        found.add(module := todo.pop())
        todo |= imported(ast.parse(source_of(module).read_text(encoding="utf-8")).body, of) - found
    return found
