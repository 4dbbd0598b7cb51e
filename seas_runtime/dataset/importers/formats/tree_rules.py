"""Rules of a tree: where pictures of which kind lie and how their masks are called."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from seas_runtime.dataset.importers.folder import Folder
from seas_runtime.dataset.importers.levels import Above, Marked, Rule


@dataclass(frozen=True)
class Lists:
    """What the lists of a data set say of its pictures: titles of their types, and which normal ones are for testing."""

    titles: dict[Path, str] = field(default_factory=dict)
    held_out: frozenset[Path] = frozenset()
    files: frozenset[Path] = frozenset()


@dataclass(frozen=True)
class Place:
    """Where pictures of one kind lie.

    In a pattern {type} and {part} stand for the name of a folder, ** for any number of folders; the last part is
    {name}, the picture's name without its ending. Masks are patterns of the same words, tried in turn, without an ending;
    one whose name is * takes all files of its folder. A place without masks is one of normal pictures. Soft masks have
    levels between 0 and 255, of which the upper half counts.
    """

    pictures: str
    masks: tuple[str, ...] = ()
    title: str = ""
    held_out: bool = False
    soft: bool = False
    titles: dict[str, str] = field(default_factory=dict)

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What the path of a picture without its ending looks like."""
        text = re.escape(self.pictures).replace(r"\*\*/", "(?P<inner>(?:[^/]+/)*?)").replace(r"\{name\}", "(?P<name>[^/]+)")
        for word in ("type", "part"):
            text = text.replace(rf"\{{{word}\}}", f"(?P<{word}>[^/]+)")
        return re.compile(text, re.IGNORECASE)

    def rule(self, mask: Path) -> Rule:
        """Which values of a mask are marked."""
        lossy = mask.suffix.lower() in (".jpg", ".jpeg")
        return Above(128) if lossy or self.soft else Marked()


@dataclass(frozen=True)
class Tree:
    """A family of data sets.

    Attributes:
        title: What people call it.
        signs: Patterns of which each fits some picture, if the folder is a product of this family.
        places: Where its pictures lie; the first that fits counts.
        passed: Patterns of files that a user does not miss, such as tests without masks.
        blank: Whether a mask without a mark is a statement: the picture is normal.
        views: Whether an anomaly without a mask is only another view of the piece, which nobody misses.
        lists: Reads what the data set's own lists add.
    """

    title: str
    signs: tuple[str, ...]
    places: tuple[Place, ...]
    passed: tuple[str, ...] = ()
    blank: bool = False
    views: bool = False
    lists: Callable[[Folder], Lists] | None = None
