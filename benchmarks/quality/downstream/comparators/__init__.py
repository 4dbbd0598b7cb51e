"""Other ways to make image-mask pairs, from the same few images: what a generator must beat."""

from benchmarks.quality.downstream.comparators import crop_paste, perlin, placed, poisson, standard
from benchmarks.quality.downstream.comparators.protocol import Comparator

COMPARATORS: dict[str, Comparator] = {
    "standard": standard.make,
    "crop-paste": crop_paste.make,
    "placed": placed.make,
    "perlin": perlin.make,
    "poisson": poisson.make,
}
"""Every comparator by name."""
