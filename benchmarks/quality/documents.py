"""Documents as files: Markdown, JSON, CSV and a page, with their pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.quality import page, paper
from benchmarks.quality.downstream import scores
from benchmarks.quality.downstream.sources import Method
from benchmarks.quality.downstream.trials import Result
from benchmarks.quality.real import Material
from benchmarks.quality.tables import Document, Table, save

OWN = "The generator was trained on what this division has for training and on nothing else, but for a base given with --base."
SCORES = ("2", "3", "9", "10", "12", "19", "31", "32")
"""The paper's tables of downstream scores."""


def divided(runs: Sequence[Path]) -> str:
    """Whose division of the real images it is, in plain words.

    Args:
        runs: Of the generator, where the user gave them.
    """
    if runs:
        return "The generator's run says which real images are for training and which are held out."
    return (
        "This command divided the real images into those for training and those held out. A generator has kept to that only if it "
        "was trained with the same division; --run takes the division from its run."
    )


def write(document: Document, out: Path) -> None:
    """Write a document into a folder that holds its pictures, show its tables, and say where the page is.

    Raises:
        OutputError: The folder cannot be written.
    """
    save(document, out)
    click.echo(document.markdown())
    click.echo(f"saved {page.write(document, out)}", err=True)


def write_downstream(
    results: Sequence[Result],
    methods: Sequence[Method],
    materials: Mapping[str, Material],
    facts: dict[str, Any],
    out: Path,
    origin: str,
    name: str = "downstream",
    more: Sequence[Table] = (),
    pictures: Mapping[str, str] | None = None,
    verdict: Sequence[str] = (),
) -> None:
    """Write what finished trainings reached, the paper's tables after ours.

    Args:
        results: Of all trainings.
        methods: What they learned from.
        materials: Each product's images.
        facts: Of the document.
        out: Where it goes; `out`/trainings holds the maps.
        origin: `OWN`, or a sentence of `divided`.
        name: Of the files.
        more: Tables that follow ours.
        pictures: Captions of more pictures, which lie in `out`, by file name.
        verdict: Paragraphs that come first.
    """
    tables = [*scores.tables(results, methods, materials), *more, *paper.shown(*SCORES)]
    captions = {**scores.pictures(results, materials, out / "trainings", out), **(pictures or {})}
    opening = (
        *verdict,
        "Segmentation networks learn from pairs of each origin and from the same normal images, and are tested on real images that "
        f"are held out from them. {origin} The paper's tables follow ours.",
    )
    write(Document(name, "What the pairs are worth", opening, tuple(tables), facts, captions), out)
