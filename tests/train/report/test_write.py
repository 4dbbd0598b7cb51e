"""`seas-train report`: the page of a small run and its bundle."""

import html.parser
import json
import re
import shutil

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from seas_train import run_folder
from seas_train.cli import main
from seas_train.report import looks


def call(*words):
    return CliRunner().invoke(main, ["report", *map(str, words)])


class Sections(html.parser.HTMLParser):
    """Headings of a page, cells of its tables, and what it would load."""

    def __init__(self):
        super().__init__()
        self.headings, self.cells, self.loaded, self._in = [], [], [], ""

    def handle_starttag(self, tag, attrs):
        self._in = tag
        self.loaded += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        if self._in in ("h2", "h3"):
            self.headings.append(data)
        if self._in in ("td", "th"):
            self.cells.append(data)
        self._in = ""


def test_the_page_of_a_run_alone_and_with_everything(tuned, plan, tmp_path):
    times = {"tune": {"command": [], "seconds": 75.0, "peak_mib": 1000.0, "done": True}, "masks": {"seconds": 1.0, "done": False}}
    (tmp_path / "times.json").write_text(json.dumps(times), encoding="utf-8")
    (tmp_path / "pairs").mkdir()
    beside = ["--engine", plan, "--pairs", tmp_path / "pairs", "--times", tmp_path / "times.json"]
    done = call(tuned, *beside, "--out", tmp_path / "r.html")
    assert done.exit_code == 0, done.output
    page = Sections()
    page.feed((tmp_path / "r.html").read_text(encoding="utf-8"))
    expected = ["First generated pairs", "Masks of the training anomalies", "Where the tokens look", "Losses", "tune", "masks"]
    assert page.headings == [*expected, "What it took", "Parity of the bundle", "Settings"]
    assert all(address.startswith("data:image/png;base64,") for address in page.loaded)
    assert len(page.loaded) == 2  # no pair passed: no sheet
    manifest = json.loads((plan / "manifest.json").read_text(encoding="utf-8"))
    assert f"{manifest['parity']['fp16']['unet']['noise']['relative_l2']:.1e}" in page.cells
    assert {"75 s", "1.05 GB", "not told"} <= set(page.cells)
    alone = call(tuned, "--out", tmp_path / "r.html")  # the page is replaced
    assert alone.exit_code == 0, alone.output
    assert "Parity" not in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("record", "said"), [('{"settings": {"init": "composite"}}', 1), ('{"settings": {"init": "normal"}}', 0), ("[7]", 0)]
)
def test_first_pairs_from_composites_are_called_that(tuned, tmp_path, record, said):
    Image.new("RGB", (8, 8)).save(tmp_path / "sheet.png")
    (tmp_path / "run.json").write_text(record, encoding="utf-8")
    done = call(tuned, "--pairs", tmp_path, "--out", tmp_path / "r.html")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "r.html").read_text(encoding="utf-8").count("They start from training anomalies placed") == said


def test_masks_are_of_the_training_anomalies_and_cut_at_what_was_learned(tuned):
    run = run_folder.load(tuned)
    images = looks.anomalies(run)
    found = looks.masks(run, images)
    assert [look.defect for look in found] == sorted(run.facts.defects)
    for look in found:
        both = (look.mask & look.found).sum()
        assert look.iou == pytest.approx(float(both) / float(look.mask.sum() + look.found.sum() - both))
    defect = found[0].defect
    known = run.facts.calibration[defect]
    high = {**run.facts.calibration, defect: known.model_copy(update={"threshold": 0.999})}
    run.facts = run.facts.model_copy(update={"calibration": high})
    assert not looks.masks(run, images)[0].found.any()
    assert torch.equal(looks.masks(run, images)[1].found, found[1].found)


def test_a_run_without_its_pictures_has_a_page_too(tuned, tmp_path):
    bare = shutil.copytree(tuned, tmp_path / "run", ignore=shutil.ignore_patterns("anomalies", "log.jsonl"))
    done = call(bare, "--out", tmp_path / "r.html")
    assert done.exit_code == 0, done.output
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "The runs have no log." in text
    assert "Where the tokens look" not in text


def test_what_is_wrong_is_told_in_one_line(tuned, tmp_path):
    for words, code, said in (
        ([tuned, "--out", tmp_path / "r.txt"], 2, "ends in .html"),
        ([tmp_path, "--out", tmp_path / "r.html"], 3, "expected a run folder"),
        ([tuned, "--engine", tmp_path, "--out", tmp_path / "r.html"], 3, "give a bundle"),
    ):
        result = call(*words)
        assert result.exit_code == code, result.output
        assert re.fullmatch(rf"Error: .*{re.escape(said)}.*\n", result.stderr)
    assert not (tmp_path / "r.html").exists()
