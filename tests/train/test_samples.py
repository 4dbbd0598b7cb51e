"""The reference sampler's pairs begin as those of `seas-gen` with the same seed."""

import numpy as np
import pytest
import torch
from PIL import Image

from seas_runtime.bundle.conditioning import Conditioning
from seas_runtime.bundle.manifest import Start
from seas_runtime.errors import OutputError, SettingsError
from seas_runtime.sampling.pairs import Plan, draw_pair, start_latent
from seas_train import reference, run_folder, samples
from seas_train.reference import SampleSettings
from tests.limits import files_of_at_most

SETTINGS = SampleSettings(steps=2, mask_steps=1)


@pytest.fixture(scope="module")
def run(tuned):
    return run_folder.load(tuned)


def order(run, seed=7, count=12, batch=5):
    return samples.Order(run.facts.defects, count, seed, batch, 0.5)


@pytest.mark.parametrize("seed", [0, 7, 2**63])
def test_the_same_type_normal_image_and_start_as_the_runtime_s(run, seed):
    empty = np.zeros((1, 1), np.float32)
    conditioning = Conditioning({}, empty, empty, run.normal_mean.numpy(), run.normal_std.numpy(), {}, {})
    start = Start(signal=run.facts.tune.signal, noise=run.facts.tune.noise)
    plan = Plan(run.facts.defects, seed, 12, 5)
    normals = set()
    for index in range(12):
        ours, theirs = samples.draw(run, order(run, seed), index), draw_pair(plan, index, 0, len(run.normal_mean))
        assert (ours.index, ours.defect, ours.normal) == (theirs.index, theirs.defect, theirs.normal)
        begun = run.facts.tune.signal * ours.latent + run.facts.tune.noise * ours.noise  # as the reference sampler begins
        assert np.array_equal(begun.numpy(), start_latent(theirs, conditioning, start))
        normals.add(ours.normal)
    assert len(normals) > 1


def test_what_is_drawn_is_what_is_sampled(run, monkeypatch):
    given, whole = [], reference.sample
    monkeypatch.setattr(reference, "sample", lambda *arguments: given.append(arguments) or whole(*arguments))
    made = list(samples.pairs(run, order(run), SETTINGS))
    assert [pair.index for pair in made] == list(range(12))
    assert [len(defects) for _, defects, *_ in given] == [5, 5, 2]
    drawn = [samples.draw(run, order(run), index) for index in range(12)]
    assert [pair.defect for pair in made] == [d.defect for d in drawn] == [name for _, defects, *_ in given for name in defects]
    for at, part in ((2, "latent"), (3, "noise")):
        assert torch.equal(torch.cat([arguments[at] for arguments in given]), torch.stack([getattr(d, part) for d in drawn]))


def test_a_seed_beyond_the_stream_s(run):
    with pytest.raises(SettingsError, match="seed"):
        samples.draw(run, order(run, 2**64), 0)


def test_a_picture_is_there_whole_or_not_at_all(run, tmp_path):
    with files_of_at_most(64), pytest.raises(OSError, match="large"):
        samples.write(run, tmp_path, order(run, count=1), SETTINGS)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    samples.write(run, tmp_path, order(run, count=1), SETTINGS)
    defect = run.facts.defects[0]
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert names == [f"{defect}/000000.png", f"{defect}/000000_mask.png", "sheet.png"]


def test_a_type_s_name_that_leads_out_of_the_folder(run, tmp_path, monkeypatch):
    stray = samples.Pair(0, "../../stray", *[Image.new("L", (8, 8))] * 2)
    monkeypatch.setattr(samples, "pairs", lambda *_: iter([stray]))
    with pytest.raises(OutputError, match="leads out of"):
        samples.write(run, tmp_path / "out", samples.Order(("../../stray",), 1, 0, 1, 0.5), SampleSettings())
    assert not list(tmp_path.rglob("*.png"))
