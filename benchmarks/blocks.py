"""The code blocks of the documents, and the commands in them.

A fenced block is run by the tests unless `notest` stands behind its language; what is indented is only read.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOTEST = "notest"
INDENT = "    "
_FENCE = re.compile(r"```(\S*) *(.*)")


@dataclass(frozen=True)
class Block:
    """A code block.

    place: FILE:LINE of its first line; language: "" where it is indented or none is named; words: what follows the language.
    """

    place: str
    language: str
    words: tuple[str, ...]
    text: str

    @property
    def runs(self) -> bool:
        """Whether it can run where there is no GPU, cluster, hub or browser."""
        return bool(self.language) and NOTEST not in self.words


def documents() -> list[Path]:
    """Every document of the project whose commands somebody will type."""
    named = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")]
    return [*named, *sorted((ROOT / "docs").glob("*.md"))]


def blocks(file: Path, heading: str = "") -> Iterator[Block]:
    """The code blocks of a document, or of its section with this heading (`## Title`), in order."""
    inside, fence, begun, lines = not heading, None, 0, list[str]()
    deeper = f"#{heading.partition(' ')[0]}"
    for number, line in enumerate([*file.read_text(encoding="utf-8").splitlines(), ""], start=1):
        if fence is None and heading and line.startswith("#"):
            inside = line == heading or (inside and line.startswith(deeper))
        if fence is None and lines and not (line.startswith(INDENT) or not line.strip()):
            yield from _block(file, begun, "", "", lines) if inside else ()
            lines = []
        found = _FENCE.fullmatch(line)
        if fence is not None and line == "```":
            yield from _block(file, begun, *fence, lines) if inside else ()
            fence, lines = None, []
        elif fence is None and found:
            fence, begun, lines = (found[1], found[2]), number + 1, []
        elif fence is not None or lines or line.startswith(INDENT):
            begun = begun if lines or fence else number
            lines.append(line)
    if lines:
        yield from _block(file, begun, "", "", lines) if inside else ()


def _block(file: Path, begun: int, language: str, words: str, lines: list[str]) -> Iterator[Block]:
    yield Block(f"{file.relative_to(ROOT)}:{begun}", language, tuple(words.split()), "\n".join(lines) + "\n")


def prose(file: Path) -> str:
    """A document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def commands(block: Block) -> Iterator[list[str]]:
    """The words of each command of a block of shell: continued lines in one, comments left out, `a && b` as two."""
    for line in re.sub(r"\\\n\s*", " ", block.text).splitlines():
        words: list[str] = []
        for word in [*_words(line), "&&"]:
            if word != "&&":
                words.append(word)
            elif words:
                yield words
                words = []


def _words(line: str) -> list[str]:
    """Words as a shell sees them; none of a line that is no shell, such as a drawing in an indented block."""
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return []
