"""The autoencoder of a base: what it sees, what its losses weigh, and its decoder against a discriminator."""

import copy

import pytest
import torch
from PIL import Image
from torch.nn import functional as F  # noqa: N812

from seas_train.base import decoder_gan
from seas_train.base import train as base_training
from seas_train.base import vae as autoencoder
from seas_train.base.settings import BaseSettings
from seas_train.data.dataset import ImageSet


def test_autoencoder_loss_by_hand(model):
    model.vae.eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 64, 64, generator=generator) * 2 - 1
    noise = torch.randn(2, 4, 8, 8, generator=generator)
    masks = torch.zeros(2, 1, 64, 64)
    settings = BaseSettings(vae_edges=0.5, vae_kl=0.1, vae_anomaly_weight=8.0)  # without an anomaly it changes nothing
    with torch.no_grad():
        terms = autoencoder.losses(model.vae, images, masks, noise, settings)
        mean, log_variance = model.vae.quant_conv(model.vae.encoder(images)).chunk(2, dim=1)
        decoded = model.vae.decoder(model.vae.post_quant_conv(mean + (log_variance / 2).exp() * noise))
    error = decoded - images
    l1 = error.abs().mean()
    across = (error[..., 1:] - error[..., :-1]).abs().mean()
    down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(dim=(1, 2, 3)).mean()
    torch.testing.assert_close(terms["loss"], l1 + 0.5 * (across + down) + 0.1 * kl, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(terms["l1"], F.l1_loss(decoded, images))


def test_an_anomalys_pixels_weigh_more(model):
    model.vae.eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(1, 3, 64, 64, generator=generator) * 2 - 1
    noise = torch.zeros(1, 4, 8, 8)
    masks = torch.zeros(1, 1, 64, 64)
    masks[..., :16, :16] = 1
    with torch.no_grad():
        terms = autoencoder.losses(model.vae, images, masks, noise, BaseSettings(vae_anomaly_weight=8.0))
        error = (model.vae.decode(model.vae.encode(images).latent_dist.mean).sample - images).abs().mean(dim=1, keepdim=True)
    inside, outside = error[masks == 1].mean(), error[masks == 0].mean()
    expected = (9 * 256 * inside + (4096 - 256) * outside) / (9 * 256 + 4096 - 256)
    torch.testing.assert_close(terms["l1"], expected)


def test_a_crop_is_centred_on_a_pixel_of_the_anomaly_where_it_fits():
    """Where the anomaly is one pixel the crop can only lie around it, at the rim as close as the image allows."""
    image = torch.arange(4 * 32 * 32).view(4, 32, 32).float()
    for (row, column), (top, left) in {(15, 20): (11, 16), (0, 31): (0, 24)}.items():
        image[3] = 0
        image[3, row, column] = 1
        wanted = image[:, top : top + 8, left : left + 8]
        for seed in range(4):
            found = autoencoder.crop(image, 8, 1.0, torch.Generator().manual_seed(seed))
            assert torch.equal(found, wanted) or torch.equal(found, wanted.flip(-1))


def test_without_focus_or_anomaly_crops_lie_anywhere():
    image = torch.arange(4 * 32 * 32).view(4, 32, 32).float()
    marked = image.clone()
    image[3] = 0
    for one, focus in ((marked, 0.0), (image, 1.0)):
        found = [autoencoder.crop(one, 8, focus, torch.Generator().manual_seed(seed)) for seed in range(40)]
        assert all(part.shape == (4, 8, 8) for part in found)
        assert len({float(part[0].min()) for part in found}) > 30


def test_the_last_steps_of_the_autoencoder_see_whole_images_of_as_many_pixels():
    settings = BaseSettings(vae_steps=10, vae_batch=16, vae_crop=64, vae_whole=0.3)
    seen = [autoencoder.crop_of(step, 128, settings) for step in range(10)]
    assert seen == [(64, 16)] * 7 + [(128, 4)] * 3
    assert autoencoder.crop_of(9, 512, settings) == (512, 1)
    assert autoencoder.crop_of(9, 128, BaseSettings(vae_steps=10)) == (64, 16)


class Stop(Exception):  # noqa: N818 - not an error
    """Raised by a stand-in that has seen enough."""


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_autoencoder_computes_in_the_asked_precision(precision, dtype, tmp_path, monkeypatch):
    def spy(vae, images, *_):
        assert vae.encoder.conv_in(images).dtype == dtype
        raise Stop

    monkeypatch.setattr(autoencoder, "losses", spy)
    (tmp_path / "plates").mkdir()
    Image.new("RGB", (128, 128)).save(tmp_path / "plates" / "0.png")
    settings = BaseSettings(vae_steps=1, vae_batch=1, vae_precision=precision)
    with pytest.raises(Stop):
        base_training.train([tmp_path / "plates"], tmp_path / "base", settings, {})


def test_the_factor_balances_the_gradients_of_two_losses():
    weights = torch.tensor([3.0, 4.0], requires_grad=True)
    first, second = (weights**2).sum(), 5 * weights.sum()  # gradients (6, 8), of length 10, and (5, 5)
    torch.testing.assert_close(decoder_gan.balance(first, second, weights), torch.tensor(10 / 50**0.5), rtol=1e-5, atol=0)


def test_sharpening_moves_the_decoder_by_both_losses_and_the_discriminator_by_its_own(model):
    """The gradients of the sum of losses are those of each part for its own side, taken one by one."""
    settings = BaseSettings(vae_crop=32, sharpen_weight=0.5)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    masks = torch.zeros(2, 1, 64, 64)
    torch.manual_seed(0)
    judge = decoder_gan.Discriminator(8)

    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    windows = tuple((autoencoder.Window(i, 4, 32, False), autoencoder.Window(20, i, 32, True)) for i in range(2))

    def gradients(trust, pick):
        vae, own = copy.deepcopy(model.vae), copy.deepcopy(judge)
        vae.requires_grad_(False)
        vae.decoder.requires_grad_(True)
        terms = decoder_gan.losses(vae, own, decoder_gan.Batch(images, masks, noise, windows, trust), settings)
        pick(terms).backward()
        return [[p.grad for p in part.parameters()] for part in (vae.decoder, own, vae.encoder)]

    decoder, discriminator, encoder = gradients(0, lambda terms: terms["loss"])
    assert encoder == [None] * len(encoder)
    alone = gradients(0, lambda terms: terms["rebuilt"])
    for found, wanted in zip(decoder, alone[0], strict=True):
        torch.testing.assert_close(found, wanted)
    for found, wanted in zip(discriminator, gradients(0, lambda terms: terms["caught"])[1], strict=True):
        torch.testing.assert_close(found, wanted)
    assert gradients(0, lambda terms: terms["fooled"])[1] == [None] * len(discriminator)
    later, same, _ = gradients(1, lambda terms: terms["loss"])
    for found, wanted in zip(same, discriminator, strict=True):
        torch.testing.assert_close(found, wanted)
    *_, last_bias = fooled = gradients(0, lambda terms: terms["fooled"])[0]
    assert last_bias.norm() > 0
    weight = model.vae.decoder.conv_out.weight.shape  # balanced there: 0.5 times the length of the reconstruction's gradient
    at = next(i for i, gradient in enumerate(fooled) if gradient.shape == weight)
    added = later[at] - alone[0][at]
    torch.testing.assert_close(added.norm(), 0.5 * alone[0][at].norm(), rtol=1e-3, atol=0)


def test_the_discriminator_s_word_comes_to_count_slowly(product):
    images = ImageSet(product.anomalies, 64)
    seen = [decoder_gan.batch_of(step, images, 4, BaseSettings(vae_crop=32, vae_batch=8)) for step in (0, 50, 200, 10_000)]
    assert [batch.trust for batch in seen] == [0, 0.25, 1, 1]
    assert [batch.images.shape for batch in seen] == [(2, 3, 64, 64)] * 4  # as many pixels as eight crops
    assert all(len(windows) == decoder_gan.CROPS for batch in seen for windows in batch.windows)


def test_the_discriminator_sees_patches():
    images = torch.zeros(1, 3, 64, 64, requires_grad=True)
    found = decoder_gan.Discriminator(8)(images)
    assert found.shape == (1, 1, 14, 14)
    with torch.no_grad():  # no norm, which looks at the whole image: what is left is the reach of the convolutions
        layers = [layer for layer in decoder_gan.Discriminator(8) if not isinstance(layer, torch.nn.GroupNorm)]
    torch.nn.Sequential(*layers)(images)[0, 0, 7, 7].backward()
    rows = images.grad[0].abs().sum(dim=(0, 2)).nonzero().ravel()
    assert int(rows[-1] - rows[0]) + 1 == 18
