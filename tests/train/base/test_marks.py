"""What a long training of a base keeps on its way."""

import itertools

import pytest
import torch
from safetensors.torch import load_file

from seas_train.base import train as base_training
from seas_train.base import unet
from seas_train.base.settings import BaseSettings
from seas_train.models import components
from tests.smallest import GEOMETRY

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
SETTINGS = BaseSettings(vae_steps=1, vae_batch=2, vae_crop=32, batch=2, steps=5, lr_schedule="constant", checkpoint_every=3)


@pytest.fixture(scope="module")
def train(product, tmp_path_factory):
    """Train a base into a folder of its own: train(keep_every, setting=value) -> the folder."""
    root, number = tmp_path_factory.mktemp("bases"), itertools.count()

    def trained(keep_every, folder=None, **switch):
        folder = folder or root / str(next(number))
        settings = SETTINGS.model_copy(update=switch)
        base_training.train([product.root], folder, settings, {}, keep_every)
        return folder

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(components.GEOMETRIES, "tiny", GEOMETRY)
        yield trained


@pytest.fixture(scope="module")
def whole(train):
    """A base of five steps with marks at 2 and 4."""
    return train(2)


def test_a_mark_is_what_a_training_of_so_many_steps_leaves(train, whole):
    """At a constant rate the number of steps decides nothing else."""
    marks = whole / "marks"
    assert sorted(path.name for path in marks.iterdir()) == ["2", "4"]
    for steps in (2, 4):
        alone = train(0, steps=steps)
        for file in (WEIGHTS, "text_encoder/model.safetensors"):  # the text encoder learns beside the U-Net here
            assert (marks / str(steps) / file).read_bytes() == (alone / file).read_bytes()
        assert not (alone / "marks").exists()


def test_an_aligned_text_encoder_is_not_kept_again(train):
    marks = train(5, align_steps=1) / "marks"
    assert [path.relative_to(marks).as_posix() for path in marks.glob("*/*")] == ["5/unet"]


@pytest.mark.parametrize("dies_at", [3, 4, 5])
def test_marks_outlive_a_kill(train, whole, tmp_path, monkeypatch, dies_at):
    """Killed with the mark of step 4 to come, about to be written, and written but not yet in a checkpoint."""
    keep, calls, losses = components.keep, itertools.count(), unet.losses

    def killed(network, folder):
        if dies_at == 4 and folder.parent.name == "4":
            raise KeyboardInterrupt
        keep(network, folder)

    def dying(*arguments):
        if next(calls) == dies_at - (dies_at > 3):
            raise KeyboardInterrupt
        return losses(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(components, "keep", killed)
        patch.setattr(unet, "losses", dying)
        with pytest.raises(KeyboardInterrupt):
            train(2, tmp_path / "broken")
    broken = train(2, tmp_path / "broken")
    assert {path.name for path in (broken / "marks").rglob("*.seas-tmp")} == set()
    files = sorted(path.relative_to(whole) for path in whole.rglob("*.safetensors"))
    assert files == sorted(path.relative_to(broken) for path in broken.rglob("*.safetensors"))
    for file in files:
        assert (broken / file).read_bytes() == (whole / file).read_bytes(), file


def test_marks_change_nothing_and_the_schedule_does(train, whole):
    assert (train(0) / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
    first, second = (load_file(folder / WEIGHTS) for folder in (whole, train(0, lr_schedule="cosine")))
    assert any(not torch.equal(value, second[name]) for name, value in first.items())


def test_rates_by_schedule():
    assert [unet.rate(step, SETTINGS) for step in (0, 99, 100, 10**6)] == [0.01, 1, 1, 1]
    thousand = BaseSettings(steps=1000)
    assert [unet.rate(step, thousand) for step in (0, 100, 550)] == pytest.approx([0.01, 1, 0.51])
