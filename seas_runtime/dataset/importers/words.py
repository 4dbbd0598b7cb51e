"""Text from files, safe to show and safe to name folders with."""

from __future__ import annotations

import hashlib
import re
import sys
import unicodedata
from collections.abc import Iterable

from seas_runtime import terminal
from seas_runtime.bundle.names import defect_name, folder_name

_LETTERS = {
    "ß": "ss",
    "æ": "ae",
    "Æ": "Ae",
    "ø": "o",
    "Ø": "O",
    "œ": "oe",
    "Œ": "Oe",
    "ł": "l",
    "Ł": "L",
    "đ": "d",
    "ı": "i",
}
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")  # no file of Windows may be called so
_LONGEST = 80


def shown(text: object) -> str:
    """Text from a file or its name, without anything that a terminal would obey; whole, since records hold it too."""
    return terminal.shown(str(text), sys.maxsize)


def safe(text: str, kind: str) -> str:
    """A name of letters a to z, digits, '_', '-', '+', '.' and spaces that says as much of `text` as it can.

    Accents go; of text in other scripts a short digest is left, as in `type_3f2a91`, the same on every machine.
    """
    composed = unicodedata.normalize("NFC", text)
    folded = unicodedata.normalize("NFKD", "".join(_LETTERS.get(c, c) for c in composed))
    plain = "".join(c for c in folded if not unicodedata.combining(c))
    letters = [c for c in plain if c.isalnum()]
    name = re.sub(r"[^A-Za-z0-9 ._+-]+", "_", plain).strip("_ .+-")
    if not name or sum(c.isascii() for c in letters) < 0.6 * len(letters):
        return f"{kind}_{_digest(composed)}"
    if len(name) > _LONGEST:
        name = f"{name[: _LONGEST - 7].rstrip('_ .+-')}_{_digest(composed)}"
    return f"{name}_{kind}" if _DEVICES.fullmatch(name) else name


def folders_of(titles: Iterable[str]) -> dict[str, str]:
    """A folder name for each title of a defect type, all different on every file system."""
    folders: dict[str, str] = {}
    for title in sorted(set(titles)):
        name = safe(title, "type")
        try:
            defect_name(name)
        except ValueError:  # good, normal, empty
            name = f"{name}_type"
        folders[title] = folder_name(unused(name, folders.values()))
    return folders


def unused(name: str, taken: Iterable[str]) -> str:
    """The name itself, or with the first number from 2 on that makes it differ from those taken, in any case."""
    known = {other.casefold() for other in taken}
    if name.casefold() not in known:
        return name
    return next(new for n in range(2, len(known) + 3) if (new := f"{name}_{n}").casefold() not in known)


def columns(text: str) -> int:
    """How many columns of a terminal a text takes: two for each wide character."""
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def counted(count: int, thing: str) -> str:
    """1 picture, 2 pictures."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=3).hexdigest()
