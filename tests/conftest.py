"""A small trained run and its bundle, made once and shared by the tests of export and of the whole road. Read only."""

from collections.abc import Iterator
from pathlib import Path

import pytest

DEFECTS = ("broken_large", "broken_small", "contamination")


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What engines keep between runs stays out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tuned_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder: random base, two steps of fine-tuning and of the mask branch; its data beside it in `data`."""
    import torch

    from seas_train import masks, tune
    from seas_train.config import MaskSettings, TuneSettings
    from seas_train.data import demo, layouts
    from seas_train.models import components

    small = components.Geometry(
        image_size=64,
        latent_channels=4,
        unet_channels=(16, 16, 32, 32),
        unet_layers=1,
        unet_heads=2,
        unet_groups=4,
        vae_channels=(8, 8, 16, 16),
        vae_layers=1,
        vae_groups=4,
        text_width=16,
        text_layers=1,
        text_heads=2,
        prompt_length=24,
    )
    root = tmp_path_factory.mktemp("road")
    demo.write(root / "data", size=64, normals=5, per_defect=3, test_normals=1)
    product = layouts.read(root / "data" / "bottle")
    torch.manual_seed(0)
    components.build(small, ["an object", "a defect"]).save(root / "base")
    tune.train(product, str(root / "base"), root / "run", TuneSettings(steps=2), {"licence": "test"})
    masks.train(root / "run", product, MaskSettings(steps=2, up2_width=8, up3_width=8, layers=1, heads=2))
    return root / "run"


@pytest.fixture(scope="session")
def plan(tuned_run: Path) -> Path:
    """The fp16 bundle of `tuned_run`: 6 steps, guidance 3, threshold 0.5, 3 mask steps."""
    from seas_export import bundle
    from seas_runtime.manifest import Defaults
    from seas_train import run

    out = tuned_run.parent / "small.plan"
    defaults = Defaults(steps=6, guidance=3.0, threshold=0.5, mask_steps=3)
    settings = bundle.ExportSettings(half=True, defaults=defaults)
    bundle.export(run.load(tuned_run), out, settings, lambda _stage: None)
    return out
