"""Forty odd bases: each is refused at the door, before weights are read, with one line and exit code 3."""

import json
import shutil
import struct

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from seas_train.cli import main
from tests.train.models import originals
from tests.train.models.originals import FIRST, SECOND

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3438167536\n"
UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A good folder and a good single file. Read only."""
    root = tmp_path_factory.mktemp("whole")
    model = originals.build(FIRST)
    model.save(root / "base")
    originals.single_file(model, root / "base.safetensors")
    return root


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole / "base", tmp_path / "base")


def change(folder, part, **values):
    path = folder / part / ("scheduler_config.json" if part == "scheduler" else "config.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def index(folder, name):
    (folder / "model_index.json").write_text(json.dumps({"_class_name": name}))


def cut(path, keep):
    """The first bytes of a file, or without the last ones where negative."""
    path.write_bytes(path.read_bytes()[:keep])


def without(folder, part):
    shutil.rmtree(folder / part)


def tokens(folder, names):
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    vocabulary = {**model["vocab"], **{name: len(model["vocab"]) + i for i, name in enumerate(names)}}
    merges = [tuple(pair) for pair in model["merges"]]
    CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=24).save_pretrained(folder / "tokenizer")


def shards(folder):
    """Two shards, of which the second did not arrive."""
    state = load_file(folder / UNET)
    (folder / UNET).unlink()
    names = {name: f"diffusion_pytorch_model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(state)}
    first = sorted(set(names.values()))[0]
    save_file({k: v for k, v in state.items() if names[k] == first}, folder / "unet" / first)
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


FOLDERS = {
    "inpainting": (lambda f: change(f, "unet", in_channels=9), "an inpainting model"),
    "inpainting by its index": (
        lambda f: index(f, "StableDiffusionInpaintPipeline"),
        "an inpainting model (StableDiffusionInpaint",
    ),
    "depth": (lambda f: change(f, "unet", in_channels=5), "a depth-to-image model"),
    "editing": (lambda f: change(f, "unet", in_channels=8), "an image-editing model"),
    "other channels": (lambda f: change(f, "unet", in_channels=7), "7 in and 4 out, expected one number"),
    "another VAE": (lambda f: change(f, "vae", latent_channels=16), "the VAE has 16 latent channels"),
    "SDXL by its index": (lambda f: index(f, "StableDiffusionXLPipeline"), "Stable Diffusion XL (StableDiffusionXLPipeline)"),
    "SDXL by its U-Net": (lambda f: change(f, "unet", addition_embed_type="text_time"), "Stable Diffusion XL or alike"),
    "SD3": (lambda f: (index(f, "StableDiffusion3Pipeline"), without(f, "unet")), "Stable Diffusion 3 (StableDiffusion3"),
    "Flux": (lambda f: (index(f, "FluxPipeline"), without(f, "unet")), "a Flux model (FluxPipeline)"),
    "upscaler": (lambda f: index(f, "StableDiffusionUpscalePipeline"), "an upscaler"),
    "unCLIP": (lambda f: change(f, "unet", class_embed_type="projection"), "class_embed_type 'projection'"),
    "distilled": (lambda f: change(f, "unet", time_cond_proj_dim=256), "a model distilled to few steps"),
    "three levels": (
        lambda f: change(f, "unet", down_block_types=["DownBlock2D"] * 3, up_block_types=["UpBlock2D"] * 3),
        "found a U-Net of 3 levels",
    ),
    "not square": (lambda f: change(f, "unet", sample_size=[64, 96]), "found a U-Net with sample_size [64, 96]"),
    "VAE of 16": (lambda f: change(f, "vae", block_out_channels=[32] * 5), "an autoencoder of 5 levels, expected 4"),
    "tiny VAE": (lambda f: change(f, "vae", _class_name="AutoencoderTiny"), "an autoencoder of class AutoencoderTiny"),
    "shifted VAE": (lambda f: change(f, "vae", shift_factor=0.1), "an autoencoder with shift_factor"),
    "scaling": (lambda f: change(f, "vae", scaling_factor=0), "scaling_factor 0, expected a positive number"),
    "T5": (lambda f: change(f, "text_encoder", model_type="t5"), "a text encoder of type 't5'"),
    "text width": (lambda f: change(f, "text_encoder", hidden_size=128), "128 wide, the U-Net expects 64"),
    "sample prediction": (
        lambda f: change(f, "scheduler", prediction_type="sample"),
        "prediction_type 'sample', expected 'epsilon'",
    ),
    "flow": (lambda f: change(f, "scheduler", prediction_type="flow_prediction"), "prediction_type 'flow_prediction'"),
    "cosine betas": (lambda f: change(f, "scheduler", beta_schedule="squaredcos_cap_v2"), "beta_schedule 'squaredcos_cap_v2'"),
    "betas of its own": (lambda f: change(f, "scheduler", trained_betas=[0.1] * 1000), "found betas of its own"),
    "falling betas": (lambda f: change(f, "scheduler", beta_start=0.5), "found betas from 0.5 to 0.012"),
    "steps": (lambda f: change(f, "scheduler", num_train_timesteps=500), "a noise schedule of 500 steps, expected 1000"),
    "zero SNR of noise": (lambda f: change(f, "scheduler", rescale_betas_zero_snr=True), "found rescale_betas_zero_snr"),
    "no text encoder": (lambda f: without(f, "text_encoder"), "found no text_encoder/ folder"),
    "a broken config": (lambda f: (f / "unet" / "config.json").write_text('{"in_channels": 4'), "cannot load a base model"),
    "words without rows": (lambda f: tokens(f, ["one", "two"]), "a tokenizer of"),
    "an empty tokenizer": (
        lambda f: [file.unlink() for file in (f / "tokenizer").iterdir()],
        "found a tokenizer without a vocabulary",
    ),
    "another tokenizer": (lambda f: change(f, "text_encoder", vocab_size=49408), "over a text encoder of 49408"),
    "git-lfs": (lambda f: (f / UNET).write_text(LFS), "found a pointer of git-lfs in the place of weights; run `git lfs pull`"),
    "half downloaded": (lambda f: cut(f / UNET, -1000), " bytes, expected "),
    "cut in its header": (lambda f: cut(f / UNET, 200), "found 200 bytes without a header of safetensors"),
    "empty": (lambda f: cut(f / UNET, 0), "found an empty file"),
    "a web page": (
        lambda f: (f / UNET).write_text("<!DOCTYPE html><html>sign in</html>"),
        "found a web page in the place of weights",
    ),
    "a missing shard": (shards, "found no diffusion_pytorch_model-00002-of-00002.safetensors, one of 2 shards"),
    "half a pickle": (
        lambda f: (originals.pickled(f), cut(f / "unet/diffusion_pytorch_model.bin", 9_000)),
        "found 9000 bytes that are no weights of PyTorch",
    ),
    "fp16 alone": (originals.half_variant, "found weights of the variant fp16 alone, expected plain ones; add --variant fp16"),
}


def told(*words):
    result = CliRunner().invoke(main, ["check", "--base", *map(str, words)])
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.exit_code == 3
    return result.stderr


@pytest.mark.parametrize("name", FOLDERS)
def test_folders(copy, name):
    spoil, words = FOLDERS[name]
    spoil(copy)
    said = told(copy)
    assert words in said
    assert "/base" in said


def keys(**shapes):
    return lambda path, _: save_file({name.replace("__", "."): torch.zeros(2, 2) for name in shapes}, path)


def header_too_long(path, _):
    path.write_bytes(struct.pack("<Q", 10**15) + b"{}")


def cut_copy(keep):
    return lambda path, good: path.write_bytes(good.read_bytes()[:keep])


def lacking(word):
    def write(path, good):
        save_file({k: v for k, v in load_file(good).items() if word not in k}, path)

    return write


class Code:
    """What must not run when a checkpoint is read."""

    def __reduce__(self):
        return print, ("ran",)


FILES = {
    "SDXL": (keys(conditioner__embedders__0__x=1), "found Stable Diffusion XL"),
    "SD3": (keys(model__diffusion_model__joint_blocks__0__x=1), "found Stable Diffusion 3"),
    "Flux": (keys(double_blocks__0__x=1), "found a Flux model"),
    "a LoRA": (keys(lora_unet_down__lora_down__weight=1), "found a LoRA, expected a whole model"),
    "a ControlNet": (keys(control_model__x=1), "found a ControlNet"),
    "a U-Net alone": (keys(down_blocks__0__x=1), "found the U-Net alone"),
    "a VAE alone": (keys(encoder__down__0__x=1), "found an autoencoder alone"),
    "nothing known": (keys(a__b=1), "found 1 tensors and no U-Net"),
    "no VAE": (lacking("first_stage_model"), "and no VAE"),
    "no middle": (lacking("input_blocks.1.0.out_layers.3.weight"), "found no tensor"),
    "cut off": (cut_copy(-1000), " bytes, expected "),
    "git-lfs": (lambda path, _: path.write_text(LFS), "found a pointer of git-lfs"),
    "a header too long": (header_too_long, "without a header of safetensors"),
}


@pytest.mark.parametrize("name", FILES)
def test_single_files(whole, tmp_path, name):
    spoil, words = FILES[name]
    path = tmp_path / "odd.safetensors"
    shutil.copytree(whole / "tokenizer", tmp_path / "tokenizer")
    spoil(path, whole / "base.safetensors")
    said = told(path)
    assert words in said
    assert said.startswith(f"Error: {path}: ")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"state_dict": Code()}, "a pickle that runs code"),
        ([1, 2], "holds a list"),
        (b"PK\x03\x04half a zip", "no weights of PyTorch"),
    ],
)
def test_pickles(tmp_path, content, words):
    path = tmp_path / "odd.ckpt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    assert words in told(path)


def test_a_file_of_the_second_version_that_says_nothing(tmp_path):
    path = originals.single_file(originals.build(SECOND), tmp_path / "second.safetensors", True)
    assert "give --prediction v_prediction" in told(path)


def test_places_where_there_is_nothing(tmp_path):
    assert "no such folder or file" in told(tmp_path / "absent.safetensors")
    assert "no such folder" in told(tmp_path / "absent")
    assert "found no unet/ folder" in told(tmp_path)


def test_a_good_one_is_described(whole):
    for path in (whole / "base", whole / "base.safetensors"):
        result = CliRunner().invoke(main, ["check", "--base", str(path), "--size", "64"])
        assert result.exit_code == 0, result.output
        assert "64 x 64 pixels" in result.stdout
        assert "predicts noise" in result.stdout
        assert "betas 0.00085 to 0.012, scaled_linear" in result.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lora", "a.safetensors"], "--lora found without --base"),
        (["--revision", "main"], "--revision found without --base"),
        (["--revision", "main", "--base", "a.ckpt"], "--revision main and the file a.ckpt found; leave --revision out"),
        (["--size", "96"], ""),
    ],
)
def test_what_belongs_to_a_base(words, said, product):
    result = CliRunner().invoke(main, ["check", str(product.root), *words])
    assert said in result.output
    assert result.exit_code == (2 if said else 0)


def test_a_size_that_the_unet_cannot_halve(whole):
    result = CliRunner().invoke(main, ["check", "--base", str(whole / "base"), "--size", "100"])
    assert result.exit_code == 2
    assert "a multiple of 64 expected" in result.output
