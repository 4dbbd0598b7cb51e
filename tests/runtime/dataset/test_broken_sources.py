"""Hundreds of broken annotation files of every format: one line each, no traceback, nothing outside of the product touched."""

import json
import random
import shutil
import time

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from seas_runtime.dataset.cli import data
from tests.runtime.dataset.public_trees import TREES
from tests.runtime.dataset.truth import dump, folder_of
from tests.runtime.dataset.written_sources import WRITERS

EACH = 12  # broken variants of each format: more than 300 in all; the campaign makes as many of each
CAMPAIGN = 300
TEXTS = (".json", ".xml", ".csv", ".txt", ".yaml")
NAMES = [
    "../../x",
    "/etc/passwd",
    "C:\\x\\a1.jpg",
    "a1\x00.jpg",
    "",
    ".",
    "..",
    "a" * 3000,
    "a1.jpg/../../a2.jpg",
    "\ud800.jpg",
    "\x1b[2J",
]
VALUES = [
    None,
    True,
    -1,
    0,
    1e308,
    float("nan"),
    float("inf"),
    10**400,
    "",
    "text",
    [],
    {},
    [[]],
    [{}],
    [1],
    5,
    2**31,
    1e-320,
]


def walk(value, path=()):
    """The paths of all values in a JSON document."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inside in items:
        yield from walk(inside, (*path, key))


def replaced(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


def torn(text, chance):
    return text[: chance.randrange(len(text))]


def cut_out(text, chance):
    start = chance.randrange(len(text))
    return text[:start] + text[start + chance.randrange(1, 40) :]


def overwritten(text, chance):
    start = chance.randrange(len(text))
    return (
        text[:start]
        + chance.choice(['"', "{", "]", "\x00", "9" * 500, "é", "-", "1e999", "NaN", "\\u0000", ";", ","])
        + text[start + 1 :]
    )


def repeated(text, chance):
    start = chance.randrange(len(text))
    return text[:start] + text[start:] * 2


def nested(_text, chance):
    return chance.choice(["[", '{"shapes":', '{"images":[', "<annotations>"]) * 50_000


def value_changed(text, chance):
    try:
        document = json.loads(text)
    except ValueError:
        return overwritten(text, chance)
    path = chance.choice(list(walk(document)))
    return json.dumps(replaced(document, path, chance.choice([*VALUES, *NAMES])))


def name_changed(text, chance):
    name = chance.choice(["a1", "a2", "scratch", "dent"])
    written = json.dumps(chance.choice(NAMES))[1:-1]
    return text.replace(f"{name}.jpg" if name.startswith("a") else name, written)


CHANGES = [
    torn,
    cut_out,
    overwritten,
    repeated,
    nested,
    value_changed,
    value_changed,
    value_changed,
    name_changed,
    name_changed,
]


def break_text(file, chance):
    change = chance.choice(CHANGES)
    broken = change(file.read_text(encoding="utf-8"), chance).encode("utf-8", "surrogatepass")
    file.write_bytes(broken)


def break_picture(file, chance):
    held = file.read_bytes()
    what = chance.randrange(6)
    if what == 0:
        file.unlink()
    elif what == 1:
        file.write_bytes(held[: chance.randrange(len(held))])
    elif what == 2:
        file.write_bytes(b"not a picture")
    elif what == 3:
        Image.new("L", (chance.randrange(1, 2000), chance.randrange(1, 50))).save(file, "PNG")
    elif what == 4:
        at = chance.randrange(len(held))
        file.write_bytes(held[:at] + bytes(chance.randrange(256) for _ in range(20)) + held[at + 20 :])
    else:
        file.unlink()
        file.symlink_to(file.parent, target_is_directory=True)


def try_import(tmp_path):
    """Import tmp_path / "source"; what must hold for every source."""
    before = folder_of(tmp_path)
    into = tmp_path / "out/part"
    result = CliRunner().invoke(data, ["import", str(tmp_path / "source"), "--into", str(into), "--yes"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (0, 3), result.output
    assert "Traceback" not in result.output
    assert "\x1b" not in result.output
    errors = [line for line in result.output.splitlines() if line.startswith("Error")]
    assert len(errors) == (result.exit_code != 0)
    left = sorted(path.name for path in (tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else []
    assert left == (["part"] if result.exit_code == 0 else [])
    for mask in into.glob("ground_truth/*/*.png"):
        held = np.asarray(Image.open(mask))
        assert set(np.unique(held).tolist()) == {0, 255}
        (picture,) = (into / "test" / mask.parent.name).glob(f"{mask.stem.removesuffix('_mask')}.*")
        assert Image.open(picture).size == held.shape[::-1]
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    assert folder_of(tmp_path) == before


def try_annotations(name, tmp_path, chance, count):
    """Import so many broken variants of a source."""
    whole = tmp_path / "whole"
    WRITERS[name](whole)
    texts = sorted(file.relative_to(whole) for file in whole.rglob("*") if file.suffix in TEXTS)
    pictures = sorted(file.relative_to(whole) for file in whole.rglob("*") if file.suffix in (".jpg", ".png"))
    for i in range(count):
        shutil.copytree(whole, tmp_path / "source")
        if texts and i % 4:
            break_text(tmp_path / "source" / chance.choice(texts), chance)
        else:
            break_picture(tmp_path / "source" / chance.choice(pictures), chance)
        try_import(tmp_path)
        shutil.rmtree(tmp_path / "source")


def try_trees(tree, tmp_path, chance, count):
    """Import so many broken variants of a public tree."""
    (tmp_path / "whole").mkdir()
    whole = tmp_path / "whole/source"
    tree(whole)
    files = sorted(file.relative_to(whole) for file in whole.rglob("*") if file.is_file())
    for _ in range(count):
        shutil.copytree(whole, tmp_path / "source")
        file = tmp_path / "source" / chance.choice(files)
        (break_text if file.suffix in TEXTS else break_picture)(file, chance)
        try_import(tmp_path)
        shutil.rmtree(tmp_path / "source")


@pytest.mark.parametrize("name", WRITERS)
def test_broken_annotations(name, tmp_path):
    try_annotations(name, tmp_path, random.Random(name), EACH)


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.__name__)
def test_broken_trees(tree, tmp_path):
    try_trees(tree, tmp_path, random.Random(tree.__name__), EACH)


@pytest.mark.campaign
@pytest.mark.parametrize("name", WRITERS)
def test_hundreds_of_broken_annotations(name, tmp_path):
    try_annotations(name, tmp_path, random.Random(f"campaign {name}"), CAMPAIGN)


@pytest.mark.campaign
@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.__name__)
def test_hundreds_of_broken_trees(tree, tmp_path):
    try_trees(tree, tmp_path, random.Random(f"campaign {tree.__name__}"), CAMPAIGN)


def test_an_outline_of_a_million_points(tmp_path):
    WRITERS["labelme"](tmp_path / "source")
    angle = np.linspace(0, 2 * np.pi, 1_000_000, endpoint=False)
    points = np.stack((240 + 100 * np.cos(angle), 180 + 100 * np.sin(angle)), axis=1).tolist()
    file = tmp_path / "source/a1.json"
    fields = json.loads(file.read_text())
    fields["shapes"][0]["points"] = points
    dump(file, fields)
    began = time.process_time()
    try_import(tmp_path)
    assert time.process_time() - began < 30


def test_a_picture_that_unpacks_to_gigabytes_is_left_out(tmp_path):
    import struct
    import zlib

    WRITERS["labelme"](tmp_path / "source")
    (tmp_path / "source/a1.jpg").unlink()
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 100_000)), (b"IEND", b"")]
    packed = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    (tmp_path / "source/a1.jpg").write_bytes(b"\x89PNG\r\n\x1a\n" + packed)
    result = CliRunner().invoke(data, ["import", str(tmp_path / "source"), "--into", str(tmp_path / "part"), "--dry-run"])
    assert "a1.jpg: has more than 178956970 pixels" in result.output


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><annotations>&b;</annotations>',
        '<!DOCTYPE x SYSTEM "file:///etc/passwd"><annotations/>',
    ],
)
def test_xml_that_declares_entities_is_refused(text, tmp_path):
    WRITERS["cvat_xml"](tmp_path / "source")
    (tmp_path / "source/annotations.xml").write_text(text)
    result = CliRunner().invoke(
        data,
        [
            "import",
            str(tmp_path / "source"),
            "--into",
            str(tmp_path / "part"),
            "--dry-run",
            "--format",
            "cvat",
            "--unmarked",
            "normal",
        ],
    )
    assert "annotations.xml: declares a document type, expected plain XML" in result.output
