"""Every block of README and of the pages that can run does, in order, at a small size."""

import shutil

import pytest

from benchmarks import blocks, photographs
from seas_export import bundle
from tests.integration import walking

QUICK = {"README.md", "export.md", "formats.md", "many-machines.md", "python.md"}
"""The others are as many seconds again (-m slow)."""
MAKES = {"README.md", "generate.md", "offline.md"}
"""Pages that make out/bottle themselves."""
PAIRS = ["seas-gen", "--engine", "engines/bottle.plan", "--per-type", "2", "--out", "out/bottle"]


def running(file):
    """The blocks of a document that run."""
    return [block for block in blocks.blocks(file) if block.runs and block.language in ("sh", "python")]


RUN = [
    pytest.param(file, id=file.stem, marks=() if file.name in QUICK else pytest.mark.slow)
    for file in blocks.documents()
    if running(file) and file != photographs.PAGE  # which test_photographs.py runs
]


@pytest.fixture
def shop(base, product, tuned, plan, tmp_path, monkeypatch):
    """A folder with photographs, a data set, a base, a run, its bundle and pairs of it, as the pages name them."""
    photographs.draw(tmp_path / "photos", (180, 120), each=2, normals=3)
    for source, name in (
        (product.root, "data/bottle"),
        (base, "bases/small"),
        (tuned, "runs/bottle"),
        (plan, "engines/bottle.plan"),
    ):
        shutil.copytree(source, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bundle, "_fill", walking.filling(plan))
    return tmp_path


@pytest.mark.parametrize("file", RUN)
def test_a_page_runs(file, shop, base):
    if file.name not in MAKES:
        walking.in_this_process([*PAIRS, *walking.SHORT["seas-gen"]], shop)
        photographs.accept_all(shop / "out/bottle")
    for block in running(file):
        walking.run(block, base, shop)
