"""Sphinx builds these pages, without a network: `sphinx-build -W -n docs out/docs`."""

import re

project = "SeaS"
author = "The SeaS runtime developers"
html_title = "SeaS"
extensions = ["myst_parser"]
myst_heading_anchors = 3
html_theme = "furo"
html_copy_source = False
html_show_copyright = False


def as_files(_app, _page, source):  # noqa: ANN001, ANN201
    """Give Markdown files outside of docs/ to read as they are; MyST takes every other link to one for a page."""
    source[0] = re.sub(r"\]\((\.\./[^)#]+\.md)(#[^)]*)?\)", r"](path:\1)", source[0])


def setup(app):  # noqa: ANN001, ANN201
    """See `sphinx.application.Sphinx`."""
    app.connect("source-read", as_files)
