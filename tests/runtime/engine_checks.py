"""What every engine must do with the small bundle, checked against its arithmetic in numpy."""

import sys
from importlib.metadata import version

import numpy as np
import pytest

import seas_runtime
from seas_runtime.backends import open_backend
from seas_runtime.errors import BackendError
from tests.runtime import small_bundle

MNN = version("MNN")
TIMES = np.array([0, 50, 99])


def inputs(rows=3, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"sample": (rows, 2, 4, 4), "prompt": (rows, 3, 5)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


class Wide:
    """The small bundle with workers; `watch` is called before each graph, in the worker's thread."""

    name = "cpu"

    def __init__(self, bundle, workers=3, watch=lambda _graph, _feeds: None):
        self.backend, self.workers, self.watch = open_backend("cpu", bundle, 1), workers, watch

    def run(self, graph, feeds, outputs):
        self.watch(graph, feeds)
        return self.backend.run(graph, feeds, outputs)


def check_graphs(backend):
    """All three graphs, with one row and with three: the batch is free."""
    for rows in (3, 1):
        feeds = {**inputs(rows, rows), "timestep": TIMES[:rows]}
        taps = backend.run("unet", feeds, ("up3", "noise", "up2"))
        assert list(taps) == ["up3", "noise", "up2"]
        expected = small_bundle.unet(feeds["sample"], feeds["timestep"], feeds["prompt"])
        for name, value in zip(("noise", "up2", "up3"), expected, strict=True):
            close(taps[name], value)
        latent = feeds["sample"]
        close(backend.run("decoder", {"latent": latent}, ("image",))["image"], small_bundle.decoder(latent))
        masks = {"latent": latent, "up2": taps["up2"], "up3": taps["up3"]}
        close(
            backend.run("mask_branch", masks, ("probability",))["probability"],
            small_bundle.mask_branch(*masks.values()),
        )


def close(found, expected):
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def every(generator, *, max_area=1.0, retries=0, **options):
    """The pairs of a run, one attempt at each, with those whose masks are empty."""
    recipe = generator.recipe(seas_runtime.Options(max_area=max_area, retries=retries, **options))
    return [pair for batch in generator.batches(*recipe) for pair in batch]


def pairs(bundle, name, count=4, **options):
    """The first pairs of a bundle on a backend; the solver and mask settings are the bundle's, or given."""
    with seas_runtime.open(bundle, name, threads=1) as generator:
        return every(generator, count=count, seed=3, batch=2, **options)


def check_parity(found, expected):
    """The bounds of the house: mask IoU >= 0.99, images within 45 dB."""
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.draw == theirs.draw
        union = (ours.mask | theirs.mask).astype(bool).sum()
        assert (ours.mask & theirs.mask).astype(bool).sum() >= 0.99 * union
        assert np.square(ours.image.astype(float) - theirs.image).mean() <= 255**2 / 10**4.5


def check_refuses_wrong_shapes(backend):
    with pytest.raises(BackendError, match=rf"decoder failed on backend {backend.name}") as caught:
        backend.run("decoder", {"latent": np.zeros((1, 7, 4, 4), np.float32)}, ("image",))
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 4
    check_graphs(backend)  # and is none the worse for it


def check_missing(name, module, hint, bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BackendError, match=hint) as caught:
        open_backend(name, bundle)
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 4
