"""The page in one file to send around: it only looks, and needs neither server nor network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from itertools import product, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from seas_runtime.dataset.decisions import VERDICTS
from seas_runtime.dataset.review.assets import read_assets
from seas_runtime.dataset.review.gallery import Gallery
from seas_runtime.dataset.review.pairs import Pair
from seas_runtime.errors import DataError, OutputError
from seas_runtime.files import write_atomic

SIDE = 320  # largest side of its pictures, pixels
REALS = 12  # of each type, beside those that a pair is like
_MODULES = (  # each after what it imports
    "model.js",
    "source.js",
    "selection.js",
    "thumbs.js",
    "cells.js",
    "grid.js",
    "stage.js",
    "brush.js",
    "decide.js",
    "pictures.js",
    "reals.js",
    "loupe.js",
    "figures.js",
    "keys.js",
    "toolbar.js",
    "main.js",
)
_IMPORT = re.compile(r"^import \{[^}]*\} from \"[^\"]*\";\n", re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)


class Written(NamedTuple):
    """Pairs in the file, pairs there are, size of the file."""

    shown: int
    total: int
    bytes: int


def write(gallery: Gallery, path: Path, limit: int) -> Written:
    """Write the page with at most `limit` pairs, evenly from each type.

    Raises:
        DataError: there is no pair, or a picture cannot be read.
        OutputError: it cannot be written.
    """
    pairs = gallery.pairs.slice(0, len(gallery.pairs))
    if not pairs:
        raise DataError(f"{gallery.pairs.out}: holds no pair yet, at least one expected; generate some")
    if path.resolve().is_dir() or not path.resolve().parent.is_dir():
        raise OutputError(f"{path}: a file in a folder that is there expected; give another --static")
    gallery.survey.measure_all()
    chosen = choose(pairs, limit)
    page = _page(_data(gallery, chosen, len(pairs))).encode()
    try:
        write_atomic(path, page)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}; mend that and run the same command again") from error
    return Written(len(chosen), len(pairs), len(page))


def choose(pairs: list[Pair], limit: int) -> list[Pair]:
    """At most `limit` pairs, as many of each type as there are places, evenly over the run; in the order of their lines."""
    types: dict[str, list[int]] = {}
    for place, pair in enumerate(pairs):
        types.setdefault(pair.defect, []).append(place)
    rounds = zip_longest(*types.values())
    turns = (place for row in rounds for place in row if place is not None)
    shares = dict.fromkeys(types, 0)
    for place, _ in zip(turns, range(limit), strict=False):
        shares[pairs[place].defect] += 1
    spread = (places[i * len(places) // n] for name, places in types.items() for n in [shares[name]] for i in range(n))
    return [pairs[place] for place in sorted(spread)]


def _data(gallery: Gallery, chosen: list[Pair], total: int) -> dict[str, Any]:
    """What the page would ask a server for."""
    indices = {pair.index for pair in chosen}
    page = gallery.page(0, 0)
    types = {name: number for number, name in enumerate(page["types"])}
    page["rows"] = [[p.index, types[p.defect], p.area, p.agreement, p.attempt, *gallery.change(p.index)[1:]] for p in chosen]
    survey = [row for row in gallery.survey_rows(0) if row[0] in indices]
    album, reals = gallery.album, _reals(gallery, (row[3] for row in survey))
    note = f"{len(chosen)} of {total} pairs" if len(chosen) < total else f"{total} pairs"
    return {
        "gallery": gallery.describe() | {"readOnly": True, "note": note},
        "page": page | {"total": len(chosen)},
        "changes": {"generation": page["generation"], "total": len(chosen), "planned": None, "changes": []}
        | {"revision": page["revision"], "survey": survey},
        "figures": {
            f"{verdict or ''}/{defect or ''}": gallery.figures(defect, verdict)
            for verdict, defect in product((None, *VERDICTS), (None, *types))
        },
        "views": {p.index: album.view(p.index, SIDE) for p in chosen},
        "reals": {n: [_base64(album.real_view(s, n, SIDE)) for s in ("thumb", "overlay")] for n in reals},
    }


def _reals(gallery: Gallery, nearest: Iterable[int | None]) -> list[int]:
    """Numbers of the real anomalies to show: the first of each type, and those that a pair is like."""
    found = {number for number in nearest if number is not None}
    counts: dict[str, int] = {}
    for number, real in enumerate(gallery.reals):
        counts[real.defect] = counts.get(real.defect, 0) + 1
        if counts[real.defect] <= REALS:
            found.add(number)
    return sorted(found)


def _page(data: dict[str, Any]) -> str:
    """The page with its style, its scripts as one, and its data; it may load nothing."""
    assets = {name: content.decode() for name, (content, _) in read_assets().items()}
    script = "\n".join(_EXPORT.sub("", _IMPORT.sub("", assets[name])) for name in _MODULES)
    style = assets["style.css"]
    policy = (
        f"default-src 'none'; img-src data: blob:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    embedded = f'<script type="application/json" id="embedded">{text}</script>'
    parts = {
        '<meta name="referrer"': f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<meta name="referrer"',
        '<link rel="stylesheet" href="/page/style.css">': f"<style>{style}</style>",
        '<script type="module" src="/page/main.js"></script>': "",
        "</body>": f'{embedded}\n<script type="module">{script}</script>\n</body>',
    }
    page = assets["index.html"]
    for tag, content in parts.items():
        before, found, after = page.partition(tag)
        page = before + (content if found else "") + after
    return page


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
