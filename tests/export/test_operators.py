"""A bundle of Stable Diffusion's structure is read like any other: no operator of it is missing from the list of those allowed."""

import pytest

from seas_export.bundle import ExportSettings, export
from seas_runtime.bundle.graph_rules import OPERATORS
from seas_runtime.bundle.manifest import Defaults
from seas_runtime.bundle.onnx_wire import survey
from seas_runtime.bundle.reader import read_bundle
from seas_train import run_folder
from seas_train.models.components import GEOMETRIES
from tests.random_run import write
from tests.smallest import MASKS

# Blocks, layers, heads, groups and prompt are those of v1-4, and so is the width of the first level, of which the embedding of a
# timestep is made: whether an exporter folds it into a constant depends on its size. Other widths and the image are small.
SHAPED = GEOMETRIES["sd14"].model_copy(
    update={
        "image_size": 64,
        "unet_channels": (320, 64, 64, 64),
        "vae_channels": (32, 64, 64, 64),
        "text_layers": 1,
    }
)


def test_the_shape_is_that_of_stable_diffusion():
    real = GEOMETRIES["sd14"]
    assert (real.unet_layers, real.unet_heads, real.unet_groups, real.vae_layers, real.vae_groups) == (2, 8, 32, 2, 32)
    for name in ("unet_layers", "unet_heads", "unet_groups", "vae_layers", "vae_groups", "prompt_length", "text_width"):
        assert getattr(SHAPED, name) == getattr(real, name)


@pytest.mark.slow
def test_a_bundle_shaped_as_stable_diffusion_is_read(tmp_path):
    run = run_folder.load(write(tmp_path / "run", SHAPED, MASKS))
    defaults = Defaults(steps=4, guidance=3.0, threshold=0.5, mask_steps=2)
    export(run, tmp_path / "sd.plan", ExportSettings(half=True, defaults=defaults), lambda _stage: None)
    bundle = read_bundle(tmp_path / "sd.plan")
    assert {name for graph in bundle.manifest.graphs.values() for name in graph.files} == {"fp32", "fp16"}
    for data in bundle.graphs.values():
        seen = survey(data)
        assert seen.operators <= OPERATORS
        assert seen.locations == {"weights.bin"}
