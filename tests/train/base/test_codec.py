"""The autoencoder that comes along: what it is worth, and what it refuses."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from seas_runtime.errors import DataError, SettingsError
from seas_train.base import codec, vae
from seas_train.base.settings import BaseSettings
from seas_train.base.train import _train_vae
from seas_train.config import resolve
from seas_train.data import demo, layouts
from seas_train.data.dataset import ImageSet
from seas_train.models import components


def network(geometry="demo"):
    torch.manual_seed(0)
    return components.build(components.GEOMETRIES[geometry], ["a part"]).vae


@torch.no_grad()
def wrong(network, images):
    """Mean difference, in [-1, 1], of images (n, 3, H, W) and what the autoencoder makes of them."""
    return float((network.decode(network.encode(images).latent_dist.mean).sample - images).abs().mean())


@pytest.fixture(scope="module")
def nuts(tmp_path_factory):
    """Images of a product that it has not seen."""
    root = tmp_path_factory.mktemp("nuts")
    demo.write(root, "nut", 128, normals=6, per_defect=1, test_normals=0)
    return ImageSet(layouts.read(root / "nut").normals, 128)


def test_it_knows_images_that_it_has_not_seen(nuts):
    model, images = network(), torch.stack([nuts[i][0] for i in range(len(nuts))])
    grey = float((images - images.mean(dim=(2, 3), keepdim=True)).abs().mean())
    assert wrong(model, images) > grey  # of random weights nothing is to be seen
    codec.load(model)
    assert wrong(model, images) < grey / 3


def test_a_base_begins_with_it_where_it_is_asked_to(nuts, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(vae, "train", lambda found, *_: seen.append(found.encoder.conv_in.weight.detach().clone()))
    known = network()
    codec.load(known)
    for start in ("drawn", "auto", "random"):
        model = network()
        settings = resolve(BaseSettings, "demo", None, {"vae_start": start})
        _train_vae(model, nuts, tmp_path / start, settings)
    assert torch.equal(seen[0], known.encoder.conv_in.weight)
    assert torch.equal(seen[1], seen[0])
    assert not torch.equal(seen[2], seen[0])


def test_it_fits_one_geometry():
    assert resolve(BaseSettings, "demo", None, {"geometry": "tiny"}).vae_start == "auto"
    with pytest.raises(SettingsError, match='vae start "drawn" is of the geometry demo, not tiny; give --vae-start random'):
        resolve(BaseSettings, "demo", None, {"geometry": "tiny", "vae_start": "drawn"})


def test_another_geometry_begins_from_nothing(nuts, tmp_path, monkeypatch):
    monkeypatch.setattr(vae, "train", lambda *_: None)
    monkeypatch.setattr(codec, "load", lambda *_: pytest.fail("loaded"))
    settings = resolve(BaseSettings, "demo", None, {"geometry": "tiny"})
    _train_vae(network("tiny"), nuts, tmp_path / "x", settings)


@pytest.mark.parametrize("content", [None, b"no weights", "other"])
def test_a_file_that_is_damaged(tmp_path, content):
    file = tmp_path / "codec.safetensors"
    if content == "other":
        save_file({"x": torch.zeros(2)}, file)
    elif content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError, match=r"found no autoencoder of the geometry demo .* begin with --vae-start random"):
        codec.load(network(), file)


def test_what_is_stored_is_what_is_read(tmp_path):
    model, other = network(), network("demo")
    with torch.no_grad():
        model.decoder.conv_out.bias += 1
    codec.save(model, tmp_path / "x.safetensors")
    codec.load(other, tmp_path / "x.safetensors")
    for name, tensor in model.state_dict().items():
        np.testing.assert_allclose(other.state_dict()[name], tensor, rtol=1e-3, atol=1e-4)
