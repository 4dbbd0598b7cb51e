"""Reading a folder of `seas-gen`: what is taken, what a review changes, and what is refused by name."""

import io
import json
import os
import re
import signal

import numpy as np
import pytest
from PIL import Image

from seas_runtime.dataset.pictures import listed
from seas_runtime.dataset.read import read
from seas_runtime.errors import DataError

from .out_folder import masks, original, save

FIRST = "tile/test/crack/000000.png"
FIRST_MASK = "tile/ground_truth/crack/000000_mask.png"


def lines(out):
    return [json.loads(text) for text in (out / "metadata.jsonl").read_text().splitlines()]


def rewrite(out, changes):
    """Change the first line of the metadata."""
    first, *others = lines(out)
    (out / "metadata.jsonl").write_text("".join(json.dumps(x) + "\n" for x in [first | changes, *others]))


def decide(out, *decisions):
    text = "".join(json.dumps({"mask": None, "time": 1.5} | decision) + "\n" for decision in decisions)
    (out / "review.jsonl").write_text(text)


def load_all(out, **options):
    return {record.key: record.load() for record in read(out, **options)}


def test_pairs_and_normal_pictures_with_their_masks(out):
    data = read(out)
    assert (data.pairs, len(data.records), data.classes) == (12, 17, ("crack", "stain"))
    assert (data.facts.settings.product, data.facts.licence) == ("tile", "CC0-1.0")
    assert [record.key for record in data][10:13] == ["000010", "000011", "normal_000000"]
    assert [record.id for record in data][:2] == [1, 2]
    for record, mask in zip(data, masks().values(), strict=False):
        item = record.load()
        assert np.array_equal(item.mask > 0, mask)
        assert (item.png, item.image_file) == (record.image.read_bytes(), record.image)
        assert (item.width, item.height) == (40, 30)
        assert record.facts["seed"] == 2**63 + 1
    normal = data.records[-1].load()
    assert normal.mask.shape == (20, 24)
    assert not normal.mask.any()
    assert read(out, own_normals=False).pairs == len(read(out, own_normals=False).records)


def test_what_a_review_rejects_goes_and_what_it_edits_is_taken(fresh):
    edited = np.zeros((30, 40), np.uint8)
    edited[2, 3] = 255
    save(fresh / "review/000001_mask.png", edited)
    decide(
        fresh,
        {"index": 0, "decision": "reject"},
        {"index": 1, "decision": "accept", "mask": "review/000001_mask.png"},
        {"index": 2, "decision": "reject"},
        {"index": 2, "decision": "undecided"},
        {"index": 99, "decision": "reject"},
    )
    data = read(fresh, own_normals=False)
    assert [record.key for record in data] == [f"{i:06d}" for i in range(1, 12)]
    assert (data.left_out, data.edited) == (1, 1)
    assert np.array_equal(data.records[0].load().mask, edited)
    accepted = read(fresh, own_normals=False, accepted_only=True)
    assert ([record.key for record in accepted], accepted.left_out) == (["000001"], 11)


def test_a_half_written_last_line_is_passed_over(fresh):
    text = (fresh / "metadata.jsonl").read_text()
    (fresh / "metadata.jsonl").write_text(text[:-20])
    (fresh / "review.jsonl").write_text('{"index": 0, "decision": "reje')
    assert read(fresh).pairs == 11


def test_the_state_changes_with_what_is_taken(fresh):
    states = {
        read(fresh).state,
        read(fresh, own_normals=False).state,
        read(fresh, normals=fresh / "tile/test/crack").state,
    }
    decide(fresh, {"index": 0, "decision": "accept"})
    states |= {read(fresh).state, read(fresh, accepted_only=True).state}
    assert len(states) == 5
    identity = read(fresh).identity
    for name, value, same in (("count", 99, True), ("seed", 1, False)):
        record = json.loads((fresh / "run.json").read_text())
        record["settings"][name] = value
        (fresh / "run.json").write_text(json.dumps(record))
        assert (read(fresh).identity == identity) == same


@pytest.mark.parametrize(
    "changes",
    [
        {"file_name": "../outside.png"},
        {"file_name": "/etc/passwd"},
        {"mask_file_name": "tile/../../outside.png"},
        {"mask_file_name": "C:\\outside.png"},
        {"file_name": "tile//test/crack/000000.png"},
        {"file_name": ""},
        {"file_name": "a\0b"},
        {"defect": "../crack"},
        {"defect": "good"},
        {"index": -1},
        {"index": 10**30},
        {"index": True},
        {"index": "0"},
        {"index": 5},
        {"defect": None},
    ],
)
def test_a_bad_line_is_named(fresh, changes):
    rewrite(fresh, changes)
    with pytest.raises(DataError, match=r"metadata\.jsonl: (line 1|two lines of pair 5)") as told:
        read(fresh)
    assert "\n" not in told.value.message


@pytest.mark.parametrize("line", [b"\xff\xfe\n", b"[]\n", b"{\n", b"\n", b'{"index": 0}\n', b"[" * 100_000 + b"\n"])
@pytest.mark.parametrize("name", ["metadata.jsonl", "review.jsonl"])
def test_a_line_that_says_nothing_is_named(fresh, name, line):
    path = fresh / name
    path.write_bytes((path.read_bytes() if path.exists() else b"") + line)
    with pytest.raises(DataError, match=rf"{name}: line \d+"):
        read(fresh)


@pytest.mark.parametrize("mask", ["../mask.png", "/mask.png"])
def test_a_review_cannot_lead_outside(fresh, mask):
    decide(fresh, {"index": 0, "decision": "accept", "mask": mask})
    with pytest.raises(DataError, match=r"review\.jsonl: line 1: mask"):
        read(fresh)


@pytest.mark.parametrize("name", [FIRST, FIRST_MASK, "tile/train/good/000000.png"])
def test_a_link_cannot_lead_outside(fresh, tmp_path, name):
    save(tmp_path / "outside.png", np.zeros((30, 40), np.uint8))
    (fresh / name).unlink()
    (fresh / name).symlink_to(tmp_path / "outside.png")
    with pytest.raises(DataError, match="leads out of"):
        read(fresh)


def test_a_ring_of_links_leads_nowhere(fresh):
    (fresh / FIRST).unlink()
    (fresh / FIRST).symlink_to(fresh / FIRST)
    with pytest.raises(DataError, match="leads out of"):
        read(fresh)


@pytest.mark.parametrize("text", [None, "{", "{}", '{"settings": {"product": "../x", "defects": ["a"]}}'])
def test_a_folder_without_a_record_is_refused(fresh, text):
    (fresh / "run.json").unlink()
    if text is not None:
        (fresh / "run.json").write_text(text)
    with pytest.raises(DataError, match=r"run\.json"):
        read(fresh)


def test_no_folder_and_no_pair_are_refused(fresh, tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        read(tmp_path / "none")
    with pytest.raises(DataError, match="is a file"):
        read(fresh / "run.json")
    decide(fresh, *({"index": i, "decision": "reject"} for i in range(12)))
    with pytest.raises(DataError, match=r"no pair \(12 left out"):
        read(fresh)
    (fresh / "metadata.jsonl").unlink()
    with pytest.raises(DataError, match="no pair"):
        read(fresh)


def spoil_truncated(path):
    path.write_bytes(path.read_bytes()[:-30])


def spoil_flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


def spoil_text(path):
    path.write_bytes(b"no picture")


def spoil_empty(path):
    path.write_bytes(b"")


def spoil_missing(path):
    path.unlink()


def spoil_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [spoil_truncated, spoil_flipped, spoil_text, spoil_empty, spoil_missing, spoil_folder])
@pytest.mark.parametrize("name", [FIRST, FIRST_MASK])
def test_a_spoiled_file_is_named(fresh, name, spoil):
    spoil(fresh / name)
    with pytest.raises(DataError, match=name) as told:
        load_all(fresh)
    assert "\n" not in told.value.message


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.full((30, 40), 128, np.uint8), "level 128"),
        (np.full((30, 40), 1, np.uint8), "level 1,"),
        (np.zeros((30, 40, 3), np.uint8), "mode RGB"),
        (np.zeros((30, 40), np.uint16), "mode I;16"),
        (np.zeros((40, 30), np.uint8), "30 x 40 pixels, expected 40 x 30"),
    ],
)
def test_what_is_no_mask_of_the_picture_is_named(fresh, pixels, reason):
    save(fresh / FIRST_MASK, pixels)
    with pytest.raises(DataError, match=reason):
        load_all(fresh)


def test_a_mask_of_one_bit_is_taken(fresh):
    Image.fromarray(original(fresh, "000000")).save(fresh / FIRST_MASK)
    assert Image.open(fresh / FIRST_MASK).mode == "1"
    assert np.array_equal(load_all(fresh)["000000"].mask > 0, masks()["disc"])


@pytest.fixture
def photos(tmp_path):
    """A grey PNG, a turned JPEG, one with alpha, one with a palette, and what is no picture."""
    folder = tmp_path / "photos"
    folder.mkdir()
    grey = np.arange(24, dtype=np.uint8).reshape(4, 6)
    save(folder / "a.png", grey)
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter clockwise
    Image.fromarray(np.dstack([grey * 9] * 3)).save(folder / "b.JPG", exif=turned, quality=100)
    Image.fromarray(np.dstack([grey] * 4)).save(folder / "c.webp", lossless=True, exact=True)
    Image.fromarray(np.dstack([grey] * 3)).quantize(256).save(folder / "d.bmp")
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


def test_photographs_become_png_turned_upright(fresh, photos):
    data = read(fresh, normals=photos, own_normals=False)
    items = {record.facts["source"]: record.load() for record in data.records[12:]}
    assert list(items) == ["a.png", "b.JPG", "c.webp", "d.bmp"]
    assert items["a.png"].png == (photos / "a.png").read_bytes()
    assert [(item.width, item.height) for item in items.values()] == [(6, 4), (4, 6), (6, 4), (6, 4)]
    grey = np.arange(24, dtype=np.uint8).reshape(4, 6)
    seen = {name: np.asarray(Image.open(io.BytesIO(item.png)).convert("L")) for name, item in items.items()}
    assert np.array_equal(seen["c.webp"], grey)
    assert np.array_equal(seen["d.bmp"], grey)
    assert np.abs(seen["b.JPG"].astype(int) - np.rot90(grey * 9, -1)).max() < 4
    assert items["b.JPG"].image_file is None


def test_photographs_of_16_bits_and_empty_folders_are_refused(fresh, tmp_path):
    save(tmp_path / "deep/x.png", np.zeros((4, 6), np.uint16))
    with pytest.raises(DataError, match="mode I;16"):
        load_all(fresh, normals=tmp_path / "deep")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="holds no picture"):
        listed(tmp_path / "none")
    with pytest.raises(DataError, match="No such file"):
        listed(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["run.json", "metadata.jsonl", "review.jsonl", "picture", "mask"])
def test_a_pipe_is_not_waited_for(fresh, name):
    """Found by a campaign: the export of such a folder never ended."""
    first = lines(fresh)[0]
    path = fresh / {"picture": first["file_name"], "mask": first["mask_file_name"]}.get(name, name)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)  # ends a test that waits
    signal.alarm(30)
    try:
        with pytest.raises(DataError, match=rf"{re.escape(path.name)}: "):
            load_all(fresh)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_accepted_only_before_anything_is_decided(fresh):
    (fresh / "review.jsonl").unlink(missing_ok=True)
    with pytest.raises(DataError, match=r"no pair that is accepted \(\d+ undecided or rejected\); decide with seas-data"):
        read(fresh, accepted_only=True)
