"""What a terminal is shown: text of files and file names, which strangers write, without what a terminal acts upon."""

from __future__ import annotations

from collections.abc import Iterable

LONGEST = 2000  # characters of a line


def shown(text: str, most: int = LONGEST) -> str:
    r"""`text` on one line: what does not print is written as Python escapes it, what is too long is cut.

    Control characters, line ends, characters that turn the direction of writing and halves of surrogate pairs do not print.

    Args:
        text: anything.
        most: characters of it that are shown, of its begin and its end; how many there are is said where it has more.
    """
    if len(text) <= most:
        return _printable(text)
    end = most // 4  # errors end in what is wrong, after the name of a file
    return f"{_printable(text[: most - end])}... ({len(text)} characters) ...{_printable(text[-end:])}"


def shown_lines(lines: Iterable[str]) -> str:
    """Lines of a report, each as `shown` shows it."""
    return "\n".join(map(shown, lines))


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape", "surrogatepass").decode("ascii")
