"""Which of a base's weights are read: safetensors first, pickled ones with a word, damaged ones in one line."""

import pickle
import shutil

import pytest
import torch
from click.testing import CliRunner
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file
from transformers import CLIPTextModel

from seas_train.cli import main
from seas_train.models import components, reading
from seas_train.models.origin import Origin
from tests.train.refusals import data_error

FILES = {
    "unet": ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"),
    "vae": ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"),
    "text_encoder": ("model.safetensors", "pytorch_model.bin"),
}


@pytest.fixture
def pickled(base, tmp_path):
    """A base as older ones are: pickled weights alone."""
    folder = shutil.copytree(base, tmp_path / "pickled")
    for part, (safe, other) in FILES.items():
        torch.save(load_file(folder / part / safe), folder / part / other)
        (folder / part / safe).unlink()
    return folder


def test_pickled_weights_are_read_with_a_word(base, pickled, caplog):
    found, wanted = components.load(pickled), components.load(base)
    said = [record.getMessage() for record in caplog.records if record.name == reading.__name__]
    assert said == [
        f"Warning: {pickled}: {part} has no safetensors; its pickled weights are read with PyTorch's restricted reader"
        for part in FILES
    ]
    for part, network in wanted.networks.items():
        again = found.networks[part].state_dict()
        assert all(torch.equal(again[name], value) for name, value in network.state_dict().items())


def test_safetensors_are_read_where_both_are_there(base, pickled, caplog):
    for part, (safe, other) in FILES.items():
        shutil.copy(base / part / safe, pickled / part)
        (pickled / part / other).write_bytes(b"not to be opened")
    components.load(pickled)
    assert not [record for record in caplog.records if record.name == reading.__name__]


class Evil:
    def __reduce__(self):
        return print, ("run by a pickle",)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x80\x04.", pickle.dumps([1]), pickle.dumps(Evil()), b"\x80\x02c"])
@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_damaged_pickles_are_one_line_and_run_nothing(pickled, part, data, capfd):
    (pickled / part / FILES[part][1]).write_bytes(data)
    assert str(pickled) in data_error(components.load, pickled)
    assert "run by a pickle" not in capfd.readouterr().out


def test_a_hub_s_model_is_asked_for_safetensors_first_and_for_the_revision(monkeypatch, caplog):
    asked = []

    def from_pretrained(source, **how):
        asked.append((source, how["revision"], how["use_safetensors"]))
        if how["use_safetensors"]:
            raise OSError("owner/model does not appear to have a file named model.safetensors.")
        return "weights"

    monkeypatch.setattr(CLIPTextModel, "from_pretrained", from_pretrained)
    origin = Origin("owner/model", revision="fp32")
    assert reading.weights(CLIPTextModel.from_pretrained, origin, "text_encoder") == "weights"
    assert asked == [("owner/model", "fp32", True), ("owner/model", "fp32", False)]
    assert "pickled weights" in caplog.text


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch):
    asked = []

    def from_pretrained(source, **how):
        asked.append(how["use_safetensors"])
        raise OSError("We couldn't connect to 'https://huggingface.co'")

    monkeypatch.setattr(CLIPTextModel, "from_pretrained", from_pretrained)
    said = data_error(reading.weights, CLIPTextModel.from_pretrained, Origin("owner/model"), "text_encoder")
    assert "Without a network give a local folder" in said
    assert asked == [True]


def test_a_folder_that_is_not_there_and_a_hub_that_is_not_reached(monkeypatch):
    """As diffusers tells it: the reason is in the error before."""

    def from_pretrained(source, **_how):
        try:
            raise LocalEntryNotFoundError("cannot find the requested files")
        except LocalEntryNotFoundError:
            raise OSError(f"{source} does not appear to have a file named config.json.")  # noqa: B904

    monkeypatch.setattr(CLIPTextModel, "from_pretrained", from_pretrained)
    said = data_error(reading.weights, CLIPTextModel.from_pretrained, Origin("bases/small"), "text_encoder")
    assert said == (
        "bases/small: no such folder here, and no hub has been reached for a model of that name; "
        "give a base model's folder, a single file, a run, or a hub name"
    )


def test_a_folder_has_no_revision(base, product, tmp_path):
    words = ["tune", product.root, "--base", base, "--revision", "main", "--out", tmp_path / "run"]
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 2
    assert "leave --revision out" in result.stderr
    assert not (tmp_path / "run").exists()
