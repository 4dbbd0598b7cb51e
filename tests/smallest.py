"""The smallest model and trainings, for all tests that need one. Widths differ, so that no two layers are taken for each other."""

from seas_train.config import MaskSettings, TuneSettings
from seas_train.models.components import Geometry

GEOMETRY = Geometry(
    image_size=64,
    latent_channels=4,
    unet_channels=(8, 16, 24, 32),
    unet_layers=1,
    unet_heads=2,
    unet_groups=4,
    vae_channels=(4, 8, 12, 16),
    vae_layers=1,
    vae_groups=4,
    text_width=16,
    text_layers=1,
    text_heads=2,
    prompt_length=24,
)
CAPTIONS = ("a bottle", "a bottle with crack", "a object", "an object with defect")
TUNE = TuneSettings(steps=4, checkpoint_every=2, log_every=1, normals=2, unet_lr=1e-3, embedding_lr=1e-2)
MASKS = MaskSettings(steps=3, checkpoint_every=2, log_every=1, up2_width=8, up3_width=8, layers=1, heads=2, groups=4)
