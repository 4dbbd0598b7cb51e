"""The figures in README.md and docs/ are those in results/: says which differ, or writes them anew.

    python -m benchmarks.figures            # exit code 1 where a figure differs from its result
    python -m benchmarks.figures --write

`docs/figures.toml` has a sentence for each: `file`, `text` with a place {:.3f} for every figure, `result` (a file of
results/, without .json), and `values`, a path to each figure: keys with slashes between, * for the mean over all that
is there, and a factor after it where the unit differs, as in "figures/generated/type 100".
"""

from __future__ import annotations

import json
import re
import string
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.common import RESULTS
from seas_runtime.files import write_atomic

ROOT = Path(__file__).parents[1]
LIST = ROOT / "docs" / "figures.toml"
NUMBER = r"(-?\d[\d,]*(?:\.\d+)?)"


@dataclass(frozen=True)
class Sentence:
    """Words of a document with figures in them, see the module."""

    file: str
    text: str
    result: str
    values: tuple[str, ...]

    def expected(self, results: Path) -> tuple[str, ...]:
        """The figures as they are to be written, from the folder of results.

        Raises:
            ClickException: a result or a figure in it is missing, or there are not as many as places.
        """
        path = results / f"{self.result}.json"
        if not path.is_file():
            raise click.ClickException(f"{LIST.name}: found no {path.name} for {self.text!r}; run its script or leave it out")
        found = json.loads(path.read_text(encoding="utf-8"))
        forms = [form for _, name, form, _ in string.Formatter().parse(self.text) if name is not None]
        if len(forms) != len(self.values):
            raise click.ClickException(f"{LIST.name}: {len(self.values)} values for {len(forms)} places in {self.text!r}")
        return tuple(format(self._value(found, path), form or "") for path, form in zip(self.values, forms, strict=True))

    def pattern(self) -> re.Pattern[str]:
        """What finds the words in a document, however its lines are broken, with a group for each figure."""
        parts = [text for text, *_ in string.Formatter().parse(self.text)]
        ends_in_words = next(reversed(list(string.Formatter().parse(self.text))))[1] is None
        words = [r"\s+".join(map(re.escape, re.split(r"\s+", part))) for part in parts]
        return re.compile(NUMBER.join(words) + ("" if ends_in_words else NUMBER))

    def _value(self, found: Any, path: str) -> float:
        keys, _, factor = path.rpartition(" ") if re.search(r" [\d.]+$", path) else (path, "", "1")
        return float(np.mean([float(value) for value in _under(found, keys.split("/"), path)])) * float(factor)


def _under(found: Any, keys: Sequence[str], path: str) -> list[Any]:
    if not keys:
        return [found]
    key, *rest = keys
    try:
        if key == "*":
            inner = list(found.values()) if isinstance(found, dict) else list(found)
        else:
            inner = [found[int(key)] if isinstance(found, list) else found[key]]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise click.ClickException(f"{LIST.name}: found no {key!r} of {path!r} in its result") from None
    return [value for each in inner for value in _under(each, rest, path)]


def sentences(path: Path = LIST) -> list[Sentence]:
    """What the list has."""
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["sentence"]
    return [Sentence(entry["file"], entry["text"], entry["result"], tuple(entry["values"])) for entry in entries]


def compare(root: Path, listed: Sequence[Sentence], results: Path, write: bool = False) -> list[str]:
    """A line for each figure that differs from its result, and for each sentence that a document does not have.

    Args:
        root: where the documents lie.
        listed: the sentences.
        results: the folder of results.
        write: put the results' figures into the documents; what is told then are sentences that are missing.

    Raises:
        ClickException: see `Sentence.expected`.
    """
    told = []
    for sentence in listed:
        path, expected = root / sentence.file, sentence.expected(results)
        text = path.read_text(encoding="utf-8")
        match = sentence.pattern().search(text)
        if match is None:
            told.append(f"{sentence.file}: found no words {sentence.text!r}")
        elif match.groups() != expected:
            if not write:
                told.append(f"{sentence.file}: {match[0]!r} found, {', '.join(expected)} expected ({sentence.result}.json)")
                continue
            for group in range(len(expected), 0, -1):  # from the end, so that places stay
                begin, end = match.span(group)
                text = text[:begin] + expected[group - 1] + text[end:]
            write_atomic(path, text)
    return told


@click.command()
@click.option("--write", is_flag=True, help="Put the results' figures into the documents.")
def main(write: bool) -> None:
    """Compare the documents' figures with benchmarks/results/."""
    told = compare(ROOT, sentences(), RESULTS, write)
    for line in told:
        click.echo(line)
    if told:
        raise click.exceptions.Exit(1)


if __name__ == "__main__":
    main()
