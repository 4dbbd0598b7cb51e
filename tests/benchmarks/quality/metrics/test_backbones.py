"""Networks against independent implementations, and files of weights that are not the published ones."""

import hashlib
import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.datasets import load_sample_image
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from benchmarks.quality.metrics import backbones, efficientnet, proxy
from benchmarks.quality.metrics.generation import GenerationSettings, classify, intra_cluster, kernel_distance
from benchmarks.quality.metrics.inception import Inception, resize_as_tensorflow_1
from benchmarks.quality.metrics.perceptual import Perceptual, Vgg16, distances, lpips_heads, select
from seas_runtime.errors import DataError, SettingsError


def made_up(number: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Values in [-1/2, 1/2) that look random and depend on the arguments alone, on every machine."""
    wild = np.sin(np.arange(math.prod(shape), dtype=np.float64) * 12.9898 + number * 78.233) * 43758.5453
    return torch.from_numpy((wild - np.floor(wild) - 0.5).reshape(shape)).float()


def made_up_state(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    state = {}
    for i, (name, like) in enumerate(network.state_dict().items()):
        values = made_up(i, tuple(like.shape))
        if name.endswith("num_batches_tracked"):
            values = like
        elif name.endswith("running_var"):
            values = 1 + values
        elif name.endswith("bn.weight"):
            values = 1 + 0.5 * values
        elif name.endswith(("bias", "running_mean")):
            values = 0.2 * values
        else:
            values = values * math.sqrt(24 / like[0].numel())
        state[name] = values
    return state


def test_inception_agrees_with_torch_fidelity():
    """Expected values: torch-fidelity 0.4.0's FeatureExtractorInceptionV3 with these weights and images."""
    network = Inception()
    network.load_state_dict(made_up_state(network))
    y, x = np.mgrid[:40, :52]
    planes = [[127 + 100 * np.sin(0.3 * s * x + c) * np.cos(0.21 * (c + 1) * y) for c in range(3)] for s in (1, 2)]
    found = network(torch.from_numpy(np.array(planes).round().astype(np.uint8)))
    features = [
        [2.321125, 6.138999, 0.0, 0.698680, 2.230863, 0.436288, 0.115437, 9.940032],
        [2.476230, 6.699063, 0.0, 0.658536, 2.521705, 0.472567, 0.124755, 10.294361],
    ]
    logits = [
        [8.020285, -4.005000, -5.433459, 5.908219, 4.844880, -2.069800],
        [8.582066, -4.077366, -5.754817, 6.335268, 5.020599, -2.210492],
    ]
    assert found.features.shape == (2, 2048)
    assert found.logits.shape == (2, 1008)
    torch.testing.assert_close(found.features[:, [*range(0, 1801, 300), 2047]], torch.tensor(features), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.logits[:, [*range(0, 801, 200), 1007]], torch.tensor(logits), rtol=1e-4, atol=1e-4)


def test_inception_has_the_published_number_of_parameters():
    """torchvision's 27,161,264 less its auxiliary head's 3,326,696, and a last layer of 1008 classes, not 1000."""
    auxiliary = 768 * 128 + 2 * 128 + 128 * 768 * 25 + 2 * 768 + 768 * 1000 + 1000
    assert sum(p.numel() for p in Inception().parameters()) == 27_161_264 - auxiliary + 8 * (2048 + 1)


def test_tensorflows_resize_by_hand():
    """Output i samples 4 i / 3 of a line 0, 30, 60, 90: places 0, 4/3, 8/3; growing, the last pixel repeats."""
    line = torch.tensor([0.0, 30.0, 60.0, 90.0]).expand(1, 3, 4, 4)
    torch.testing.assert_close(resize_as_tensorflow_1(line, 3)[0, 0, 0], torch.tensor([0.0, 40.0, 80.0]))
    grown = torch.tensor([0.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0, 90.0])
    torch.testing.assert_close(resize_as_tensorflow_1(line, 8)[0, 2, 5], grown)


def layer_by_layer(state: dict[str, torch.Tensor], image: np.ndarray) -> list[torch.Tensor]:
    """VGG-16's configuration D with the convolutions' published numbers, in double precision; outputs of the last ReLUs."""
    x = torch.from_numpy(image.astype(np.float64) / 255)
    x = (2 * x - 1 - torch.tensor([-0.030, -0.088, -0.188]).double()) / torch.tensor([0.458, 0.448, 0.450]).double()
    x = x.permute(2, 0, 1)[None]
    taps = []
    for numbers in ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)):
        if taps:
            x = F.max_pool2d(x, 2)
        for k in numbers:
            x = F.conv2d(x, state[f"features.{k}.weight"].double(), state[f"features.{k}.bias"].double(), padding=1)
            x = x.clamp_min(0)
        taps.append(x[0])
    return taps


def test_lpips_agrees_with_the_papers_formula():
    network = Vgg16()
    state = made_up_state(network)
    network.load_state_dict(state)
    heads = lpips_heads(backbones.read(backbones.bundled_heads(), backbones.LPIPS_HEADS))
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 48, 3), dtype=np.uint8)
    images[3] = images[1]
    taps = [layer_by_layer(state, image) for image in images]
    expected = torch.zeros(4, 4, dtype=torch.float64)
    for i in range(4):
        for j in range(4):
            for a, b, head in zip(taps[i], taps[j], heads, strict=True):
                u, v = a / a.norm(dim=0), b / b.norm(dim=0)
                squares = head.double()[:, None, None] * (u - v) ** 2
                expected[i, j] += squares.sum() / (a.shape[1] * a.shape[2])
    layers = Perceptual(network, heads).layers(images, batch=3)
    torch.testing.assert_close(distances(layers, layers).double(), expected, rtol=0, atol=1e-6)
    assert expected[0, 1] > 0.01
    torch.testing.assert_close(
        distances(select(layers, [2]), select(layers, [0, 3])).double(),
        expected[[2]][:, [0, 3]],
        rtol=0,
        atol=1e-6,
    )


def test_vgg_takes_the_published_names():
    """13 convolutions of VGG-16: 14,714,688 parameters, of features.0 to features.28."""
    state = Vgg16().state_dict()
    assert sum(x.numel() for x in state.values()) == 14_714_688
    assert {int(name.split(".")[1]) for name in state} == {0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28}


def test_other_heads_are_refused():
    with pytest.raises(DataError, match="found 1 heads of LPIPS, expected those of VGG-16"):
        lpips_heads({"lin0.model.1.weight": torch.ones(1, 64, 1, 1)})


def save(path, state, published):
    """Save weights as if they were the published ones."""
    torch.save(state, path)
    return backbones.Published(published.name, hashlib.sha256(path.read_bytes()).hexdigest(), published.source)


def test_published_weights_are_loaded(tmp_path, monkeypatch):
    inception, vgg = Inception(), Vgg16()
    states = made_up_state(inception), made_up_state(vgg)
    paths = tmp_path / "inception.pth", tmp_path / "vgg.pth"
    classifier = {"classifier.0.weight": torch.ones(2, 2)}  # VGG's file has its classifier too
    monkeypatch.setattr(backbones, "INCEPTION", save(paths[0], states[0], backbones.INCEPTION))
    monkeypatch.setattr(backbones, "VGG", save(paths[1], {**states[1], **classifier}, backbones.VGG))
    loaded = backbones.load(*paths)
    inception.load_state_dict(states[0])
    vgg.load_state_dict(states[1])
    image = np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    tensor = torch.from_numpy(image).permute(0, 3, 1, 2)
    assert torch.equal(loaded.classifier(tensor).logits, inception(tensor).logits)
    assert all(torch.equal(a, b) for a, b in zip(loaded.perceptual.network(tensor), vgg(tensor), strict=True))
    assert loaded.classifier_origin.comparable
    assert loaded.classifier_origin.sha256 == (hashlib.sha256(paths[0].read_bytes()).hexdigest(),)
    assert loaded.perceptual_origin.sha256[1] == backbones.LPIPS_HEADS.sha256


def test_files_that_are_not_the_published_ones(tmp_path):
    other = tmp_path / "other.pth"
    torch.save({}, other)
    for path, told in (
        (other, "has sha256 .*, expected 6726825d"),
        (tmp_path / "none.pth", "cannot be read"),
    ):
        with pytest.raises(DataError, match=told) as caught:
            backbones.load(path, path)
        assert caught.value.exit_code == 3
        assert "\n" not in caught.value.message
    with pytest.raises(SettingsError, match=r"no weights of VGG given, expected vgg16-397923af\.pth"):
        backbones.load(inception=other)
    with pytest.raises(SettingsError, match="no weights of Inception given"):
        backbones.load(vgg=other)


def test_a_published_file_that_holds_no_weights(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"nothing")
    published = backbones.Published("x", hashlib.sha256(b"nothing").hexdigest(), "here")
    with pytest.raises(DataError, match="holds no weights"):
        backbones.read(path, published)


def test_a_proxy_says_that_it_is_one_and_which(monkeypatch):
    best = backbones.load()
    assert best.classifier_origin.name == best.perceptual_origin.name == "proxy by EfficientNet-Lite0"
    assert not best.classifier_origin.comparable
    assert best.classifier_origin.sha256 == (efficientnet.WEIGHTS.sha256,)
    monkeypatch.setattr(efficientnet, "MODULE", "no_such_module_of_weights")
    loaded = backbones.load()
    assert loaded.classifier_origin.name == loaded.perceptual_origin.name == "proxy"
    assert not loaded.classifier_origin.comparable
    assert loaded.classifier_origin.sha256 == (hashlib.sha256(proxy.WEIGHTS.read_bytes()).hexdigest(),)


def test_the_proxy_tells_unseen_pieces_apart():
    """Guessing would be right for one in ten."""
    loaded = backbones.own_proxy()
    assert proxy.accuracy(loaded.classifier, per_class=5, seed=1234) > 0.5


def test_the_pretrained_proxy_finds_a_stronger_blur_farther_and_less_varied():
    photograph = load_sample_image("china.jpg")
    whole = np.stack([photograph[i : i + 128, j : j + 128] for i in range(0, 299, 128) for j in range(0, 384, 128)])
    loaded, clusters = backbones.pretrained_proxy(), GenerationSettings()
    kernel, varied = [], []
    for sigma in (0.5, 1.5, 4):
        blurred = ndimage.gaussian_filter(whole, (0, sigma, sigma, 0))
        found = [classify(loaded.classifier, images, 8).features.numpy() for images in (whole, blurred)]
        kernel.append(kernel_distance(*found))
        varied.append(intra_cluster(loaded.perceptual, blurred, whole[:1], clusters).value)
    assert kernel == sorted(kernel)
    assert kernel[-1] > 5 * abs(kernel[0])
    assert varied == sorted(varied, reverse=True)


def test_the_proxys_training_depends_on_the_seed_alone():
    first, again, other = (proxy.train(per_class=1, steps=2, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["kinds.weight"], other["kinds.weight"])
