"""Ctrl-C at every first place, and at later ones, of each command that writes: the same command then ends well."""

import shutil

import pytest
from click.testing import CliRunner

from seas_train.cli import main
from seas_train.training.kept import CURRENT, NEXT, PREVIOUS
from tests.interrupting import again_and_again, interrupted

ANEW = "Interrupted: nothing is saved to continue from; the same command begins anew."
GOES_ON = "Interrupted: the same command continues from what is saved."
NOTHING = "Interrupted: nothing unfinished was left behind."
TIDY = "Interrupted: all was done but to tidy up, as the same command does."
FEW = ("--steps", 2, "--checkpoint-every", 1, "--anomaly-batch", 1, "--normal-batch", 1)
BRANCH = ("--up2-width", 8, "--up3-width", 8, "--layers", 1, "--heads", 2, "--groups", 4, "--calibrate", "off")


def call(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def fresh(tmp_path):
    """A folder of its own for each place."""

    def make(number):
        (folder := tmp_path / str(number)).mkdir()
        return folder

    return make


def tidy(out):
    names = {path.name for path in out.rglob("*")}
    assert not names & {CURRENT, NEXT, PREVIOUS, "unfinished.json"}
    assert not [name for name in names if name.endswith(".seas-tmp")]


def test_demo_data(fresh):
    counts = ("--normals", 1, "--per-defect", 1, "--test-normals", 0, "--size", 64)

    def done(root):
        tidy(root)
        assert (root / "data/bottle/train/good/000.png").is_file()

    assert again_and_again(lambda root: call("demo-data", root / "data", *counts), fresh, done) == {NOTHING}


def test_base(product, fresh):
    few = ("--steps", 2, "--vae-steps", 2, "--align-steps", 1, "--vae-batch", 1, "--batch", 1, "--checkpoint-every", 1)

    def done(root):
        tidy(root)
        assert (root / "base.json").is_file()

    said = again_and_again(lambda root: call("base", product.root, "--out", root, *few), fresh, done)
    assert {ANEW, GOES_ON} <= said <= {ANEW, GOES_ON, TIDY, NOTHING}


def test_tune(product, base, fresh):
    def done(root):
        tidy(root)
        assert (root / "run/source.json").is_file()

    words = ("tune", product.root, "--base", base, *FEW, "--out")
    said = again_and_again(lambda root: call(*words, root / "run"), fresh, done)
    assert {ANEW, GOES_ON} <= said <= {ANEW, GOES_ON, TIDY, NOTHING}


def test_tune_at_its_very_end(product, base, tmp_path):
    """The run is whole and does not yet know where its images lie, or has no checkpoint any more."""
    words = ("tune", product.root, "--base", base, *FEW, "--out")
    with interrupted(tmp_path / "counted", 0) as countdown:
        assert call(*words, tmp_path / "counted").exit_code == 0
    said = []
    for back in range(1, 8):
        out = tmp_path / str(back)
        with interrupted(out, countdown.changes + 1 - back):
            result = call(*words, out)
        assert result.exit_code == 130
        said.append(result.stderr.splitlines()[-1])
        again = call(*words, out)
        assert again.exit_code == 0
        assert ("already done" in again.output) == (said[-1] == TIDY)
        tidy(out)
        assert (out / "source.json").is_file()
    assert said[:5] == [TIDY] * 5


def test_masks(product, tuned, tmp_path):
    def prepared(number):
        out = shutil.copytree(tuned, tmp_path / str(number))
        shutil.rmtree(out / "rmp")
        return out

    def done(root):
        tidy(root)
        assert (root / "rmp/config.json").is_file()

    words = (product.root, *FEW, *BRANCH)
    said = again_and_again(lambda root: call("masks", root, *words), prepared, done)
    assert {ANEW, GOES_ON} <= said <= {ANEW, GOES_ON, TIDY, NOTHING}


def test_distill(tuned, fresh):
    few = ("--train-steps", 1, "--steps", 2, "--generated", 2, "--teacher-steps", 2, "--solver-steps", 4, "--batch", 1)

    def done(root):
        tidy(root)
        assert not (root / "teacher").exists()

    said = again_and_again(lambda root: call("distill", tuned, "--out", root, *few), fresh, done)
    assert {ANEW, GOES_ON} <= said <= {ANEW, GOES_ON, TIDY, NOTHING}


def test_sample(tuned, fresh):
    def done(root):
        assert (root / "out/sheet.png").is_file()

    words = ("sample", tuned, "--count", 2, "--steps", 2, "--out")
    assert again_and_again(lambda root: call(*words, root / "out"), fresh, done) <= {ANEW, NOTHING}
