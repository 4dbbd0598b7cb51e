"""Every way to have a base, from the command line to a pair: tune, masks, export, gen."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner
from safetensors.torch import save_file

from seas_export.cli import main as export
from seas_runtime.cli import generate
from seas_train.cli import main as train
from tests.train.models import originals
from tests.train.models.originals import FIRST, SECOND

MASKS = ("--up2-width", 8, "--up3-width", 8, "--layers", 1, "--heads", 2, "--groups", 4, "--calibrate", "off")
slow = pytest.mark.slow


def second_file(root):
    about = {"modelspec.resolution": "64x64", "modelspec.prediction_type": "v"}
    return [originals.single_file(originals.build(SECOND, prediction="v_prediction"), root / "v.safetensors", True, about)]


def second_file_with_lora(root):
    [path] = second_file(root)
    model = originals.build(SECOND)
    lora = originals.lora_file(originals.lora_layers(model), root / "style.safetensors", "kohya")
    return [path, "--lora", f"{lora}:0.5"]


def first_file(suffix):
    return lambda root: [originals.single_file(originals.build(FIRST), root / f"fine{suffix}"), "--size", 64]


def folder(root, geometry=FIRST, **how):
    model = originals.build(geometry, **how)
    model.save(root / "base")
    return root / "base"


def zero_snr(root):
    from seas_train.models import components

    model = originals.build(SECOND)
    model.scheduler = components.build_scheduler("v_prediction", True)
    model.save(root / "base")
    return [root / "base"]


def own_tokens(root):
    base = folder(root)
    model = originals.build(FIRST)
    model.tokenizer.add_tokens(["<cat>", "<dog>"])
    shutil.rmtree(base / "tokenizer")
    model.tokenizer.save_pretrained(base / "tokenizer")
    import torch

    save_file({"<dog>": torch.full((64,), 0.5)}, base / "learned_embeds.safetensors")
    return [base]


def cached(root):
    originals.hub_cache(folder(root), root / "hub", "someone/fine-tune")
    return ["someone/fine-tune"]


WAYS = {
    "v_prediction in a file, with a LoRA": second_file_with_lora,
    "zero terminal SNR": zero_snr,
    "safetensors": first_file(".safetensors"),
    "ckpt": first_file(".ckpt"),
    "another size": lambda root: [folder(root), "--size", 128],
    # at 64 pixels the lowest level is 1 x 1, where norms of few values magnify fp32's rounding beyond what parity allows
    "fp16": lambda root: [originals.half_variant(folder(root)), "--variant", "fp16", "--size", 128],
    "bin": lambda root: [originals.pickled(folder(root))],
    "hub": cached,
    "tokens of its own": own_tokens,
    "2.1-base": lambda root: [folder(root, SECOND)],
    "told to predict v": lambda root: [folder(root), "--prediction", "v_prediction"],
}


def do(command, *words, hub=None):
    """Run a command; with the cache of a hub in a process of its own, since the libraries look where it is as they are imported."""
    if hub is not None:
        code = f"from {command.callback.__module__} import main; main()"
        environment = {**os.environ, "HF_HUB_CACHE": str(hub), "HF_HUB_OFFLINE": "1"}
        return subprocess.run([sys.executable, "-c", code, *map(str, words)], check=True, env=environment, capture_output=True)
    result = CliRunner().invoke(command, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


def walk(product, root, base, hub=None):
    """A run, its bundle and two pairs; the manifest."""
    do(train, "tune", product.root, "--base", *base, "--out", root / "run", "--steps", 1, "--normal-count", 2, hub=hub)
    do(train, "masks", root / "run", product.root, "--steps", 1, *MASKS)
    do(export, root / "run", "--out", root / "made.plan", "--steps", 3, "--mask-steps", 1)
    any_mask = ("--threshold", 0.001, "--max-area", 1)  # the head has learned nothing
    do(generate, "--engine", root / "made.plan", "--out", root / "pairs", "--count", 2, "--backend", "cpu", *any_mask)
    assert len((root / "pairs" / "metadata.jsonl").read_text().splitlines()) == 2
    return json.loads((root / "made.plan" / "manifest.json").read_text())


@slow
@pytest.mark.parametrize("way", list(WAYS))
def test_from_a_base_to_pairs(way, product, tmp_path):
    manifest = walk(product, tmp_path, WAYS[way](tmp_path), tmp_path / "hub" if way == "hub" else None)
    predicts_v = way in ("v_prediction in a file, with a LoRA", "zero terminal SNR", "told to predict v")
    assert manifest["schedule"].get("prediction") == ("v_prediction" if predicts_v else None)
    assert manifest["schedule"]["spacing"] == ("trailing" if way == "zero terminal SNR" else "linspace")
    assert manifest["geometry"]["image_size"] == (128 if way in ("another size", "fp16") else 64)


@slow
def test_from_a_run_to_pairs(product, tuned, tmp_path):
    """A run of one's own, continued with the same types and again with that: its tokens are learned further."""
    walk(product, tmp_path / "first", [tuned])
    walk(product, tmp_path / "second", [tmp_path / "first" / "run"])
    tokenizer = json.loads((tmp_path / "second" / "run" / "tokenizer" / "tokenizer.json").read_text())
    names = [token["content"] for token in tokenizer["added_tokens"] if token["content"].startswith(("<ob", "<df"))]
    assert len(names) == len(set(names)) == 1 + 4 * len(product.defects)
