"""One HTML page with everything in it: tables, curves, pictures; no script, and nothing from a network."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from seas_runtime.terminal import shown

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #777 }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 70rem; margin: 2.5rem auto; padding: 0 1.2rem }
h1 { font-size: 1.7rem; margin-bottom: .2rem } h2 { font-size: 1.2rem; margin: 2.6rem 0 .5rem }
h3 { font-size: 1rem; margin: 1.2rem 0 0 }
p { max-width: 48rem } .note, figcaption { color: var(--soft); font-size: .9rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; display: block; overflow-x: auto; margin: .6rem 0 }
th, td { padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left } th { font-weight: 600 }
figure { margin: 1rem 0 } img { max-width: 100%; image-rendering: auto; border-radius: 4px }
svg { width: 100%; max-width: 48rem; font: 12px system-ui, sans-serif; fill: currentColor }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1.2rem; font-size: .85rem }
dt { color: var(--soft) } dd { margin: 0; overflow-wrap: anywhere } pre { overflow-x: auto; font-size: .85rem }
details { margin: .6rem 0 } summary { cursor: pointer }
"""


@dataclass
class Page:
    """A page that grows from top to bottom; every text is escaped, and shown as a terminal would show it."""

    title: str
    parts: list[str] = field(default_factory=list)

    def text(self, *paragraphs: str, note: bool = False) -> None:
        """Paragraphs."""
        kind = ' class="note"' if note else ""
        self.parts += [f"<p{kind}>{_text(paragraph)}</p>" for paragraph in paragraphs]

    def heading(self, title: str, level: int = 2) -> None:
        """A heading of a section."""
        self.parts.append(f"<h{level}>{_text(title)}</h{level}>")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A table, its first column of names."""
        head = "".join(f"<th>{_text(name)}</th>" for name in columns)
        body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
        self.parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")

    def picture(self, png: bytes, caption: str) -> None:
        """A picture, its PNG file inside the page."""
        source = f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
        self.parts.append(f'<figure><img alt="{_text(caption)}" src="{source}"><figcaption>{_text(caption)}</figcaption></figure>')

    def drawing(self, svg: str) -> None:
        """An `svg` element, as it is."""
        self.parts.append(f"<figure>{svg}</figure>")

    def facts(self, title: str, values: Iterable[tuple[str, str]]) -> None:
        """Names and values, folded away."""
        entries = "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in values)
        self.parts.append(f"<details><summary>{_text(title)}</summary><dl>{entries}</dl></details>")

    def __str__(self) -> str:
        """The file."""
        head = (
            f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{_text(self.title)}</title>'
            f"<style>{STYLE}</style>"
        )
        body = "\n".join([f"<h1>{_text(self.title)}</h1>", *self.parts])
        return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _text(value: str) -> str:
    return html.escape(shown(value))
