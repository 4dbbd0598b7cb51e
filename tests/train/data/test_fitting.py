"""How photographs are fitted: the choice against figures by hand, pictures against slices of the photograph."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seas_runtime.errors import DataError
from seas_runtime.fit import View
from seas_train.data import fitting
from seas_train.data.dataset import ImageSet
from seas_train.data.fitting import Defect
from seas_train.data.images import read_size
from seas_train.data.layouts import Record
from seas_train.data.places import places

SIZE = (4000, 3000)


def defect(width: float, size: tuple[int, int] = SIZE, extent: tuple[int, int] = (100, 100)) -> Defect:
    return Defect(Path("m.png"), width, size, extent)


@pytest.mark.parametrize(
    ("one", "fit"),
    [
        (defect(80), "stretch"),  # 80 * 512 / 4000 = 10.2
        (defect(60), "crop"),  # 7.7 stretched, 60 * 512 / 3000 = 10.2 cropped
        (defect(60, extent=(3500, 80)), "tile"),  # which no square of 3000 holds
        (defect(20), "tile"),  # 2.6 and 3.4
        (defect(1, (100, 100)), "stretch"),  # 5.1 stretched, 1 as it is: nothing keeps it
        (defect(5), "tile"),  # 0.6, 0.9 and 5: narrower than a cell, and still as wide as can be
    ],
)
def test_auto_takes_the_first_that_keeps_a_defect(one: Defect, fit: str) -> None:
    assert fitting.choose("auto", [one], 512) == fit
    assert fitting.choose("pad", [one], 512) == "pad"


def test_of_several_defects_the_most_decide() -> None:
    assert fitting.choose("auto", [defect(60), defect(60), defect(90, extent=(3500, 90))], 512) == "tile"
    assert fitting.choose("auto", [], 512) == "stretch"


def test_the_warning_has_the_figures() -> None:
    told = fitting.narrow("scratch", [defect(5), defect(300)], "stretch", 128)
    assert told is not None
    assert told.startswith("scratch: 1 of 2 are narrower than a latent cell (8 pixels) at 128: one of 5 px becomes 0.16 px (m.png)")
    assert told.endswith("or --fit tile")
    assert fitting.narrow("scratch", [defect(300)], "stretch", 128) is None
    assert fitting.narrow("scratch", [defect(300, extent=(3500, 300))], "crop", 512) is not None
    (line,) = fitting.told("auto", "tile", {"scratch": [defect(20), defect(90)]}, 512)
    assert "one of 20 px would become 2.6 px, now 20 px" in line
    assert "fit tile, chosen by --fit auto: stretched to 512 x 512, 1 of 2 defects" in line
    assert list(fitting.told("auto", "stretch", {}, 512)) == list(fitting.told("tile", "tile", {}, 512)) == []


@pytest.fixture
def photograph(tmp_path: Path) -> tuple[Record, np.ndarray, np.ndarray]:
    """An anomaly of 4 x 30 pixels at (130, 20) of 200 x 120, with a spot of 2 x 2 at (30, 110)."""
    pixels = np.random.default_rng(3).integers(0, 256, (120, 200, 3), np.uint8)
    mask = np.zeros((120, 200), np.uint8)
    mask[20:50, 130:134] = mask[110:112, 30:32] = 255
    for name, values in (("a.png", pixels), ("a_mask.png", mask)):
        Image.fromarray(values).save(tmp_path / name)
    return Record(tmp_path / "a.png", tmp_path / "a_mask.png", "scratch"), pixels, mask > 0


def test_tiles_are_slices_of_the_photograph_and_hold_enough_of_the_anomaly(photograph) -> None:
    record, pixels, marked = photograph
    seen = ImageSet(fitting.fitted([record], "tile", 64), 64)
    assert len(seen) > 0
    taken = set()
    for index, one in enumerate(seen.records):
        assert one.view is not None
        left, top, wide, high = one.view.box
        assert (wide, high) == (64, 64)
        image, mask = seen[index]
        part = np.s_[top : top + 64, left : left + 64]
        assert np.array_equal(((image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy(), pixels[part])
        assert np.array_equal(mask[0].numpy() > 0, marked[part])
        taken.add(one.view.box)
    for top in (0, 28, 56):  # brute force: 120 = 64 + 2 * 28, 200 = 64 + 136 in 3 steps
        for left in (0, 45, 91, 136):
            enough = marked[top : top + 64, left : left + 64].sum() >= 64
            assert ((left, top, 64, 64) in taken) == enough


def test_an_anomaly_that_lies_on_no_tile_with_enough_of_it_is_not_lost(photograph) -> None:
    record, _, marked = photograph
    marked = np.zeros_like(marked)
    marked[5, 5] = marked[100, 190] = marked[101, 190] = True
    Image.fromarray(marked.astype(np.uint8) * 255).save(record.mask)
    (one,) = fitting.fitted([record], "tile", 64)
    assert one.view is not None
    assert one.view.box == (136, 56, 64, 64)  # where two of three pixels lie


def test_cropping_and_padding_keep_proportions(photograph) -> None:
    record, pixels, marked = photograph
    (one,) = fitting.fitted([record], "crop", 120)
    image, mask = ImageSet([one], 120)[0]
    left = one.view.box[0]
    assert one.view == View((left, 0, 120, 120), (120, 120))
    assert np.array_equal(((image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy(), pixels[:, left : left + 120])
    assert np.array_equal(mask[0].numpy() > 0, marked[:, left : left + 120])
    assert marked[:50, left : left + 120].sum() == 120  # all of the scratch
    (one,) = fitting.fitted([record], "pad", 200)
    image, mask = ImageSet([one], 200)[0]
    assert (image[:, :40] == -1).all()
    assert (image[:, 160:] == -1).all()
    assert np.array_equal(((image[:, 40:160] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy(), pixels)
    assert np.array_equal(mask[0, 40:160].numpy() > 0, marked)
    assert mask.sum() == marked.sum()


def test_stretching_leaves_records_as_they_were(photograph) -> None:
    assert fitting.fitted([photograph[0]], "stretch", 64) == (photograph[0],)


def test_of_normal_tiles_as_many_are_taken_as_pictures_are_asked_for(photograph) -> None:
    record, _, _ = photograph
    normal = Record(record.image)
    assert len(fitting.fitted([normal], "tile", 64)) == 12
    taken = fitting.pictures([normal], "tile", 64, 5, 0)
    assert len(taken) == 5
    assert taken == fitting.pictures([normal], "tile", 64, 5, 0) != fitting.pictures([normal], "tile", 64, 5, 1)
    assert fitting.pictures([normal], "crop", 64, 5, 0) == fitting.fitted([normal], "crop", 64)


@pytest.mark.parametrize(("orientation", "size"), [(1, (60, 20)), (6, (20, 60)), (3, (60, 20))])
def test_a_size_is_that_of_the_upright_picture(orientation: int, size: tuple[int, int], tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    Image.new("RGB", (60, 20)).save(tmp_path / "x.jpg", exif=exif)
    assert read_size(tmp_path / "x.jpg") == size


def test_what_is_no_picture_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"no")
    with pytest.raises(DataError, match="is no image"):
        read_size(tmp_path / "x.png")


def test_the_commonest_size(tmp_path: Path) -> None:
    for name, size in (("a", (8, 6)), ("b", (8, 6)), ("c", (9, 9))):
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    records = [Record(tmp_path / f"{name}.png") for name in "abc"]
    assert fitting.commonest(records) == (8, 6)
    assert fitting.commonest([records[0], records[2], records[2]]) == (9, 9)  # tiles of one photograph count once


def test_places_lead_back_to_the_photograph_before_an_import(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "t.png")
    Image.new("RGB", (50, 30)).save(tmp_path / "other.png")
    written = {"file": "t.png", "source": "day 1/p.jpg", "photograph": [400, 300], "box": [100, 40, 128, 128], "size": [64, 64]}
    (tmp_path / "import.json").write_text(json.dumps({"format": 1, "pictures": [written]}))
    tile = Record(tmp_path / "t.png", view=View((16, 0, 32, 32), (32, 32)))
    found = places([tile, Record(tmp_path / "t.png"), Record(tmp_path / "other.png")], tmp_path)
    assert [(place.file, place.size, place.box) for place in found] == [
        ("day 1/p.jpg", (400, 300), (132, 40, 64, 64)),
        ("day 1/p.jpg", (400, 300), (100, 40, 128, 128)),
        ("other.png", (50, 30), (0, 0, 50, 30)),
    ]
    (tmp_path / "import.json").write_text("[")
    assert places([tile], tmp_path)[0].file == "t.png"
