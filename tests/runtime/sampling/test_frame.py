"""From the square back to a photograph's shape: by hand, and in every way in which pairs are made."""

import json

import numpy as np
import pytest
from PIL import Image

import seas_runtime
from seas_runtime import Options
from seas_runtime.bundle.manifest import Fitting, Place
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.errors import SettingsError
from seas_runtime.sampling.frame import Frame, frame_of, placed
from seas_runtime.settings import resolve
from tests.runtime.small_bundle import NORMALS, seal, write_photographs
from tests.runtime.written import lines, settings

WIDE = (400, 300)
PLACES = [{"file": f"p{i}.jpg", "size": WIDE, "box": (0, -50, 400, 400)} for i in range(NORMALS)]


@pytest.mark.parametrize(
    ("fit", "photograph", "frame"),
    [
        ("stretch", (400, 300), Frame((0, 0, 8, 8), (8, 6))),
        ("stretch", (300, 400), Frame((0, 0, 8, 8), (6, 8))),
        ("pad", (400, 300), Frame((0, 1, 8, 6), (8, 6))),
        ("pad", (300, 400), Frame((1, 0, 6, 8), (6, 8))),
        ("stretch", (500, 500), None),
        ("pad", (500, 500), None),
        ("crop", (400, 300), None),
        ("tile", (400, 300), None),
        ("pad", (65536, 1), Frame((0, 3, 8, 1), (8, 1))),
    ],
)
def test_frames(fit, photograph, frame):
    assert frame_of(Fitting(fit=fit, photograph=photograph), 8) == frame


def test_the_place_of_a_picture_without_bars_is_the_photograph():
    place = Place(file="x.jpg", size=WIDE, box=(0, -50, 400, 400))
    frame = frame_of(Fitting(fit="pad", photograph=WIDE), 128)
    assert placed(place, frame, 128).box == (0, 0, 400, 300)
    assert placed(place, None, 128) == place
    stretched = Place(file="x.jpg", size=WIDE, box=(0, 0, 400, 300))
    assert placed(stretched, frame_of(Fitting(fit="stretch", photograph=WIDE), 128), 128) == stretched


@pytest.fixture
def fitted(plan_folder):
    """Seal the bundle again, as trained on photographs of 400 x 300 fitted in this way."""

    def sealed(fit, **fields):
        seal(plan_folder, fitting={"fit": fit, "photograph": WIDE}, places=PLACES, **fields)
        return read_bundle(plan_folder)

    return sealed


def every(bundle, **options):
    with seas_runtime.open(bundle, "cpu", threads=1) as generator:
        return list(generator.pairs(**options))


def test_padded_pictures_lose_their_bars_unless_asked_to_keep_them(fitted):
    bundle = fitted("pad")
    squares = every(bundle, count=6, seed=3, shape="network", retries=0, max_area=1.0)
    wide = every(bundle, count=6, seed=3, retries=0, max_area=1.0)
    assert [pair.image.shape for pair in squares] == [(8, 8, 3)] * len(squares)
    known = {pair.index: pair for pair in wide}
    assert known
    for square in squares:
        if square.mask[1:7].any():
            assert np.array_equal(known[square.index].image, square.image[1:7])
            assert np.array_equal(known[square.index].mask, square.mask[1:7])
        else:
            assert square.index not in known  # nothing was left of its mask


def test_stretched_pictures_stay_square_unless_asked(fitted):
    bundle = fitted("stretch")
    squares = every(bundle, count=6, seed=3, max_area=1.0)
    wide = every(bundle, count=6, seed=3, max_area=1.0, shape="photograph")
    assert len(squares) == len(wide) > 0
    for square, one in zip(squares, wide, strict=True):
        assert square.image.shape == (8, 8, 3)
        expected = Image.fromarray(square.image).resize((8, 6), Image.Resampling.LANCZOS)
        assert np.array_equal(one.image, np.asarray(expected))
        share, rows = np.zeros((6, 8)), square.mask > 0  # how much of each written pixel is marked, by brute force
        for y in range(6):
            for fine in range(8):  # eighths of a written row, each 1/6 of a row of the square
                share[y] += rows[(8 * y + fine) // 6]
        around = np.max([np.pad(share, 1)[a : a + 6, b : b + 8] for a in range(3) for b in range(3)], axis=0)
        assert np.array_equal(one.mask > 0, (share > 0) & (2 * share >= around))


def test_normal_images_and_kept_backgrounds_are_framed_too(fitted, plan_folder):
    bundle = fitted("pad", photographs=write_photographs(plan_folder))
    with seas_runtime.open(bundle, "cpu", threads=1) as generator:
        normals = list(generator.normals(3, background="real"))
        squares = list(generator.normals(3, background="real", shape="network"))
    for normal, square in zip(normals, squares, strict=True):
        assert normal.image.shape == (6, 8, 3)
        assert np.array_equal(normal.image, square.image[1:7])
        assert not normal.mask.any()


def test_a_run_records_shape_and_places_and_continues(fitted, gen, plan_folder, tmp_path):
    fitted("pad")
    gen("--count", 3, "--max-area", 1, plan=plan_folder)
    assert settings(tmp_path / "out")["shape"] == "photograph"
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert record["places"][0] == {"file": "p0.jpg", "size": [400, 300], "box": [0, 0, 400, 300]}
    for line in lines(tmp_path / "out"):
        assert Image.open(tmp_path / "out" / line["file_name"]).size == (8, 6)
        assert line["area"] == np.count_nonzero(Image.open(tmp_path / "out" / line["mask_file_name"]))
    gen("--count", 6, "--max-area", 1, plan=plan_folder)
    said = gen("--count", 6, "--max-area", 1, "--shape", "network", plan=plan_folder, code=5)
    assert "holds a run with shape photograph, not network" in said


def test_a_bundle_of_before_makes_squares_and_says_what_it_does_not_know(bundle, gen, tmp_path):
    assert bundle.manifest.fitting is None
    assert resolve(bundle.manifest, "cpu", Options(count=1)).shape == "network"
    with pytest.raises(SettingsError, match="--shape photograph needs a bundle that says how photographs were fitted"):
        resolve(bundle.manifest, "cpu", Options(count=1, shape="photograph"))
    gen("--count", 1)
    assert "places" not in json.loads((tmp_path / "out/run.json").read_text())


def test_inspecting_says_how_photographs_were_fitted(fitted):
    from seas_runtime.doctor import describe_bundle

    assert "fit         pad, of photographs of 400 x 300" in list(describe_bundle(fitted("pad")))
