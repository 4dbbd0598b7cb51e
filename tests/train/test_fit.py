"""Photographs of another shape than the model's: what tune makes of them, what it records, and what masks does then."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from seas_train import cli, run_folder
from seas_train.run_folder import Facts

WORDS = ("--steps", "1", "--normal-count", "4")
SMALL = ("--steps", "1", "--up2-width", "8", "--up3-width", "8", "--layers", "1", "--heads", "2", "--groups", "4")


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A product of 150 x 100 pixels with scratches of 5 pixels, which become 2 at the model's 64."""
    root, chance = tmp_path / "part", np.random.default_rng(0)
    for place, count in (("train/good", 3), ("test/scratch", 4)):
        (root / place).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(chance.integers(0, 256, (100, 150, 3), np.uint8)).save(root / place / f"{number:03}.png")
    (root / "ground_truth/scratch").mkdir(parents=True)
    for number in range(4):
        mask = np.zeros((100, 150), np.uint8)
        mask[20:25, 30 + 20 * number : 60 + 20 * number] = 255
        Image.fromarray(mask).save(root / f"ground_truth/scratch/{number:03}_mask.png")
    return root


def call(*words: object) -> Result:
    return CliRunner().invoke(cli.main, list(map(str, words)))


def test_the_fit_is_chosen_told_recorded_and_taken_over(photographs: Path, base: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    tune = ("tune", photographs, "--base", base, "--out", out, "--shots", 2, *WORDS)
    result = call(*tune)
    assert result.exit_code == 0, result.output
    assert (
        "fit tile, chosen by --fit auto: stretched to 64 x 64, 2 of 2 defects would be narrower than a latent cell" in result.stderr
    )
    assert "one of 5 px becomes 5 px" in result.stderr
    facts = run_folder.load_facts(out)
    assert (facts.fit, facts.photograph, len(facts.places)) == ("tile", (150, 100), 4)
    for number, place in enumerate(facts.places):
        left, top, _, _ = place.box
        whole = np.asarray(Image.open(photographs / place.file))
        assert np.array_equal(np.asarray(Image.open(out / f"photographs/{number:03}.png")), whole[top : top + 64, left : left + 64])
    # Again, and with another fit.
    assert "already done" in call(*tune).output
    assert "already done" in call(*tune, "--fit", "tile").output
    other = call(*tune, "--fit", "pad")
    assert other.exit_code == 5
    assert "fit 'tile', now 'pad'" in other.output
    # The mask branch asks nothing again.
    result = call("masks", out, photographs, *SMALL)
    assert result.exit_code == 0, result.output


def test_a_stretched_run_says_so_and_warns(photographs: Path, base: Path, tmp_path: Path) -> None:
    result = call("tune", photographs, "--base", base, "--out", tmp_path / "run", "--shots", 2, *WORDS, "--fit", "stretch")
    assert "one of 5 px becomes 2.1 px" in result.stderr
    assert "or --fit tile" in result.stderr
    facts = run_folder.load_facts(tmp_path / "run")
    assert (facts.fit, {place.box for place in facts.places}) == ("stretch", {(0, 0, 150, 100)})


def test_a_checkpoint_of_one_fit_is_not_continued_with_another(photographs: Path, base: Path, tmp_path: Path, monkeypatch) -> None:
    words = ("tune", photographs, "--base", base, "--out", tmp_path / "run", "--shots", 2, "--steps", 4, "--checkpoint-every", 1)
    from seas_train.training import loop

    whole, made = loop.optimise, []

    def dying(stage, step):
        if made:
            raise KeyboardInterrupt
        made.append(step)
        return whole(stage, step)

    monkeypatch.setattr(loop, "optimise", dying)
    assert call(*words, "--fit", "crop").exit_code == 130
    monkeypatch.setattr(loop, "optimise", whole)
    result = call(*words, "--fit", "stretch")
    assert result.exit_code == 5
    assert "other normals" in result.output
    assert call(*words, "--fit", "crop").exit_code == 0


def test_check_says_what_tune_will_do(photographs: Path) -> None:
    result = call("check", photographs, "--size", 64, "--shots", 2)
    assert "Training: fit tile, chosen by --fit auto: stretched to 64 x 64, 2 of 2 defects" in result.output
    assert "chosen by" not in call("check", photographs, "--size", 64, "--fit", "stretch").output


@pytest.mark.parametrize("fit", ["crop", "tile"])
def test_a_base_learns_from_what_tune_will_see(fit: str, photographs: Path, tmp_path: Path, monkeypatch) -> None:
    from seas_train.base import train
    from seas_train.base.settings import BaseSettings

    settings = BaseSettings(fit=fit, defects=True)
    records, captions = train.collect([photographs], defects=True)
    pictures, said = train.fitted(records, captions, settings, 64)
    assert len(pictures) == len(said)
    assert all((picture.defect == caption.defect) for picture, caption in zip(pictures, said, strict=True))
    assert all(picture.view is not None and picture.view.size == (64, 64) for picture in pictures)
    monkeypatch.setattr(train.fitting, "MOST_TILES", 5)
    few, _ = train.fitted(records, captions, settings, 64)
    assert sum(picture.defect is None for picture in few) == (5 if fit == "tile" else 3)
    assert [picture for picture in few if picture.defect] == [picture for picture in pictures if picture.defect]


def test_a_run_of_before_reads_as_it_did(photographs: Path, base: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    tune = ("tune", photographs, "--base", base, "--out", out, "--shots", 2, *WORDS)
    assert call(*tune, "--fit", "stretch").exit_code == 0
    fields = json.loads((out / "run.json").read_text())
    for name in ("fit", "photograph", "places"):
        del fields[name]
    del fields["tune"]["fit"]
    (out / "run.json").write_text(json.dumps(fields))
    facts = run_folder.load_facts(out)
    assert isinstance(facts, Facts)
    assert (facts.fit, facts.photograph, facts.places) == ("stretch", None, ())
    assert "already done" in call(*tune).output
    assert "already done" in call(*tune, "--fit", "stretch").output


def test_a_run_remembers_three_folders_and_a_name(photographs: Path, base: Path, tmp_path: Path, monkeypatch) -> None:
    folders = {"anomalies": "test", "masks": "ground_truth", "normals": "train/good"}
    words = [word for name, place in folders.items() for word in (f"--{name}", photographs / place)]
    out = tmp_path / "run"
    result = call("tune", *words, "--name", "ventil", "--base", base, "--out", out, "--shots", 2, *WORDS, "--fit", "stretch")
    assert result.exit_code == 0, result.output
    assert run_folder.load_facts(out).product == "ventil"
    monkeypatch.chdir(tmp_path)  # the paths do not hang on where one stands
    result = call("masks", "run", *SMALL)
    assert result.exit_code == 0, result.output
    assert (out / "rmp/config.json").is_file()


def test_a_run_that_remembers_nothing_asks(photographs: Path, base: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    call("tune", photographs, "--base", base, "--out", out, "--shots", 2, *WORDS, "--fit", "stretch")
    (out / "source.json").write_text("{")
    result = call("masks", out, *SMALL)
    assert result.exit_code == 3
    assert "source.json: cannot be read" in result.output
    (out / "source.json").unlink()
    result = call("masks", out, *SMALL)
    assert result.exit_code == 2
    assert "expected the folder DATA or all of --anomalies, --masks and --normals" in result.output


def test_a_base_that_was_shown_photographs_otherwise_is_told(photographs: Path, base: Path, tmp_path: Path) -> None:
    other = shutil.copytree(base, tmp_path / "base")
    (other / "base.json").write_text(json.dumps({"settings": {"fit": "stretch"}}))
    said = "Warning: the base has learned photographs by --fit stretch, and now sees them by --fit tile"
    words = (photographs, "--base", other, "--shots", 2)
    assert said in call("check", *words, "--fit", "tile").stdout
    assert said in call("tune", *words, "--fit", "tile", "--out", tmp_path / "run", *WORDS).output
    assert "has learned photographs by" not in call("check", *words, "--fit", "stretch").stdout
    again = call("check", photographs, "--base", tmp_path / "run", "--shots", 2, "--fit", "pad").stdout  # a run knows its own
    assert "has learned photographs by --fit tile" in again
    for unknown in ('{"settings": {}}', "[", "[" * 100_000, "7"):
        (other / "base.json").write_text(unknown)
        assert "has learned photographs by" not in call("check", *words, "--fit", "tile").stdout
