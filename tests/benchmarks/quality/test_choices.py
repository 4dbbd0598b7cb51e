"""What a report decides by itself: the pose from the normal images, the steps from the time, once for a folder."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmarks.quality import choices, timing
from benchmarks.quality.choices import Pose, Speed
from benchmarks.quality.metrics import efficientnet
from benchmarks.quality.real import Real
from seas_runtime.errors import DataError, OutputError
from seas_train.data.layouts import Product, Record

FAST = Speed(0.2, 0.1, {"small": 0.05})
FACTOR = {"vae": 0.2, "unet": 0.1, "sharpen": 0.4, "tune": 0.12, "masks": 0.4}
"""Seconds of a step at that speed."""


def disc(side=64, spot=None):
    """A bright disc on dark ground, with a dark square at `spot`."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    image = np.where(x**2 + y**2 < 400, 200.0, 40.0)
    if spot is not None:
        image[spot] = 40.0
    return image


def noisy(images, seed=0):
    return np.stack(images) + np.random.default_rng(seed).normal(0, 4, (len(images), 64, 64))


def test_a_disc_may_lie_anyhow():
    assert Pose.of(noisy([disc()] * 10)).turned


def test_a_mark_on_one_side_fixes_the_pose_unless_it_is_anywhere():
    marked = disc(spot=(slice(14, 26), slice(20, 44)))
    fixed = Pose.of(noisy([marked] * 12))
    assert not fixed.turned
    assert fixed.asymmetry > choices.ASYMMETRY
    assert Pose.of(noisy([np.rot90(marked, turns) for turns in range(4)] * 3)).turned


def test_brushed_metal_may_not_be_turned():
    rows = np.random.default_rng(1).normal(100, 30, (12, 1, 64)).repeat(64, axis=1)
    grain = Pose.of(noisy(rows))
    assert not grain.turned
    assert grain.grain > 0.5
    assert Pose.of(np.random.default_rng(2).normal(100, 30, (12, 64, 64))).turned


def test_images_of_one_grey_have_a_pose_too():
    assert Pose.of(np.full((3, 64, 64), 7.0)).turned


@pytest.fixture
def real(tmp_path):
    """A product of five normal images and an anomaly a pixel wide."""

    def image(name, pixels):
        Image.fromarray(np.asarray(pixels, np.uint8)).save(tmp_path / name)
        return tmp_path / name

    normals = tuple(Record(image(f"{number}.png", disc())) for number in range(5))
    mask = np.zeros((64, 64))
    mask[30:50, 30] = 255
    few = (Record(image("bad.png", disc()), image("bad_mask.png", mask), "scratch"),)
    product = Product("disc", tmp_path, "mvtec", normals, (), few)
    return Real(product, few, normals, few, normals)


@given(st.floats(20, 600), st.integers(1, 5), st.floats(0.2, 4))
def test_the_steps_fit_the_time(minutes, seeds, slower):
    speed = Speed(slower * FAST.vae, slower * FAST.unet, {"small": slower * 0.05})
    chosen = choices.decide(noisy([disc()] * 3), nothing(), minutes, 128, seeds, speed)
    trained = sum(getattr(chosen.effort, name) * slower * seconds for name, seconds in FACTOR.items())
    segmented = seeds * timing.TRAININGS * chosen.segmenter_steps * slower * 0.05
    least = seeds * timing.TRAININGS * choices.SEGMENTER_STEPS[0] * slower * 0.05
    fewest = sum(choices.FEWEST[name] * slower * seconds for name, seconds in FACTOR.items())
    available = 60 * minutes * (1 - choices.REST)
    assert trained + segmented <= max(available, least) + fewest + 1
    capped = chosen.effort.vae == choices.MOST["vae"]
    assert capped or trained + segmented >= 0.8 * available or least + fewest > 0.8 * available


def test_a_choice_is_made_once_and_says_why(real, tmp_path):
    first = choices.choose(real, 60, 128, 3, tmp_path / "work", ("small",), lambda *_: FAST)
    said = " ".join(first.reasons)
    assert "seen in any pose" in said
    assert "1 of 1 training anomalies are narrower than a latent cell" in said
    assert "Steps for 60 minutes" in said
    again = choices.choose(real, 60, 128, 3, tmp_path / "work", ("small",), lambda *_: pytest.fail("measured again"))
    assert again == first


def test_another_choice_is_refused_where_a_report_was_begun(real, tmp_path):
    choices.choose(real, 60, 128, 3, tmp_path, ("small",), lambda *_: FAST)
    with pytest.raises(OutputError, match="minutes"):
        choices.choose(real, 90, 128, 3, tmp_path, ("small",), lambda *_: FAST)
    with pytest.raises(OutputError, match="networks"):
        choices.choose(real, 60, 128, 3, tmp_path, ("small", "efficientnet"), lambda *_: FAST)
    (tmp_path / choices.CHOSEN).write_text(json.dumps({"asked": {}}))
    with pytest.raises(DataError, match="expected what an earlier report chose; remove it"):
        choices.choose(real, 60, 128, 3, tmp_path, ("small",), lambda *_: FAST)


def test_a_product_without_normal_images(real, tmp_path):
    bare = Real(real.product, real.few, (), real.held_out, ())
    with pytest.raises(DataError, match="found no normal images"):
        choices.choose(bare, 60, 128, 3, tmp_path, speed=lambda *_: FAST)


def nothing():
    return Real(Product("x", Path(), "mvtec", (), (), ()), (), (), (), ())


def test_two_networks_share_the_time():
    two = Speed(0.2, 0.1, {"small": 0.25, "efficientnet": 0.35})
    chosen = choices.decide(noisy([disc()] * 3), nothing(), 170, 128, 3, two)
    assert chosen.networks == ("small", "efficientnet")
    of_both = timing.TRAININGS * 0.25 + timing.MORE * 0.35  # the second is trained with all pairs alone
    taken = chosen.segmenter_steps * 3 * of_both
    assert taken == pytest.approx(0.45 * 170 * 60, rel=0.01)
    assert f"segmenters small and efficientnet {chosen.segmenter_steps}, 3 seeds" in chosen.reasons[-1]


def test_the_second_network_waits_for_more_time_unless_it_is_asked_for():
    slow = Speed(0.2, 0.1, {"small": 0.25, "efficientnet": 2.0})
    chosen, asked = (choices.decide(noisy([disc()] * 3), nothing(), 170, 128, 3, slow, keep) for keep in (False, True))
    assert chosen.networks == ("small",)
    assert "no time to train efficientnet too; --network efficientnet or more --minutes do" in " ".join(chosen.reasons)
    assert asked.networks == ("small", "efficientnet")


def test_the_pretrained_network_is_usual_where_its_weights_are(monkeypatch):
    assert choices.usual() == ("small", "efficientnet")
    monkeypatch.setattr(efficientnet, "MODULE", "no_such_module_of_weights")
    assert choices.usual() == ("small",)


def test_this_machine_is_measured():
    found = timing.measure(32, ("small", "efficientnet"))
    assert min(found.vae, found.unet, *found.segmenters.values()) > 0
    assert list(found.segmenters) == ["small", "efficientnet"]


def test_segmenters_have_the_time_that_the_generator_left(real, tmp_path):
    chosen = choices.choose(real, 100, 128, 3, tmp_path, ("small",), lambda *_: FAST)
    trainings, step = 3 * timing.TRAININGS, 0.5
    steps, said = choices.refit(tmp_path, 60 * 57, lambda side, networks: {"small": step})
    assert steps == int((97 - 57) * 60 / (trainings * step))
    assert f"have {steps} steps in place of {chosen.segmenter_steps}" in said
    again = choices.refit(tmp_path, 60 * 90, lambda *_: pytest.fail("measured again"))
    assert again == (steps, said)
    assert choices.choose(real, 100, 128, 3, tmp_path, ("small",), lambda *_: pytest.fail("chosen again")) == chosen


@pytest.mark.parametrize(("minutes", "steps"), [(99, choices.SHORTEST), (500, choices.SHORTEST), (0, choices.SEGMENTER_STEPS[1])])
def test_never_fewer_than_what_means_something_nor_more_than_help(real, tmp_path, minutes, steps):
    choices.choose(real, 100, 128, 3, tmp_path, ("small",), lambda *_: FAST)
    assert choices.refit(tmp_path, 60 * minutes, lambda *_: {"small": 0.05})[0] == steps
