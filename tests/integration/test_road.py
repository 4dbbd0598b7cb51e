"""The whole road with real parts: a small trained run, its bundle, and pairs out of it, against the PyTorch reference."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from seas_export import bundle as exporter
from seas_export.cli import main as export_command
from seas_runtime.backends import open_backend
from seas_runtime.bundle import read_bundle
from seas_runtime.manifest import Defaults
from seas_runtime.masks import Gate
from seas_runtime.noise import POSTERIOR, START
from seas_runtime.pairs import Plan, draw_pair
from seas_runtime.sampler import Model, Sampling, generate
from seas_runtime.schedule import solver_table
from seas_train import masks, reference, run, tune
from seas_train.config import MaskSettings, TuneSettings
from seas_train.data import demo, layouts
from seas_train.models import components

SMALL = components.Geometry(
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
STEPS = 6
GUIDANCE = 3.0
DEFAULTS = Defaults(steps=STEPS, guidance=GUIDANCE, threshold=0.5, mask_steps=3)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A run folder: random base, two steps of fine-tuning and of the mask branch."""
    root = tmp_path_factory.mktemp("road")
    demo.write(root / "data", size=64, normals=5, per_defect=3, test_normals=1)
    product = layouts.read(root / "data" / "bottle")
    torch.manual_seed(0)
    components.build(SMALL, ["an object", "a defect"]).save(root / "base")
    tune.train(product, str(root / "base"), root / "run", TuneSettings(steps=2), {"licence": "test"})
    masks.train(root / "run", product, MaskSettings(steps=2, up2_width=8, up3_width=8, layers=1, heads=2))
    return root / "run"


@pytest.fixture(scope="module")
def plan(tuned):
    out = tuned.parent / "small.plan"
    exporter.export(tuned, out, exporter.ExportSettings(half=True, defaults=DEFAULTS), lambda _stage: None)
    return out


def pairs_of(plan, count, batch, threshold):
    bundle = read_bundle(plan)
    model = Model(open_backend("cpu", bundle, 1), bundle.conditioning, bundle.manifest.start)
    order = Plan(bundle.manifest.defect_names, seed=3, count=count, batch=batch)
    table = solver_table(bundle.manifest.schedule, STEPS)
    sampling = Sampling(table, GUIDANCE, 3, threshold, Gate(min_area=0, max_area=1.0), retries=0)
    return [sample for samples in generate(model, order, sampling) for sample in samples]


def iou(a, b):
    union = np.logical_or(a, b).sum()
    return 1.0 if union == 0 else np.logical_and(a, b).sum() / union


@pytest.fixture(scope="module")
def truth(tuned, plan):
    """What the PyTorch sampler makes of the same rounded weights, latents and noise, for eight pairs."""
    conditioning = read_bundle(plan).conditioning
    rounded = run.load(tuned)
    exporter.to_onnx.round_to_half([rounded.model.unet, rounded.model.vae, rounded.rmp])
    order = Plan(rounded.facts.defects, seed=3, count=8, batch=8)
    drawn = [draw_pair(order, i, 0, len(conditioning.mean)) for i in range(8)]
    mean, std = (np.stack([part[p.normal] for p in drawn]) for part in (conditioning.mean, conditioning.std))
    posterior = np.stack([p.stream.normals(POSTERIOR, mean.shape[1:]) for p in drawn])
    noise = torch.from_numpy(np.stack([p.stream.normals(START, mean.shape[1:]) for p in drawn]))
    settings = reference.SampleSettings(steps=STEPS, guidance=GUIDANCE, mask_steps=3)
    normal = torch.from_numpy(mean + std * posterior)
    return reference.sample(rounded, [p.defect for p in drawn], normal, noise, settings)


def test_bundle_makes_the_pairs_of_the_pytorch_sampler(plan, truth):
    threshold = float(truth.probability.median())
    samples = pairs_of(plan, 8, 8, threshold)
    images = ((truth.images.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    for sample, image, probability in zip(samples, images, truth.probability[:, 0].numpy(), strict=True):
        error = np.mean((sample.image - np.rint(image)) ** 2)
        assert error == 0 or 10 * np.log10(255**2 / error) >= 50
        assert iou(sample.mask > 0, probability >= threshold) >= 0.99


def test_every_batch_size_gives_the_same_pairs(plan, truth):
    threshold = float(truth.probability.median())
    one, three, eight = (pairs_of(plan, 8, batch, threshold) for batch in (1, 3, 8))
    for a, b, c in zip(one, three, eight, strict=True):
        for other in (b, c):
            assert np.abs(a.image.astype(int) - other.image).max() <= 1
            assert iou(a.mask > 0, other.mask > 0) >= 0.99


def test_console_commands_make_a_data_set(plan, tmp_path):
    code = "import sys; from seas_runtime.cli import generate; sys.exit(generate())"
    options = ["--engine", str(plan), "--count", "4", "--out", str(tmp_path / "o"), "--max-area", "1"]
    options += ["--threshold", "0.001"]  # an untrained head: any mask will do
    done = subprocess.run([sys.executable, "-c", code, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "o" / "metadata.jsonl").read_text().splitlines()]
    assert [line["defect"] for line in lines] == ["broken_large", "broken_small", "contamination", "broken_large"]
    for line in lines:
        with Image.open(tmp_path / "o" / line["file_name"]) as image:
            assert (image.size, image.mode) == ((64, 64), "RGB")


def test_bundle_is_small_and_carries_no_folder_names(plan):
    manifest = read_bundle(plan).manifest
    assert manifest.provenance["licence"] == "test"
    assert max(max(outputs.values()) for outputs in manifest.parity.values()) <= 1e-4
    stored = sum(file.stat().st_size for file in plan.glob("*.onnx"))
    assert str(Path.home()).encode() not in b"".join(file.read_bytes() for file in plan.glob("*.onnx"))
    assert stored < 3_000_000


def test_weights_are_stored_once(plan, tuned):
    model = run.load(tuned)
    modules = [model.model.unet, model.model.vae.decoder, model.model.vae.post_quant_conv, model.rmp]
    weights = sum(p.numel() for m in modules for p in m.parameters()) * 2
    assert (plan / "weights.bin").stat().st_size <= 1.25 * weights  # 64-byte alignment of many small tensors


def test_full_precision_graph_matches_pytorch_on_unseen_inputs(tuned, tmp_path):
    model = run.load(tuned)
    wrapper = exporter.wrappers(model)["decoder"]
    with exporter.to_onnx.WeightStore(tmp_path) as store:
        exporter.to_onnx.export(wrapper, tmp_path, store, half=False)
    latent = torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(9))
    session = ort.InferenceSession(tmp_path / "decoder.onnx", providers=["CPUExecutionProvider"])
    (image,) = session.run(None, {"latent": latent.numpy()})
    vae = model.model.vae
    with torch.no_grad():
        truth = vae.decode(latent / vae.config.scaling_factor).sample.numpy()
    assert np.linalg.norm(image - truth) <= 1e-4 * np.linalg.norm(truth)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["missing", "--out", "x.plan"], 3, "no such folder"),
        (["{run}", "--out", "{run}"], 5, "exists already"),
        (["{run}", "--out", "x.plan", "--steps", "2"], 2, "--mask-steps 3 is more than --steps 2"),
    ],
)
def test_export_refuses_bad_input(tuned, tmp_path, monkeypatch, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(export_command, [a.format(run=tuned) for a in arguments])
    assert result.exit_code == code
    assert words in result.output
    assert list(tmp_path.iterdir()) == []


def test_export_refuses_nan_weights_and_leaves_nothing(tuned, tmp_path):
    broken = tmp_path / "run"
    shutil.copytree(tuned, broken)
    model = components.load(broken)
    with torch.no_grad():
        next(model.unet.parameters()).view(-1)[0] = float("nan")
    model.unet.save_pretrained(broken / "unet")
    result = CliRunner().invoke(export_command, [str(broken), "--out", str(tmp_path / "x.plan")])
    assert result.exit_code == 3
    assert "NaN" in result.output
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_bundle_without_mask_branch_is_refused(tuned, tmp_path):
    bare = tmp_path / "run"
    shutil.copytree(tuned, bare, ignore=shutil.ignore_patterns("rmp"))
    result = CliRunner().invoke(export_command, [str(bare), "--out", str(tmp_path / "x.plan")])
    assert result.exit_code == 3
    assert "seas-train masks" in result.output
