"""A run whose masks are of one look, its bundle, and pairs out of it, against the PyTorch reference."""

import shutil

import pytest
from click.testing import CliRunner

from seas_export import bundle, to_onnx
from seas_export.cli import main as export_command
from seas_runtime.bundle.manifest import Defaults
from seas_runtime.bundle.reader import read_bundle
from seas_train import masks, reference, run_folder
from tests.integration.against_reference import drawn, require_alike
from tests.smallest import MASKS

pytestmark = pytest.mark.slow  # an export of minutes; test_student.py exports and runs the same graphs by default
INTERVAL = (0.3, 0.9)


@pytest.fixture(scope="module")
def looking(tuned, product, tmp_path_factory):
    folder = shutil.copytree(tuned, tmp_path_factory.mktemp("looking") / "run")
    masks.train(folder, product, MASKS.model_copy(update={"look": "final", "look_timestep": 17}))
    return folder


@pytest.fixture(scope="module")
def plan(looking, tmp_path_factory):
    out = tmp_path_factory.mktemp("plans") / "look.plan"
    defaults = Defaults(steps=4, guidance=3.0, threshold=0.5, mask_steps=3, guidance_interval=INTERVAL)
    bundle.export(run_folder.load(looking), out, bundle.ExportSettings(True, defaults), lambda _stage: None)
    return out


def test_the_bundle_says_how_and_holds_no_branch_of_steps(plan):
    manifest = read_bundle(plan).manifest
    assert (manifest.look, manifest.defaults.mask_steps, manifest.defaults.guidance_interval) == (17, 1, INTERVAL)
    assert set(manifest.graphs) == {"unet", "vae_decoder", "mask_head", "decoder", "finish"}
    for precision in ("fp32", "fp16"):
        assert set(manifest.parity[precision]["finish"]) == {"image", "probability"}
        assert manifest.parity[precision]["finish"]["probability"]["iou"] >= 0.99


def test_every_step_and_the_look_are_within_the_bounds(looking, plan):
    result = CliRunner().invoke(export_command, [str(looking), "--parity", str(plan)])
    assert result.exit_code == 0, result.output
    assert "ok: 5 steps" in result.output  # four of the solver, and the look
    assert "fp16  finish.image" in result.output


def test_the_bundle_makes_the_pairs_of_the_pytorch_sampler(looking, plan):
    held = read_bundle(plan).conditioning
    run = run_folder.load(looking)
    to_onnx.round_to_half([run.model.unet, run.model.vae, run.rmp])
    draws, normal, noise = drawn(run, held)
    settings = reference.SampleSettings(steps=4, guidance=3.0, interval=INTERVAL)
    truth = reference.sample(run, [draw.defect for draw in draws], normal, noise, settings)
    require_alike(plan, truth)
