"""Every block of README and of the pages that can run does, in order, at a small size."""

import shutil

import pytest

from benchmarks import blocks, photographs
from seas_export import bundle
from tests.integration import walking

RUN = [file for file in blocks.documents() if file != photographs.PAGE and any(block.runs for block in blocks.blocks(file))]
"""test_photographs.py runs the page that is left out."""
MAKES = {"README.md", "generate.md", "offline.md"}
"""Pages that make out/bottle themselves."""


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


@pytest.mark.parametrize("file", RUN, ids=lambda file: file.stem)
def test_a_page_runs(file, shop, base):
    if file.name not in MAKES:
        walking.in_this_process(
            walking.short(["seas-gen", "--engine", "engines/bottle.plan", "--count", "6", "--out", "out/bottle"]), shop
        )
        photographs.accept_all(shop / "out/bottle")
    for block in blocks.blocks(file):
        if block.runs and block.language in ("sh", "python"):
            walking.run(block, base, shop)
