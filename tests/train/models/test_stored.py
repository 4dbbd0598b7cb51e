"""Which bases are refused, and what is said of them, before any weights are read."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from diffusers import UNet2DConditionModel
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from seas_runtime.errors import DataError
from seas_train import run_folder
from seas_train.cli import main
from seas_train.models import components
from tests.smallest import GEOMETRY
from tests.train.refusals import data_error


@pytest.fixture
def copy(base, tmp_path) -> Path:
    """A copy of the base, to be spoiled; its weights are gone, so whatever is said was read off the configs."""
    folder = shutil.copytree(base, tmp_path / "copy")
    for file in folder.rglob("*.safetensors"):
        file.unlink()
    return folder


def spoil(folder: Path, part: str, **values: object) -> None:
    name = "scheduler_config.json" if part == "scheduler" else "config.json"
    path = folder / part / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def more_tokens(folder: Path, model, names: list[str]) -> None:
    model.tokenizer.add_tokens(names)
    shutil.rmtree(folder / "tokenizer")
    model.tokenizer.save_pretrained(folder / "tokenizer")


def test_a_base_of_ours_is_taken(copy, model):
    found = components.inspect(copy)
    assert found.channels == (4, 4)
    assert found.latent_channels == 4
    assert found.prediction == "epsilon"
    assert found.tokens == found.rows == len(model.text_encoder.get_input_embeddings().weight)


def test_stable_diffusion_s_own_configs_are_taken(copy):
    """What v1-4 states and what it leaves to the libraries' defaults."""
    spoil(copy, "unet", in_channels=4, out_channels=4)
    path = copy / "scheduler" / "scheduler_config.json"
    scheduler = {"_class_name": "PNDMScheduler", "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085}
    path.write_text(json.dumps({**scheduler, "num_train_timesteps": 1000, "skip_prk_steps": True, "steps_offset": 1}))
    assert components.inspect(copy).prediction == "epsilon"


def test_v_prediction(copy):
    spoil(copy, "scheduler", prediction_type="v_prediction")
    assert components.inspect(copy).prediction == "v_prediction"


def test_another_prediction(copy):
    spoil(copy, "scheduler", prediction_type="sample")
    said = data_error(components.inspect, copy)
    assert "found prediction_type 'sample', expected 'epsilon' or 'v_prediction'" in said
    assert "CompVis/stable-diffusion-v1-4" in said
    assert data_error(components.load, copy) == said


@pytest.mark.parametrize(
    ("channels", "words"),
    [(9, "the U-Net 9 in and 4 out (an inpainting model), expected one"), (7, "the U-Net 7 in and 4 out, expected one")],
)
def test_channels_that_are_not_the_latents(copy, channels, words):
    spoil(copy, "unet", in_channels=channels)
    said = data_error(components.inspect, copy)
    assert words in said
    assert ("stable-diffusion-v1-5/stable-diffusion-v1-5" if channels == 9 else "CompVis/stable-diffusion-v1-4") in said


def test_another_autoencoder(copy):
    spoil(copy, "vae", latent_channels=16)
    assert "the VAE has 16 latent channels, the U-Net 4 in and 4 out, expected one number" in data_error(components.inspect, copy)


def test_a_tokenizer_larger_than_its_table(copy, model):
    """Of a base the tokens without a row are left out; a run must have a row for each."""
    rows = len(model.tokenizer)
    more_tokens(copy, model, ["<cat>", "<dog>"])
    assert components.inspect(copy).notes == ("tokens without a row are left out: <cat>, <dog>",)
    assert components.inspect(copy, added=2).tokens == rows + 2
    said = data_error(components.inspect, copy, None, 3)
    assert f"a tokenizer of {rows + 2} tokens over a text encoder of {rows}, expected {rows + 3} tokens" in said


def test_a_tokenizer_smaller_than_its_table(copy, model):
    """Numbers of new tokens would be those of rows that the table has already: a few are cut off, many are another model's."""
    rows = len(model.tokenizer)
    spoil(copy, "text_encoder", vocab_size=rows + 64)
    assert "64 rows of the text encoder belong to no token" in components.inspect(copy).notes[0]
    spoil(copy, "text_encoder", vocab_size=rows + 640)
    assert f"a tokenizer of {rows} tokens over a text encoder of {rows + 640}" in data_error(components.inspect, copy)


def test_a_run_is_a_base(tuned):
    assert "a run of `seas-train tune`" in components.inspect(tuned).notes[0]


@pytest.mark.parametrize(
    ("part", "name"), [("unet", "config.json"), ("vae", "config.json"), ("scheduler", "scheduler_config.json")]
)
@pytest.mark.parametrize("content", ["[1]", "{", ""])
def test_a_config_that_is_none(copy, part, name, content):
    (copy / part / name).write_text(content)
    assert str(copy) in data_error(components.inspect, copy)


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.lists(st.none() | st.text(max_size=3))
READ = {
    "unet": ("in_channels", "out_channels", "down_block_types", "cross_attention_dim", "sample_size", "block_out_channels"),
    "vae": ("latent_channels", "block_out_channels", "scaling_factor"),
    "scheduler": ("prediction_type", "beta_schedule", "beta_start", "num_train_timesteps"),
    "text_encoder": ("hidden_size", "vocab_size", "max_position_embeddings", "hidden_act", "initializer_range"),
}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example("unet", 2, [None])
@example("unet", 0, [])
@example("text_encoder", 4, [])
@example("vae", 1, None)
@given(st.sampled_from(sorted(READ)), st.integers(0, 99), VALUES)
def test_a_value_of_any_kind_is_taken_or_refused_in_a_line(copy, part, which, value):
    """With weights away, so that what is taken is read no further; NaN and infinity are JSON to Python."""
    names = READ[part]
    path = copy / part / ("scheduler_config.json" if part == "scheduler" else "config.json")
    held, said = path.read_text(), ""
    spoil(copy, part, **{names[which % len(names)]: value})
    try:
        components.inspect(copy)
    except DataError as error:
        said = str(error)
    path.write_text(held)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("file", "name", "value"),
    [
        ("tokenizer/tokenizer.json", "added_tokens", [{"id": 0, "content": "x", "special": "no"}]),
        ("text_encoder/config.json", "initializer_range", []),
        ("rmp/config.json", "up2_channels", 2**70),
        ("rmp/config.json", "heads", 0),
    ],
)
def test_a_run_with_a_value_of_another_kind(tuned, tmp_path, file, name, value):
    path = shutil.copytree(tuned, tmp_path / "run") / file
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    assert str(tmp_path / "run") in data_error(run_folder.load, tmp_path / "run")


def test_the_command_refuses_and_leaves_nothing(base, product, tmp_path):
    """An inpainting model that is whole: the U-Net has weights for all nine channels."""
    copy = shutil.copytree(base, tmp_path / "inpainting")
    unet = UNet2DConditionModel.from_pretrained(copy / "unet")
    unet.register_to_config(in_channels=9)
    unet.conv_in = torch.nn.Conv2d(9, GEOMETRY.unet_channels[0], 3, padding=1)
    unet.save_pretrained(copy / "unet")
    command = ["tune", product.root, "--base", copy, "--out", tmp_path / "run", "--steps", 1]
    result = CliRunner().invoke(main, [str(word) for word in command])
    assert (result.exit_code, result.stdout) == (3, "")
    assert "inpainting" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()
