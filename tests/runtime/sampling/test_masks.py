import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from seas_runtime.sampling.masks import Gate, agreement, area, bounding_box, threshold_mask


@given(arrays(np.float32, (3, 2, 4, 5), elements=st.floats(0, 1, width=32)), st.floats(0.05, 0.95))
def test_mask_is_the_mean_above_the_threshold(probabilities, threshold):
    mask = threshold_mask(list(probabilities), threshold)
    assert mask.dtype == np.uint8
    for place in np.ndindex(2, 4, 5):
        mean = sum(float(step[place]) for step in probabilities) / 3
        if abs(mean - threshold) > 1e-6:
            assert mask[place] == (255 if mean > threshold else 0)


@given(arrays(np.uint8, (6, 7), elements=st.sampled_from([0, 255])))
def test_area_and_box_count_pixels(mask):
    pixels = [(x, y) for y in range(6) for x in range(7) if mask[y, x]]
    assert area(mask) == len(pixels)
    if pixels:
        left, top = min(x for x, _ in pixels), min(y for _, y in pixels)
        right, bottom = max(x for x, _ in pixels), max(y for _, y in pixels)
        assert bounding_box(mask) == [left, top, right - left + 1, bottom - top + 1]


@pytest.mark.parametrize(
    ("pixels", "verdict"),
    [
        (0, "empty"),
        (1, "too small"),
        (4, "too small"),
        (5, "ok"),
        (50, "ok"),
        (51, "too large"),
        (100, "too large"),
    ],
)
def test_gate(pixels, verdict):
    mask = np.zeros(100, np.uint8)
    mask[:pixels] = 255
    assert Gate(5, 0.5).verdict(mask.reshape(10, 10)) == verdict
    unsure = "unsure" if verdict == "ok" else verdict  # what is wrong with the mask itself is said first
    assert Gate(5, 0.5, 0.7).verdict(mask.reshape(10, 10), 0.69) == unsure
    assert Gate(5, 0.5, 0.7).verdict(mask.reshape(10, 10), 0.7) == verdict


@given(arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5)), elements=st.sampled_from([0, 255])))
def test_agreement_is_what_all_mark_over_what_any_marks(masks):
    pixels = list(np.ndindex(masks.shape[1:]))
    every, some = (sum(f(mask[pixel] for mask in masks) for pixel in pixels) for f in (all, any))
    found = agreement(masks)
    assert found == pytest.approx(every / some if some else 1.0)
    assert (found == 1) == all((mask == masks[0]).all() for mask in masks)
