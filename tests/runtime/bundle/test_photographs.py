"""Photographs in a bundle: read to the bit, or refused in one line."""

import hashlib
import io
import shutil
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from seas_runtime.bundle import photographs
from seas_runtime.bundle.manifest import FileEntry
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.errors import BundleError
from tests.runtime import small_bundle
from tests.runtime.small_bundle import seal, write_photographs

NAME = "photographs/002.png"


def png(image, **more):
    stream = io.BytesIO()
    image.save(stream, "PNG", **more)
    return stream.getvalue()


def sealed(folder, data, name=NAME):
    """The bundle with photographs, one of which has these bytes from the start."""
    names = write_photographs(folder)
    (folder / name).write_bytes(data)
    seal(folder, photographs=names)
    return read_bundle(folder)


def refused(bundle):
    with pytest.raises(BundleError) as caught:
        photographs.read_photographs(bundle)
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 3
    return caught.value.message


def test_they_are_read_to_the_bit_in_the_order_of_the_manifest(photographed, plan_folder):
    expected = small_bundle.photographs()
    found = photographs.read_photographs(read_bundle(photographed))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)
    names = write_photographs(plan_folder)
    seal(plan_folder, photographs=names[::-1])
    np.testing.assert_array_equal(photographs.read_photographs(read_bundle(plan_folder)), expected[::-1])


@pytest.mark.parametrize("fields", [{}, {"photographs": []}, {"photographs": None}])
def test_a_bundle_without_any(plan_folder, fields):
    seal(plan_folder, **fields)
    assert "holds no photographs; export it with seas-export --photographs" in refused(read_bundle(plan_folder))


@pytest.mark.parametrize("number", [1, 5, 7])
def test_a_wrong_number(plan_folder, number):
    pictures = np.zeros((number, 8, 8, 3), np.uint8)
    seal(plan_folder, photographs=write_photographs(plan_folder, pictures))
    assert f"{number} photographs found, 6 expected, one of each normal image" in refused(read_bundle(plan_folder))


@pytest.mark.parametrize(
    ("image", "named"),
    [
        (Image.new("RGB", (16, 16)), "RGB 16 x 16 found, RGB 8 x 8 expected"),
        (Image.new("RGB", (8, 7)), "RGB 8 x 7 found"),
        (Image.new("L", (8, 8)), "L 8 x 8 found"),
        (Image.new("RGBA", (8, 8)), "RGBA 8 x 8 found"),
        (Image.new("P", (8, 8)), "P 8 x 8 found"),
        (Image.new("I;16", (8, 8)), "I;16 8 x 8 found"),
        (Image.new("1", (12_000, 12_000)), "1 12000 x 12000 found"),  # Pillow warns of a bomb
        (Image.new("1", (20_000, 20_000)), "is no picture"),  # and refuses this one
    ],
)
def test_another_size_or_kind_of_picture(plan_folder, image, named):
    message = refused(sealed(plan_folder, png(image)))
    assert NAME in message
    assert named in message


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", png(Image.new("RGB", (8, 8)))[:-40], b"x" * 100])
def test_what_is_no_picture(plan_folder, data):
    message = refused(sealed(plan_folder, data))
    assert f"{NAME} is no picture" in message
    assert "export the bundle again" in message


def test_a_jpeg_is_none_either(plan_folder):
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "JPEG")
    assert f"{NAME} is no picture" in refused(sealed(plan_folder, stream.getvalue()))


@pytest.mark.parametrize(
    ("before", "chunk"),
    [
        (b"IDAT", b"zTXtk\0\0" + zlib.compress(b"a" * 50_000_000)),  # text that blows up
        (b"IDAT", b"pHYs\0"),
        (b"IDAT", b"fcTL\0"),
        (b"IEND", b"iCCP"),  # an IndexError of Pillow's
    ],
)
def test_chunks_that_pillow_stumbles_over(plan_folder, before, chunk):
    data = png(Image.new("RGB", (8, 8)))
    at = data.index(before) - 4
    data = data[:at] + (len(chunk) - 4).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4) + data[at:]
    assert f"{NAME} is no picture" in refused(sealed(plan_folder, data))


@pytest.mark.parametrize("change", ["content", "gone", "folder", "link"])
def test_one_that_changes_after_it_was_verified(photographed, tmp_path, change):
    folder = shutil.copytree(photographed, tmp_path / "tile.plan")
    bundle, file = read_bundle(folder), folder / NAME
    other = png(Image.new("RGB", (8, 8), "red"))
    file.unlink()
    if change == "content":
        file.write_bytes(other)
    elif change == "folder":
        file.mkdir()
    elif change == "link":
        (tmp_path / "other.png").write_bytes(other)
        file.symlink_to(tmp_path / "other.png")
    message = refused(bundle)
    assert NAME in message
    assert "fetch the bundle again" in message


@pytest.fixture(scope="module")
def loose(photographed, tmp_path_factory):
    """The photographs of a bundle alone, to be read as if they were sealed with other bytes."""
    folder = tmp_path_factory.mktemp("loose")
    shutil.copytree(photographed / "photographs", folder / "photographs")
    bundle = read_bundle(photographed)
    original = (folder / NAME).read_bytes()

    def with_bytes(data):
        (folder / NAME).write_bytes(data)
        entry = FileEntry(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        manifest = bundle.manifest.model_copy(update={"files": {**bundle.manifest.files, NAME: entry}})
        return replace(bundle, path=folder, manifest=manifest)

    return original, with_bytes


@settings(max_examples=200)
@given(st.data())
def test_any_damage_is_one_line_or_a_picture(loose, data):
    """Bytes changed, removed or put in, and sealed: what a wrong exporter or an attacker could make."""
    original, with_bytes = loose
    raw = bytearray(original)
    for _ in range(data.draw(st.integers(1, 4))):
        at, size = data.draw(st.integers(0, len(raw))), data.draw(st.integers(0, 12))
        raw[at : at + size] = data.draw(st.binary(max_size=12))
    if data.draw(st.booleans()):
        raw = mended(raw)
    bundle = with_bytes(bytes(raw))
    try:
        found = photographs.read_photographs(bundle)
    except BundleError:
        refused(bundle)
    else:
        assert (found.shape, found.dtype) == ((6, 8, 8, 3), np.uint8)


def mended(raw):
    """The same chunks with checksums that fit."""
    found, at = bytearray(raw[:8]), 8
    while at + 12 <= len(raw):
        size = int.from_bytes(raw[at : at + 4])
        body = raw[at + 4 : at + 8 + size]
        found += raw[at : at + 4] + body + zlib.crc32(body).to_bytes(4)
        at += 12 + size
    return found


@pytest.mark.parametrize("path", ["../x.png", "/x.png", "engines/x.png", "manifest.json", "photographs/9.png"])
def test_files_that_a_manifest_cannot_name(plan_folder, path):
    names = write_photographs(plan_folder)
    with pytest.raises(BundleError):
        seal(plan_folder, photographs=[*names[1:], path])


def test_seas_gen_says_it_in_one_line_and_makes_no_folder(gen, plan_folder, pristine, tmp_path):
    words = ("--count", 2, "--normals", 2, "--background", "real")
    said = gen(*words, plan=pristine, code=2)
    assert "--background real needs photographs of the normal images, and the bundle has none" in said
    seal(plan_folder, photographs=write_photographs(plan_folder, np.zeros((2, 8, 8, 3), np.uint8)))
    said = gen(*words, plan=plan_folder, code=3)
    assert "2 photographs found, 6 expected" in said
    assert said.count("\n") == 1
    shutil.rmtree(plan_folder / "photographs")
    sealed(plan_folder, b"no picture")
    for asked in (words, words[2:]):
        said = gen(*asked, plan=plan_folder, code=3)
        assert f"{NAME} is no picture" in said
        assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()
