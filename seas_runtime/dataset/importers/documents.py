"""Annotation files -> Python values, within bounds."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

from seas_runtime.dataset.importers.records import BrokenError
from seas_runtime.dataset.importers.shapes import shortened

_MOST_BYTES = 1 << 30


def load_json(file: Path) -> object:
    """A JSON file.

    Raises:
        BrokenError: It cannot be read, is no whole JSON, or larger than a gibibyte.
    """
    text = load_text(file)
    try:
        with _collecting_nothing():
            return json.loads(text)
    except json.JSONDecodeError as error:
        raise BrokenError(f"is damaged: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise BrokenError("is nested too deeply") from None
    except ValueError:
        raise BrokenError("holds a number that is too long") from None


@contextmanager
def _collecting_nothing() -> Iterator[None]:
    """No garbage collection: among millions of new lists it takes most of the time and finds nothing."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def load_xml(file: Path) -> ElementTree.Element:
    """An XML file without a document type, so that nothing in it can grow or reach elsewhere; raises BrokenError as `load_json`."""
    text = load_text(file)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise BrokenError("declares a document type, expected plain XML")
    try:
        return ElementTree.fromstring(text)  # noqa: S314  # entities cannot be declared, see above
    except (ElementTree.ParseError, ValueError) as error:
        raise BrokenError(f"is damaged: {error}") from None


def load_text(file: Path) -> str:
    """A text file in UTF-8; raises BrokenError as `load_json`."""
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise BrokenError("is larger than a gibibyte")
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BrokenError("is no text in UTF-8") from None
    except OSError as error:
        raise BrokenError(f"cannot be read ({error.strerror})") from None


def mapping(value: object, what: str) -> dict[str, object]:
    """The value itself, if it is an object of JSON; raises BrokenError."""
    if not isinstance(value, dict):
        raise BrokenError(f"{what} is {shortened(value)}, expected an object")
    return value


def array(value: object, what: str) -> list[object]:
    """The value itself, if it is an array of JSON; raises BrokenError."""
    if not isinstance(value, list):
        raise BrokenError(f"{what} is {shortened(value)}, expected a list")
    return value


def title(value: object, what: str = "the type of a mark") -> str:
    """A name from a file, without spaces around it; a number counts as its digits; raises BrokenError."""
    if isinstance(value, bool) or not isinstance(value, str | int) or not (text := str(value).strip()):
        raise BrokenError(f"{what} is {shortened(value)}, expected a name")
    if len(text) > 200:
        raise BrokenError(f"{what} has {len(text)} characters, expected a name")
    return text
