"""The page's files: they name one another, fit into one script, load nothing from elsewhere, and can be read by everyone."""

import itertools
import re

import pytest

from seas_runtime.dataset.review.assets import read_assets
from seas_runtime.dataset.review.static import _MODULES

TEXTS = {name: data.decode() for name, (data, _) in read_assets().items()}
SCRIPTS = {name: text for name, text in TEXTS.items() if name.endswith(".js")}
IMPORT = re.compile(r'^import \{ ([^}]*) \} from "\./([^"]*)";$', re.MULTILINE)
TOP = re.compile(r"^(?:export )?(?:async )?(?:const|let|function|class) (\w+)", re.MULTILINE)


def test_every_file_is_served_with_its_type():
    kinds = {name: kind for name, (_, kind) in read_assets().items()}
    assert kinds["index.html"] == "text/html"
    assert kinds["style.css"] == "text/css"
    assert kinds["main.js"] == "text/javascript"
    assert set(kinds) == {"index.html", "style.css", *_MODULES}


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_what_a_module_imports_is_exported_by_one_before_it(name):
    for names, other in IMPORT.findall(SCRIPTS[name]):
        assert _MODULES.index(other) < _MODULES.index(name)
        for wanted in names.split(", "):
            assert re.search(rf"^export (const|function|class) {wanted}\b", SCRIPTS[other], re.MULTILINE), wanted


def test_names_of_all_modules_fit_into_one():
    names = [found for text in SCRIPTS.values() for found in TOP.findall(text)]
    assert len(names) > 50
    assert sorted(names) == sorted(set(names))


def test_nothing_comes_from_elsewhere():
    for name, text in TEXTS.items():
        addresses = set(re.findall(r"(?:https?:)?//[\w.]+\.\w+", re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)))
        assert addresses <= {"http://www.w3.org"}, name  # the name of SVG, not an address
        assert not re.search(r"\beval\b|\binnerHTML\b|\bdocument\.write\b|new Function", text), name
    assert not re.search(r"\bstyle=|\bon\w+=|<script>", TEXTS["index.html"])  # what the policy would refuse


def luminance(colour):
    """Relative luminance of "#rrggbb" (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def schemes():
    found = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{[^}]*\}", TEXTS["style.css"])]
    assert len(found) == 2
    return {"light": found[0], "dark": found[1]}


def test_contrast_itself():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # the well-known grey that just fails


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_can_be_read(scheme):
    colours = schemes()[scheme]
    texts = [
        *itertools.product(["ink", "soft"], ["ground", "panel"]),
        ("reject", "ground"),
        ("ground", "ink"),
    ]
    texts += [("on-accent", "accent"), ("on-accept", "accept"), ("on-reject", "reject")]
    assert [pair for pair in texts if contrast(*(colours[name] for name in pair)) < 4.5] == []
    edges = [
        ("edge", "panel"),
        ("edge", "ground"),
        ("accent", "ground"),
        ("accent", "panel"),
        ("accept", "panel"),
    ]
    edges += [("generated", "panel"), ("real", "panel"), ("reject", "panel")]
    assert [pair for pair in edges if contrast(*(colours[name] for name in pair)) < 3] == []
