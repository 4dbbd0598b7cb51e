"""Pairs put back into photographs: pixels worked by hand, every refusal, and what takes the result."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy import ndimage

from seas_runtime.cli import generate
from seas_runtime.dataset.cli import data
from seas_runtime.dataset.placing.placing import pasted
from tests.runtime.dataset.exporters import out_folder

SIZE = (200, 150)
BOXES = [(20, 30, 40, 30), (-10, 100, 40, 30), (100, 40, 80, 60)]  # of its own pixels, beyond the border, twice as large


@pytest.fixture
def photos(tmp_path):
    """Three photographs, one in a folder below, by their names."""
    chance, found = np.random.default_rng(5), {}
    for name in ("a.png", "b.png", "day 1/c.png"):
        found[name] = chance.integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
        out_folder.save(tmp_path / "photos" / name, found[name])
    return found


@pytest.fixture
def out(tmp_path, photos):
    """Six pairs of 40 x 30 whose masks are in the middle, on each photograph two."""
    mask = np.zeros((30, 40), bool)
    mask[12:16, 15:25] = True
    folder = out_folder.write(tmp_path / "out", [mask] * 6)
    record = json.loads((folder / "run.json").read_text())
    record["settings"]["background"] = "real"
    record["places"] = [{"file": name, "size": SIZE, "box": box} for name, box in zip(photos, BOXES, strict=True)]
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def call(*words, code=0):
    result = CliRunner().invoke(data, [str(word) for word in words])
    assert result.exit_code == code, (result.output, result.exception)
    if code:
        (line,) = result.stderr.splitlines()
        assert line.startswith("Error: ")
    return result.output


def edit(out, change):
    record = json.loads((out / "run.json").read_text())
    change(record)
    (out / "run.json").write_text(json.dumps(record))


def amount(mask):
    """How much of the picture there is, by the distance from the mask in either direction."""
    width = max(1, round(max(mask.shape) / 32))
    distance = ndimage.distance_transform_cdt(~mask, "chessboard")
    return np.clip(1 - distance / width, 0, 1)


@pytest.mark.parametrize("box", [(20, 30, 40, 30), (-10, 100, 40, 30), (180, 140, 40, 30)])
def test_pixels_of_pictures_at_their_own_size(box):
    chance = np.random.default_rng(1)
    photograph, picture = (chance.integers(0, 256, shape, np.uint8) for shape in ((150, 200, 3), (30, 40, 3)))
    marked = np.zeros((30, 40), bool)
    marked[3:8, 2:30] = True
    image, mask = pasted(photograph, picture, np.where(marked, np.uint8(255), np.uint8(0)), box)
    share = amount(marked)
    for y, x in np.ndindex(150, 200):
        row, column = y - box[1], x - box[0]
        inside = 0 <= row < 30 and 0 <= column < 40
        part = share[row, column] if inside else 0.0
        expected = photograph[y, x] if part == 0 else part * picture[row, column] + (1 - part) * photograph[y, x]
        assert np.abs(image[y, x] - expected.astype(float)).max() <= 0.5 + 1e-4
        assert mask[y, x] == 255 * bool(inside and marked[row, column])


def test_a_picture_that_is_shown_larger():
    photograph, picture = np.full((150, 200, 3), 10, np.uint8), np.full((30, 40, 3), 200, np.uint8)
    marked = np.zeros((30, 40), np.uint8)
    marked[10:20, 10:30] = 255
    image, mask = pasted(photograph, picture, marked, (100, 40, 80, 60))
    assert np.array_equal(mask[40:100, 100:180], marked.repeat(2, 0).repeat(2, 1))
    assert not mask[:40].any()
    assert not mask[100:].any()
    assert (image[62:78, 122:158] == 200).all()
    far = ndimage.binary_dilation(mask > 0, np.ones((15, 15)))
    assert (image[~far] == 10).all()
    assert ((image >= 10) & (image <= 200)).all()


def test_a_box_beyond_the_photograph_changes_nothing():
    photograph = np.full((15, 20, 3), 10, np.uint8)
    image, mask = pasted(photograph, np.full((8, 8, 3), 200, np.uint8), np.full((8, 8), 255, np.uint8), (50, 2, 8, 8))
    assert np.array_equal(image, photograph)
    assert not mask.any()


def test_a_run_of_whole_photographs(out, photos, tmp_path):
    into = tmp_path / "whole"
    said = call("place", out, "--on", tmp_path / "photos", "--into", into)
    assert said == f"{into}: 6 pairs on 3 photographs; next: seas-data review {into}\n"
    lines = [json.loads(line) for line in (into / "metadata.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == list(range(6))
    for line in lines:
        number = line["normal"]
        name, box = list(photos)[number], BOXES[number]
        assert (line["photograph"], tuple(line["box"])) == (name, box)
        image, mask = (np.asarray(Image.open(into / line[key])) for key in ("file_name", "mask_file_name"))
        zoom = box[2] // 40
        left, top, wide, high = box[0] + 15 * zoom, box[1] + 12 * zoom, 10 * zoom, 4 * zoom
        expected = np.zeros(mask.shape, np.uint8)
        expected[top : top + high, left : left + wide] = 255
        assert np.array_equal(mask, expected)
        assert (line["area"], line["bbox"]) == (wide * high, [left, top, wide, high])
        away = ~ndimage.binary_dilation(mask > 0, np.ones((9, 9)))
        assert np.array_equal(image[away], photos[name][away])
        assert not np.array_equal(image[mask > 0], photos[name][mask > 0])


def test_review_is_honoured_and_other_tools_take_the_result(out, tmp_path):
    (out / "review.jsonl").write_text(json.dumps({"index": 1, "decision": "reject"}) + "\n")
    into = tmp_path / "whole"
    assert "5 pairs" in call("place", out, "--on", tmp_path / "photos", "--into", into)
    said = call("export", into, "--to", "coco", "--into", tmp_path / "coco")
    counts = ", ".join(f"{part} {len(list((tmp_path / 'coco' / part).iterdir()))}" for part in ("train", "val"))
    assert f"coco, 5 pairs ({counts}; pairs on one photograph stay together)" in said
    written = json.loads(next((tmp_path / "coco").rglob("instances_*.json")).read_text())
    assert {(image["width"], image["height"]) for image in written["images"]} == {SIZE}
    assert "5 of 5 pairs" in call("review", into, "--static", tmp_path / "page.html")


def test_accepted_pairs_need_no_other_review(out, tmp_path):
    (out / "review.jsonl").write_text(json.dumps({"index": 1, "decision": "accept"}) + "\n")
    into = tmp_path / "my whole"
    said = call("place", out, "--on", tmp_path / "photos", "--into", into, "--accepted-only")
    assert said == f"{into}: 1 pairs on 1 photographs; next: seas-data export '{into}' --to coco --into '{into}-coco'\n"


def test_seas_gen_does_not_write_on_there(out, tmp_path, pristine):
    call("place", out, "--on", tmp_path / "photos", "--into", tmp_path / "whole")
    words = ["--engine", str(pristine), "--count", "9", "--out", str(tmp_path / "whole"), "--backend", "cpu"]
    result = CliRunner().invoke(generate, words)
    assert result.exit_code == 5
    assert "not the record of a run" in result.output


def test_generated_backgrounds_are_told(out, tmp_path):
    edit(out, lambda record: record["settings"].pop("background"))
    assert "--background real fit in" in call("place", out, "--on", tmp_path / "photos", "--into", tmp_path / "whole")


def test_a_photograph_elsewhere_below_is_found_by_its_name(out, tmp_path):
    (tmp_path / "photos/moved").mkdir()
    (tmp_path / "photos/a.png").rename(tmp_path / "photos/moved/a.png")
    call("place", out, "--on", tmp_path / "photos", "--into", tmp_path / "whole")
    (tmp_path / "photos/again").mkdir()
    (tmp_path / "photos/again/a.png").write_bytes((tmp_path / "photos/moved/a.png").read_bytes())
    assert "1 more are called so" in call("place", out, "--on", tmp_path / "photos", "--into", tmp_path / "more", code=3)


def test_a_turned_photograph_is_put_upright(out, photos, tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # to be turned by a quarter, clockwise
    Image.fromarray(np.rot90(photos["a.png"])).save(tmp_path / "photos/a.png", exif=exif)
    call("place", out, "--on", tmp_path / "photos", "--into", tmp_path / "whole")
    written = np.asarray(Image.open(tmp_path / "whole/tile/test/crack/000000.png"))
    assert np.array_equal(written[:20], photos["a.png"][:20])


def _gone(tmp_path, _):
    (tmp_path / "photos/a.png").unlink()


def _other_size(tmp_path, _):
    Image.new("RGB", (30, 30)).save(tmp_path / "photos/a.png")


def _damaged(tmp_path, _):
    (tmp_path / "photos/a.png").write_bytes(b"no")


def _torn(tmp_path, _):
    file = tmp_path / "photos/a.png"
    file.write_bytes(file.read_bytes()[:3000])


def _no_places(_, out):
    edit(out, lambda record: record.pop("places"))


def _hostile(_, out):
    edit(out, lambda record: record["places"][0].update(file="../../../etc/passwd"))


def _huge(_, out):
    edit(out, lambda record: record["places"][0].update(box=[0, 0, 60000, 60000]))


def _too_few(_, out):
    edit(out, lambda record: record["places"].pop())


def _beyond(_, out):
    edit(out, lambda record: record["places"][0].update(box=[190, 145, 40, 30]))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_gone, "holds no a.png, of which a picture is a part"),
        (_other_size, "has 30 x 30 pixels, expected 200 x 150 as when pictures were cut out of it"),
        (_damaged, "a.png: is no picture, whatever its name says, expected the photograph"),
        (_torn, "a.png: is damaged"),
        (_no_places, "does not say where on photographs its pictures lie"),
        (_hostile, "holds no ../../../etc/passwd"),
        (_huge, "is larger than its photograph"),
        (_too_few, "has the normal image 2, expected one of 2"),
        (_beyond, "its anomaly lies beyond"),
    ],
)
def test_refusals_in_one_line_leave_nothing(spoil, said, out, tmp_path):
    spoil(tmp_path, out)
    before = sorted(tmp_path.rglob("*"))
    assert said in call("place", out, "--on", tmp_path / "photos", "--into", tmp_path / "whole", code=3)
    assert sorted(tmp_path.rglob("*")) == before


def test_folders_that_are_none(out, tmp_path):
    assert "no such folder" in call("place", out, "--on", tmp_path / "none", "--into", tmp_path / "whole", code=3)
    assert "expected a new or empty folder" in call("place", out, "--on", tmp_path / "photos", "--into", out, code=5)


def test_names_with_escapes_do_not_reach_the_terminal(out, tmp_path):
    out = out.rename(tmp_path / "out\x1b[2J")
    for words in (
        ("place", out, "--on", tmp_path / "photos", "--into", tmp_path / "whole\x07"),
        ("export", out, "--to", "coco", "--into", tmp_path / "to\x1b[31m"),
        ("review", out, "--static", tmp_path / "\x07.html"),
    ):
        said = call(*words)
        assert not {"\x1b", "\x07"} & set(said)
        assert "\\x" in said
