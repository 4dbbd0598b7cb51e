"""Normal images: from the normal prompt, each of its index alone, with a random stream that no pair has."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import seas_runtime
from seas_runtime import Options
from seas_runtime.errors import SettingsError
from seas_runtime.sampling.noise import Stream
from seas_runtime.sampling.pairs import Draw, draw_pair
from seas_runtime.sampling.recipe import Plan
from seas_runtime.settings import ENDLESS
from tests.runtime.engine_checks import Wide
from tests.runtime.sampling.by_hand import by_hand, levels

LAST = (1 << 63) - 1


@pytest.fixture(scope="module")
def generator(bundle):
    return seas_runtime.open(bundle, "cpu", threads=1)


@given(st.integers(0, 999_999), st.integers(0, LAST), st.integers(0, 3))
def test_no_normal_image_has_the_random_stream_of_a_pair(index, pair, attempt):
    normal = draw_pair(Plan(("good",), 5, 1_000_000, 4), index, 0, 6)
    other = draw_pair(Plan(("crack", "hole"), 5, ENDLESS, 4), pair, attempt, 6)
    assert normal.stream == Stream(5, (1 << 63) + index)
    assert (normal.stream.seed, normal.stream.index) != (other.stream.seed, other.stream.index)


def test_there_is_no_pair_where_the_streams_of_normal_images_begin(generator):
    assert [pair.index for pair in generator.pairs(start=LAST - 1, batch=2, max_area=1.0)] == [LAST - 1, LAST]
    with pytest.raises(SettingsError, match=f"start {LAST + 1} found"):
        generator.pairs(start=LAST + 1)


@pytest.mark.parametrize(("steps", "guidance"), [(6, 2.5), (1, 1.0)])
def test_normal_images_are_those_worked_by_hand(bundle, generator, steps, guidance):
    made = list(generator.normals(5, seed=3, batch=3, steps=steps, guidance=guidance))
    for index, normal in enumerate(made):
        stream = Stream(3, (1 << 63) + index)
        draw = Draw(index, "good", stream.integer(0, 6), stream)
        assert normal.draw == draw
        image, _ = by_hand(bundle, draw, steps, guidance, 1)
        assert np.abs(normal.image - levels(image)).max() < 0.51
        assert (normal.mask.shape, normal.mask.max(), normal.verdict, normal.area) == ((8, 8), 0, "ok", 0)
    assert len(made) == 5
    assert len({normal.image.tobytes() for normal in made}) == 5


@pytest.mark.parametrize(("batch", "workers"), [(1, 1), (3, 1), (8, 1), (1, 3), (8, 3)])
def test_neither_batch_nor_workers_decide_them(bundle, generator, batch, workers):
    whole = list(generator.normals(11, seed=2, batch=5))
    made = list(seas_runtime.Generator(bundle, Wide(bundle, workers)).normals(11, seed=2, batch=batch))
    for ours, theirs in zip(made, whole, strict=True):
        assert ours.draw == theirs.draw
        assert np.abs(ours.image.astype(int) - theirs.image).max() <= 1
    assert not any(np.array_equal(x.image, y.image) for x, y in zip(generator.normals(11, seed=3, batch=5), whole, strict=True))


def test_their_masks_are_not_looked_for(bundle):
    graphs = []
    watched = seas_runtime.Generator(bundle, Wide(bundle, 1, lambda graph, _feeds: graphs.append(graph)))
    assert len(list(watched.normals(3, batch=3, steps=4))) == 3
    assert graphs == ["unet"] * 4 + ["decoder"]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"count": 0}, "--normals N"),
        ({"count": -1}, "normals: -1 is not in the range"),
        ({"count": 1_000_001}, "normals: 1000001 is not in the range 0<=x<=1000000"),
        ({"count": 2.5}, "normals 2.5 found"),
        ({"count": 1, "steps": 100}, "--steps 100 found"),
        ({"count": 1, "background": "real"}, "--background real needs photographs"),
        ({"count": 1, "background": "blue"}, "background: 'blue' is not one of"),
        ({"count": 1, "strength": 0.5}, "--strength 0.5 found without a picture to start from; add --background real"),
    ],
)
def test_what_is_refused(generator, given, named):
    with pytest.raises(SettingsError) as caught:
        generator.normals(**given)
    assert named in caught.value.message
    assert "\n" not in caught.value.message


def test_a_recipe_of_pairs_has_no_normal_images(generator):
    with pytest.raises(SettingsError, match=r"normals 5 found, but these are pairs alone"):
        generator.recipe(Options(count=3, normals=5))


def test_a_closed_generator_makes_none(bundle):
    closed = seas_runtime.Generator(bundle, Wide(bundle, 1))
    closed.close()
    with pytest.raises(ValueError, match="closed"):
        closed.normals(1)
