"""A model of the smallest sizes, a demo data set, and one run through both trainings."""

from pathlib import Path

import pytest
import torch

from seas_train import masks, tune
from seas_train.config import MaskSettings, TuneSettings
from seas_train.data import demo, layouts
from seas_train.data.layouts import Product
from seas_train.models import components
from seas_train.models.components import Components, Geometry

SMALL = Geometry(
    image_size=64,
    latent_channels=4,
    unet_channels=(16, 16, 16, 16),
    unet_layers=1,
    unet_heads=2,
    unet_groups=4,
    vae_channels=(8, 8, 8, 8),
    vae_layers=1,
    vae_groups=4,
    text_width=16,
    text_layers=1,
    text_heads=2,
    prompt_length=24,
)
CAPTIONS = ("a bottle", "a bottle with crack", "a object", "an object with defect")
TUNE = TuneSettings(steps=4, checkpoint_every=2, log_every=1, normals=2, unet_lr=1e-3, embedding_lr=1e-2)
MASKS = MaskSettings(
    steps=3, checkpoint_every=2, log_every=1, up2_width=8, up3_width=8, layers=1, heads=2, groups=4
)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a base model with random weights."""
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    components.build(SMALL, CAPTIONS).save(folder)
    return folder


@pytest.fixture
def model(base: Path) -> Components:
    return components.load(base)


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Product:
    folder = tmp_path_factory.mktemp("data")
    demo.write(folder, "bottle", 64, normals=3, per_defect=3, test_normals=1)
    return layouts.read(folder / "bottle")


@pytest.fixture
def tune_settings() -> TuneSettings:
    return TUNE


@pytest.fixture
def mask_settings() -> MaskSettings:
    return MASKS


@pytest.fixture(scope="session")
def tuned(base: Path, product: Product, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, tuned in four steps and with a mask branch of three. Read only."""
    folder = tmp_path_factory.mktemp("runs") / "tuned"
    tune.train(product, str(base), folder, TUNE, {"licence": "CC0"})
    masks.train(folder, product, MASKS)
    return folder
