"""One HTML page that shows a document: tables, pictures inside, no script."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path

from benchmarks.quality.tables import Document, Table
from seas_runtime.files import write_atomic

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; display: block; overflow-x: auto }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }
th { border-bottom: 2px solid #888 } th:first-child, td:first-child { text-align: left }
figure { margin: 2rem 0 } img { max-width: 100%; border: 1px solid #ddd } figcaption, .note { color: #555 }
dl { font-size: .85rem; color: #555 } dt { font-weight: 600 } dd { margin: 0 0 .4rem; overflow-wrap: anywhere }
"""


def write(document: Document, folder: Path, name: str = "index") -> Path:
    """Write NAME.html; pictures that lie in `folder` become part of it."""
    body = [f"<h1>{_text(document.title)}</h1>", *(f"<p>{_text(paragraph)}</p>" for paragraph in document.opening)]
    body += [_table(table) for table in document.tables]
    for file, caption in document.pictures.items():
        data = base64.b64encode((folder / file).read_bytes()).decode("ascii")
        source = f'<img src="data:image/png;base64,{data}" alt="{_text(caption)}">'
        body.append(f"<figure>{source}<figcaption>{_text(caption)}</figcaption></figure>")
    entries = (f"<dt>{_text(key)}</dt><dd>{_text(_plain(value))}</dd>" for key, value in document.facts.items())
    body.append(f"<dl>{''.join(entries)}</dl>")
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{_text(document.title)}</title>'
    path = folder / f"{name}.html"
    start = f'<!doctype html><html lang="en"><head>{head}<style>{STYLE}</style></head><body>'
    write_atomic(path, "\n".join([start, *body, "</body></html>\n"]))
    return path


def _table(table: Table) -> str:
    head = "".join(f"<th>{_text(name)}</th>" for name in table.columns)
    rows = ("".join(f"<td>{_text(table.text(cell))}</td>" for cell in row) for row in table.rows)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    notes = "".join(f'<p class="note">{_text(note)}</p>' for note in table.notes)
    return f"<h2>{_text(table.title)}</h2><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _text(value: str) -> str:
    return html.escape(value)
