"""What a page is told, and what it may change."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from seas_runtime.dataset.decisions import read_decisions
from seas_runtime.dataset.review.gallery import Gallery, StaleError
from seas_runtime.dataset.review.log import Decisions
from seas_runtime.dataset.review.training import read_training
from seas_runtime.errors import DataError, SettingsError

from .fabricated import append, decided, line, picture, square, write_pair, write_run, write_training


def test_rows_say_what_is_known_of_each_pair(gallery, out):
    gallery.decide([(1, "reject")])
    page = gallery.page(0, 5)
    assert (page["generation"], page["types"], page["total"]) == (0, ["crack", "hole", "stain"], 12)
    assert page["rows"][0] == [0, 0, 9, None, 0, 2, False, 0]
    assert page["rows"][1] == [1, 1, 16, None, 0, 1, False, 0]
    assert len(page["rows"]) == 5
    assert [row[0] for row in gallery.page(10, 100)["rows"]] == [10, 11]
    assert gallery.page(99, 5)["rows"] == []


def test_a_page_learns_of_pairs_decisions_and_measures(gallery, out):
    revision = gallery.decisions.revision
    write_pair(out, 12)
    append(out, line(12, agreement=0.5))
    gallery.decide([(1, "reject"), (0, "accept")])
    gallery.survey.measure_all()
    found = gallery.changes(revision, 0)
    assert (found["total"], found["planned"], found["generation"]) == (13, 12, 0)
    assert found["changes"] == [[0, 0, False, 0], [1, 1, False, 0]]
    assert found["survey"][0] == [0, float(f"{9 / 256:.4g}"), 9, None, None, False]
    assert len(found["survey"]) == 12  # the one that is new was not there when it measured
    again = gallery.changes(found["revision"], 12)
    assert again["changes"] == again["survey"] == []
    gallery.survey.measure_all()
    assert [row[0] for row in gallery.changes(found["revision"], 12)["survey"]] == [12]


def test_a_mended_mask_is_saved_shown_and_measured(gallery, out):
    mask = np.random.default_rng(0).random((16, 16)) > 0.5
    assert gallery.mend(4, np.packbits(mask).tobytes(), 0) == [4, 2, True, gallery.decisions.revision]
    saved = Image.open(out / "review" / "000004_mask.png")
    assert np.array_equal(np.asarray(saved) == 255, mask)
    assert np.array_equal(gallery.album.mask(4), mask)
    assert np.array_equal(gallery.album.mask(4, generated=True), square(4, 16))
    overlay = Image.open(io.BytesIO(base64.b64decode(gallery.album.view(4)[1]))).convert("RGBA")
    assert np.array_equal(np.asarray(overlay)[..., 3] == 90, mask)
    gallery.survey.measure_all()
    assert gallery.survey.done[4].pixels == mask.sum()
    assert decided(out)[-1]["mask"] == "review/000004_mask.png"


def test_a_pair_that_cannot_be_shown_hides_no_other(gallery, out):
    (out / "tile/test/hole/000004.png").write_bytes(b"damaged")
    views = gallery.album.views([3, 4, 99, 5])
    assert [index for index, view in views.items() if view is None] == [4, 99]
    assert Image.open(io.BytesIO(base64.b64decode(views[5][0]))).size == (16, 16)


def test_a_mask_that_somebody_else_changed_is_not_overwritten(gallery, out):
    bits = np.packbits(np.ones((16, 16), dtype=bool)).tobytes()
    row = gallery.mend(4, bits, 0)
    with pytest.raises(StaleError, match="changed elsewhere"):
        gallery.mend(4, bytes(32), 0)
    with pytest.raises(StaleError):
        gallery.restore(4, 0)
    assert gallery.album.mask(4).all()
    assert gallery.mend(4, bytes(32), row[3])[3] > row[3]
    gallery.restore(4, gallery.decisions.mask_revision(4))
    assert np.array_equal(gallery.album.mask(4), square(4, 16))


@pytest.mark.parametrize("size", [0, 31, 33, 1000])
def test_a_mask_of_another_size_is_refused(gallery, out, size):
    with pytest.raises(DataError, match="a bit for each of 16 x 16 pixels"):
        gallery.mend(4, bytes(size), 0)
    assert not (out / "review").exists()


def test_bits_of_the_last_byte_beyond_the_picture_count_for_nothing(tmp_path, gallery, out):
    write_pair(out, 12, 13)  # 169 pixels: 22 bytes with 7 bits to spare
    append(out, line(12))
    gallery.pairs.refresh()
    gallery.mend(12, b"\xff" * 22, 0)
    assert gallery.album.mask(12).shape == (13, 13)


def test_no_pair_no_decision(gallery, out):
    for change in (
        lambda: gallery.decide([(0, "accept"), (12, "accept")]),
        lambda: gallery.mend(12, b"", 0),
        lambda: gallery.restore(12, 0),
    ):
        with pytest.raises(DataError, match="pair 12"):
            change()
    assert read_decisions(out) == {}


def test_read_only_takes_no_decision(out):
    gallery = Gallery(out, Decisions(out))
    assert gallery.describe()["readOnly"]
    for change in (
        lambda: gallery.decide([(0, "accept")]),
        lambda: gallery.mend(0, bytes(32), 0),
        lambda: gallery.restore(0, 0),
    ):
        with pytest.raises(SettingsError, match="only looks"):
            change()


def test_a_mended_mask_that_is_gone_is_told(gallery, out):
    gallery.mend(4, bytes(32), 0)
    (out / "review" / "000004_mask.png").unlink()
    with pytest.raises(DataError, match="000004_mask"):
        gallery.album.mask(4)
    gallery.survey.measure_all()
    assert 4 not in gallery.survey.done


def test_real_anomalies_are_found_with_their_masks(tmp_path):
    folder = write_training(tmp_path / "data" / "tile")
    root, reals = read_training(folder, "tile")
    assert (root, len(reals)) == (folder, 6)
    assert {real.defect for real in reals} == {"crack", "hole", "stain"}  # and nothing of good
    assert reals[0].image == "test/crack/000102.png"
    assert reals[0].mask == "ground_truth/crack/000102_mask.png"
    assert read_training(tmp_path / "data", "tile") == (root, reals)
    (folder / reals[0].mask).unlink()
    assert read_training(folder, "tile")[1][0].mask is None


def test_folders_without_real_anomalies_are_refused(tmp_path):
    (tmp_path / "test" / "good").mkdir(parents=True)
    for path, said in (
        (tmp_path, "0 anomalies"),
        (tmp_path / "no", "no such folder"),
        (tmp_path / "test", "holds no folder test"),
    ):
        with pytest.raises(DataError, match=said):
            read_training(path, "tile")


def test_pairs_are_compared_with_real_anomalies(tmp_path, out, log):
    folder = write_training(tmp_path / "data")
    Image.fromarray(picture(4, 16)).save(folder / "test" / "hole" / "copy.png")
    Image.fromarray(square(4, 16).astype(np.uint8) * 255).save(folder / "ground_truth" / "hole" / "copy_mask.png")
    gallery = Gallery(out, log, folder)
    gallery.survey.measure_all()
    rows = {row[0]: row for row in gallery.changes(0, 0)["survey"]}
    number = [real.image for real in gallery.reals].index("test/hole/copy.png")
    assert rows[4][3:] == [number, 1.0, True]
    assert all(gallery.reals[row[3]].defect == ("crack", "hole", "stain")[index % 3] for index, row in rows.items())
    assert Image.open(io.BytesIO(gallery.album.real_view("large", number))).size == (16, 16)
    overlay = Image.open(io.BytesIO(gallery.album.real_view("overlay", number))).convert("RGBA")
    assert np.array_equal(np.asarray(overlay)[..., 3] == 90, square(4, 16))
    with pytest.raises(DataError, match="real anomaly 7"):
        gallery.album.real_view("thumb", 7)


@pytest.mark.parametrize(("init", "suspected"), [("composite", False), ("normal", True)])
def test_an_anomaly_that_was_placed_is_no_suspected_copy(tmp_path, log, init, suspected):
    """Pair 4 is a real anomaly to the pixel."""
    folder = write_training(tmp_path / "data")
    Image.fromarray(picture(4, 16)).save(folder / "test" / "hole" / "copy.png")
    Image.fromarray(square(4, 16).astype(np.uint8) * 255).save(folder / "ground_truth" / "hole" / "copy_mask.png")
    gallery = Gallery(write_run(tmp_path / "placed", init=init), log, folder)
    gallery.survey.measure_all()
    rows = {row[0]: row for row in gallery.changes(0, 0)["survey"]}
    assert rows[4][4:] == [1.0, suspected]
    assert any(row[5] for row in rows.values()) == suspected


def test_figures_are_of_what_is_asked_for(tmp_path, out, log):
    gallery = Gallery(out, log, write_training(tmp_path / "data"))
    gallery.survey.measure_all()
    gallery.decide([(0, "accept"), (3, "reject"), (1, "accept")])
    counts = {
        (defect, verdict): gallery.figures(defect, verdict)["generated"]["count"]
        for defect in (None, "crack", "hole")
        for verdict in (None, "accept", "undecided")
    }
    assert counts == {
        (None, None): 12, (None, "accept"): 2, (None, "undecided"): 9,
        ("crack", None): 4, ("crack", "accept"): 1, ("crack", "undecided"): 2,
        ("hole", None): 4, ("hole", "accept"): 1, ("hole", "undecided"): 3,
    }  # fmt: skip
    assert gallery.figures("crack", "accept")["real"]["count"] == 2
    assert gallery.counts() == {"accept": 2, "reject": 1, "undecided": 9, "mended": 0}


def test_a_pair_that_was_made_again_is_shown_anew(gallery, out):
    before = gallery.album.view(3)
    Image.new("RGB", (16, 16), (9, 200, 9)).save(out / "tile/test/crack/000003.png")
    append(out, line(3, attempt=1))
    gallery.pairs.refresh()
    assert gallery.album.view(3) != before
