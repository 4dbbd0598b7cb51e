"""The pieces of a kept background, against SciPy's morphology and values worked by hand."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from seas_runtime.bundle.manifest import Schedule
from seas_runtime.errors import SettingsError
from seas_runtime.sampling import background
from seas_runtime.sampling.solver import solver_table

SCHEDULE = Schedule(
    beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", train_steps=1000, spacing="linspace", final="zero"
)
MASKS = arrays.arrays(bool, (16, 16)).map(lambda marked: np.where(marked, 255, 0).astype(np.uint8))


@given(MASKS, st.integers(0, 4))
def test_a_mask_grows_by_a_square(mask, pixels):
    expected = ndimage.binary_dilation(mask > 0, np.ones((2 * pixels + 1,) * 2)) if pixels else mask > 0
    np.testing.assert_array_equal(background.grow(mask, pixels) > 0, expected)


@given(MASKS.filter(lambda mask: mask.any()), st.integers(1, 5))
def test_the_edge_falls_with_the_chessboard_distance(mask, width):
    distance = ndimage.distance_transform_cdt(mask == 0, "chessboard")
    expected = np.clip(1 - distance / width, 0, 1)
    np.testing.assert_allclose(background.soft(mask, width), expected, atol=1e-6)


@given(MASKS, arrays.arrays(np.uint8, (16, 16, 3)), arrays.arrays(np.uint8, (16, 16, 3)))
def test_far_from_the_mask_the_photograph_is_kept_to_the_bit_and_on_it_the_image(mask, image, photograph):
    joined = background.paste(image, photograph, background.soft(mask, 3))
    np.testing.assert_array_equal(joined[mask > 0], image[mask > 0])
    far = background.grow(mask, 3) == 0
    np.testing.assert_array_equal(joined[far], photograph[far])
    low, high = np.minimum(image, photograph), np.maximum(image, photograph)
    assert ((low <= joined) & (joined <= high)).all()


def test_a_cell_that_a_mask_touches_is_inside():
    mask = np.zeros((16, 16), np.uint8)
    mask[7, 8] = 255
    expected = np.zeros((4, 4))
    expected[1, 2] = 1
    np.testing.assert_array_equal(background.at_latent(mask, 4), expected)


def test_latents_inside_are_generated_and_outside_kept():
    masks = np.array([[[0, 1], [0, 0]]], np.float32)
    blended = background.blend(np.full((1, 3, 2, 2), 5, np.float32), np.full((1, 3, 2, 2), 7, np.float32), masks)
    np.testing.assert_array_equal(blended, np.broadcast_to([[[7, 5], [7, 7]]], (1, 3, 2, 2)))


@pytest.mark.parametrize(("strength", "timestep"), [(1.0, 999), (0.5, 480), (0.05, 40)])
def test_a_run_begins_at_the_first_timestep_of_its_strength(strength, timestep):
    table = solver_table(SCHEDULE, 25)
    assert table.timesteps[background.first_step(table, strength)] == timestep


def test_too_little_strength():
    """What is said to be enough is: 40 / 999 = 0.0400 is not, were it rounded down."""
    table = solver_table(SCHEDULE, 25)
    with pytest.raises(SettingsError, match=r"--strength 0.01 found, at least 0.041 expected"):
        background.first_step(table, 0.01)
    assert background.first_step(table, 0.041) == 24


@given(st.integers(3, 1500), st.integers(0))
def test_the_least_strength_that_is_named_leaves_a_step(train_steps, number):
    steps = 2 + number % (train_steps - 2)  # with one step the least is all of it
    table = solver_table(SCHEDULE.model_copy(update={"train_steps": train_steps}), steps)
    with pytest.raises(SettingsError) as caught:
        background.first_step(table, 1e-6)
    least = float(caught.value.message.split("at least ")[1].split()[0])
    assert background.first_step(table, least) < steps


def test_a_512_pixel_mask_is_softened_in_no_time():
    """By rank filters of growing size it took 14 s."""
    mask = np.zeros((512, 512), np.uint8)
    mask[200:300, 180:260] = 255
    began = time.process_time()
    background.soft(mask, background.edge(512))
    assert time.process_time() - began < 2
