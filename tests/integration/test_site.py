"""The site builds without a warning and without the network, and links in Markdown lead somewhere."""

import re
import subprocess
import sys

import pytest

from benchmarks import blocks

DOCS = blocks.ROOT / "docs"
LINK = re.compile(r"\]\(([^)\s]+)\)")


def build(source, out):
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "--keep-going", "-q", source, out]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    done = build(DOCS, out)
    assert done.returncode == 0, done.stderr
    return out


def test_the_site_has_every_page(site):
    pages = {file.stem for file in DOCS.glob("*.md")}
    assert len(pages) > 15
    assert {file.stem for file in site.glob("*.html")} >= pages
    assert "Only `--expect DIGEST`".replace("`", "") in re.sub("<[^>]+>", "", (site / "security.html").read_text())


def test_no_page_loads_anything_from_elsewhere(site):
    for file in site.glob("*.html"):
        loaded = re.findall(r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=\"([^\"]+)\"", file.read_text())
        assert loaded
        assert [address for address in loaded if re.match(r"(https?:)?//", address)] == []
    for file in (site / "_static").rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", file.read_text()), file


def test_figures_beside_the_pages_are_taken_along(site):
    linked = re.findall(r"href=\"(_downloads/[^\"]+)\"", (site / "speed.html").read_text())
    assert len(linked) > 3
    assert all((site / path).is_file() for path in linked)


@pytest.mark.parametrize("link", ["gone.md", "page.md#gone", "../gone.md", "gone.png"])
def test_a_link_to_nothing_fails(link, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/conf.py").write_bytes((DOCS / "conf.py").read_bytes())
    (tmp_path / "docs/index.md").write_text("# A\n\n[page](page.md)\n\n```{toctree}\npage\n```\n")
    (tmp_path / "docs/page.md").write_text(f"# B\n\n[there]({link})\n")
    assert build(tmp_path / "docs", tmp_path / "out").returncode != 0


def slugs(file):
    """Anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ +(.+)$", blocks.prose(file), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("file", [*blocks.documents(), blocks.ROOT / "SECURITY.md", blocks.ROOT / "CHANGELOG.md"], ids=str)
def test_links_lead_to_files_and_headings(file):
    for link in LINK.findall(blocks.prose(file)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (file.parent / path).resolve() if path else file
        assert target.exists(), f"{file.name}: {link}"
        assert not anchor or anchor in slugs(target), f"{file.name}: {link}"


def test_the_index_and_readme_lead_to_every_page():
    pages = {file.name for file in DOCS.glob("*.md")} - {"index.md"}
    assert {link for link in LINK.findall((DOCS / "index.md").read_text()) if "#" not in link} == pages
    readme = LINK.findall((blocks.ROOT / "README.md").read_text())
    assert pages - {"security.md"} <= {link.removeprefix("docs/") for link in readme}


def test_readme_is_short():
    assert len((blocks.ROOT / "README.md").read_text().splitlines()) <= 150
