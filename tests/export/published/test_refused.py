"""Published checkpoints of which something is missing or does not fit."""

import shutil

import pytest

from seas_runtime.errors import DataError, SettingsError
from seas_train.models import components
from tests.export.published_checkpoint import refused
from tests.smallest import GEOMETRY


def test_base_and_data_are_asked_for(root):
    assert "--data" in refused(SettingsError, 2, root, data=None)
    assert "--base" in refused(SettingsError, 2, root, base=None)


@pytest.mark.parametrize("part", ["unet", "text_encoder", "tokenizer", "scheduler"])
def test_generation_checkpoint_without_a_part(copy, part):
    shutil.rmtree(copy / "checkpoint" / "generation-checkpoint" / part)
    assert f"found no {part}/ folder" in refused(DataError, 3, copy)


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        ("checkpoint/generation-checkpoint", "generation-checkpoint: found no unet/ folder"),
        ("checkpoint/mask-checkpoint", "no such file"),
        ("checkpoint/mask-checkpoint/rmp", "no such file"),
        ("base/vae", "found no vae/ folder"),
        ("base", "no such folder"),
        ("data/bottle", "no such folder"),
        ("data/bottle/ground_truth", "no such folder"),
    ],
)
def test_something_is_missing(copy, gone, words):
    path = copy / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert words in refused(DataError, 3, copy)


def test_unreadable_image(copy):
    (copy / "data/bottle/train/good/001.png").write_bytes(b"no image")
    assert "001.png" in refused(DataError, 3, copy)


def test_a_data_set_of_another_number_of_types(copy):
    for folder in ("test", "ground_truth"):
        shutil.rmtree(copy / "data" / "bottle" / folder / "contamination")
    message = refused(DataError, 3, copy)
    assert "12 anomaly tokens, expected 4 for each of the defect types broken_large, broken_small" in message


@pytest.mark.parametrize("token", ["ob1", "sks7"])
def test_a_tokenizer_without_a_token(copy, token):
    file = copy / "checkpoint" / "generation-checkpoint" / "tokenizer" / "tokenizer.json"
    text = file.read_text()
    assert text.count(f'"{token}"') == 1
    file.write_text(text.replace(f'"{token}"', f'"{token}9"'))
    assert f"no token {token};" in refused(DataError, 3, copy)


def test_a_text_encoder_without_the_new_rows(copy):
    part = copy / "checkpoint" / "generation-checkpoint" / "text_encoder"
    shutil.rmtree(part)
    shutil.copytree(copy / "base" / "text_encoder", part)
    assert "token rows" in refused(DataError, 3, copy)


def rebuilt(folder, part, **changes):
    """Replace one network by one of other sizes."""
    build = {"unet": components.build_unet, "vae": components.build_vae}[part]
    shutil.rmtree(folder / part)
    build(GEOMETRY.model_copy(update=changes)).save_pretrained(folder / part)


def test_a_unet_of_another_prompt_width(copy):
    rebuilt(copy / "checkpoint" / "generation-checkpoint", "unet", text_width=8)
    assert "text encoder is 16 wide, the U-Net expects 8" in refused(DataError, 3, copy)


def test_a_vae_of_other_latents(copy):
    rebuilt(copy / "base", "vae", latent_channels=8)
    assert "VAE has 8 latent channels, the U-Net 4" in refused(DataError, 3, copy)


def test_a_mask_branch_of_other_networks(copy):
    rebuilt(copy / "base", "vae", vae_channels=(4, 8, 12, 20))
    message = refused(DataError, 3, copy)
    assert "(24, 16, (16, 12, 8))" in message
    assert "(24, 16, (20, 12, 8))" in message
