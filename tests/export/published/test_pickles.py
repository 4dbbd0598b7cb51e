"""What is not read from a published mask branch: pickles that do anything but hold tensors, and tensors that do not fit."""

import os
import pickle

import pytest
import torch

from seas_export.published import mask_branch
from seas_runtime.errors import DataError
from tests.export.published_checkpoint import refused


class Malicious:
    """Runs a command when it is unpickled the ordinary way."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.system, (f"touch {self.file}",)


def refused_rmp(path):
    with pytest.raises(DataError) as caught:
        mask_branch.load(path)
    assert caught.value.exit_code == 3
    message = caught.value.format_message()
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_pickle_is_refused_and_nothing_runs(tmp_path, state, zipped, protocol):
    ran = tmp_path / "ran"
    content = {**state, "out_layer.2.bias": Malicious(ran)}
    with (tmp_path / "rmp").open("wb") as file:
        if zipped:
            torch.save(content, file, pickle_protocol=protocol)
        else:
            pickle.dump(content, file, protocol=protocol)
    assert "nothing but tensors is read from a pickle" in refused_rmp(tmp_path / "rmp")
    assert not ran.exists()
    if not zipped:  # the pickle is a working one
        pickle.loads((tmp_path / "rmp").read_bytes())
        assert ran.exists()


def test_a_malicious_unet_is_refused_and_nothing_runs(old, tmp_path):
    ran = tmp_path / "ran"
    file = old / "checkpoint" / "generation-checkpoint" / "unet" / "diffusion_pytorch_model.bin"
    torch.save({**torch.load(file), "conv_in.bias": Malicious(ran)}, file)
    assert "generation-checkpoint/unet" in refused(DataError, 3, old)
    assert not ran.exists()


def test_a_pickled_module_names_what_it_asks_for(tmp_path):
    torch.save(torch.nn.Conv2d(1, 1, 1), tmp_path / "rmp")
    assert "asks for torch.nn.modules.conv.Conv2d" in refused_rmp(tmp_path / "rmp")


@pytest.mark.parametrize("length", [0, 1, 100, 5000, -100, -1])
def test_a_torn_file(root, tmp_path, length):
    data = (root / "checkpoint" / "mask-checkpoint" / "rmp").read_bytes()
    (tmp_path / "rmp").write_bytes(data[:length])
    assert "damaged" in refused_rmp(tmp_path / "rmp")


@pytest.mark.parametrize("data", [b"a text", b"\x80\x04.", b"PK\x03\x04" + b"\0" * 64])
def test_no_checkpoint_at_all(tmp_path, data):
    (tmp_path / "rmp").write_bytes(data)
    assert "damaged or no state dict" in refused_rmp(tmp_path / "rmp")


NAME = "MRM2.conv3.0.weight"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({NAME: None}, f"weight {NAME} is missing (1 in all)"),
        ({"MRM3.conv6.1.stored_var": None}, "weight MRM3.conv6.1.stored_var is missing"),
        ({"MRM4.conv1.0.weight": torch.zeros(1)}, "weight MRM4.conv1.0.weight is unknown"),
        ({NAME: torch.zeros(24, 24, 1, 1)}, f"weight {NAME} has shape (24, 24, 1, 1), expected (24, 24, 3, 3)"),
        ({"low_feature_conv.0.weight": None}, "has no convolution low_feature_conv.0.weight"),
        ({"MRM1.conv1.0.weight": torch.zeros(24)}, "has no convolution MRM1.conv1.0.weight"),
        ({"low_feature_conv.0.weight": torch.zeros(15, 24, 1, 1)}, "widths 15 + 8 are no multiple of 8 heads"),
        ({NAME: torch.full((24, 24, 3, 3), float("nan"))}, f"weight {NAME} holds NaN or infinity"),
        ({NAME: 3}, f"{NAME} is no floating-point tensor"),
        ({NAME: torch.zeros(24, 24, 3, 3, dtype=torch.int64)}, f"{NAME} is no floating-point tensor"),
        ({NAME: torch.zeros(3, 3).to_sparse()}, f"{NAME} is no floating-point tensor"),
        ({5: torch.zeros(1)}, "holds no dict of tensors by name"),
    ],
)
def test_a_state_dict_that_does_not_fit(state, tmp_path, changes, words):
    changed = {name: value for name, value in {**state, **changes}.items() if value is not None}
    torch.save(changed, tmp_path / "rmp")
    assert words in refused_rmp(tmp_path / "rmp")


def test_a_list_of_tensors(state, tmp_path):
    torch.save(list(state.values()), tmp_path / "rmp")
    assert "holds no dict of tensors by name" in refused_rmp(tmp_path / "rmp")
