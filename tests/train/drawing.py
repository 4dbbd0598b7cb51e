"""Batches as the stages of fine-tuning draw them."""

from seas_train.data.dataset import ImageSet, step_generator
from seas_train.models.components import Components
from seas_train.training import batches
from seas_train.training.batches import Batch, Drawn, Draws


def noise_for(model: Components, batch: Batch, seed: int = 0, below: int = 1000) -> Draws:
    """Noise and timesteps for a batch's latents, from a generator of their own."""
    return batches.draws(batch, model.latent_shape, below, step_generator(seed, 0))


def drawn(model: Components, images: tuple[ImageSet, ImageSet], counts: tuple[int, int], step: int = 0) -> Drawn:
    """What step `step` of seed 0 sees."""
    generator = step_generator(0, step)
    batch = batches.sample_batch(*images, counts, True, generator)
    return batch, batches.draws(batch, model.latent_shape, 1000, generator)
