"""One look at the finished picture: what is computed, by every engine, and which bundles and options do not fit."""

import shutil

import numpy as np
import pytest

import seas_runtime
from seas_runtime.backends import BatchBackend
from seas_runtime.backends.tensorrt import backend
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.errors import BackendError, BundleError
from seas_runtime.sampling.background import edge, paste, soft
from seas_runtime.sampling.pairs import draw_pair, start_latent
from seas_runtime.sampling.recipe import Plan
from tests.runtime import small_bundle, stand_in_gpu
from tests.runtime.engine_checks import check_parity, every
from tests.runtime.sampling.by_hand import levels, scheduler, solver_step
from tests.runtime.small_bundle import change_graph, manifest_fields, photographs, seal_final, two_sums, write_photographs
from tests.runtime.written import settings

LOOK = 7
WORDS = {"count": 5, "seed": 3, "batch": 3, "steps": 4, "guidance": 2.5}


@pytest.fixture(scope="module")
def final(pristine, tmp_path_factory):
    """The small bundle, its masks of the finished picture."""
    folder = shutil.copytree(pristine, tmp_path_factory.mktemp("final") / "tile.plan")
    change_graph(folder, two_sums)  # which MNN takes
    seal_final(folder, LOOK)
    return read_bundle(folder)


@pytest.fixture(scope="module")
def generator(final):
    return seas_runtime.open(final, "cpu", threads=1)


def by_hand(bundle, draw, steps, guidance):
    """Image (3, H, W) and mask probability (H, W) of a draw."""
    solver, held = scheduler(steps), bundle.conditioning
    x, prompt = start_latent(draw, held, bundle.manifest.start)[None], held.prompts[draw.defect]
    for t in solver.timesteps.numpy():
        x, *_ = solver_step(solver, x, t, prompt, held.empty, guidance)
    _, up2, up3 = small_bundle.unet(x, np.array([LOOK]), prompt[None])
    return small_bundle.decoder(x)[0], small_bundle.mask_branch(x, up2, up3)[0, 0]


def test_pairs_are_those_worked_by_hand(final, generator):
    plan, seen = Plan(small_bundle.DEFECTS, 3, 5, 3), set()
    for pair in every(generator, **WORDS):
        image, probability = by_hand(final, draw_pair(plan, pair.index, 0, 6), 4, 2.5)
        assert np.abs(pair.image - levels(image)).max() < 0.51
        clear = np.abs(probability - 0.5) > 1e-4
        assert (pair.mask == np.where(probability > 0.5, 255, 0))[clear].all()
        assert pair.agreement == 1
        seen |= set(np.unique(pair.mask))
    assert seen == {0, 255}


class Counting:
    """Notes graph, rows, timestep and outputs of each call, and passes it on."""

    workers = 1

    def __init__(self, engine):
        self.engine, self.name, self.calls = engine, engine.name, []

    def run(self, graph, feeds, outputs):
        self.calls.append((graph, len(next(iter(feeds.values()))), int(feeds.get("timestep", [-1])[0]), outputs))
        return self.engine.run(graph, feeds, outputs)


def test_no_latents_but_the_last_are_decoded(final, generator):
    counting = Counting(generator.backend)
    made = seas_runtime.Generator(final, counting)
    every(made, count=3, batch=3, steps=2, guidance=2.0)
    look = [("unet", 3, LOOK, ("up2", "up3")), ("finish", 3, -1, ("image", "probability"))]
    assert counting.calls == [("unet", 6, 99, ("noise",)), ("unet", 6, 50, ("noise",)), *look]
    counting.calls.clear()
    assert all(not normal.mask.any() for normal in made.normals(2, steps=1, guidance=1.0))
    assert counting.calls == [("unet", 2, 99, ("noise",)), ("decoder", 2, -1, ("image",))]


@pytest.mark.parametrize("name", ["openvino", "mnn", "cpu+mnn", "openvino+mnn"])
def test_every_engine_makes_the_same_pairs(final, generator, name, tmp_path, monkeypatch):
    for package in {"openvino": ["openvino"], "mnn": ["MNN"]}.get(name, ["openvino", "MNN"]):
        pytest.importorskip(package)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with seas_runtime.open(final, name, threads=1) as other:
        check_parity(every(other, **WORDS), every(generator, **WORDS))


@pytest.mark.parametrize(("guidance", "interval"), [(2.5, None), (1.0, None), (2.5, (0.6, 0.9))])
def test_the_loop_on_the_gpu_gives_the_bits_of_the_one_on_the_host(plan_folder, monkeypatch, tmp_path, guidance, interval):
    machine = stand_in_gpu.install(monkeypatch, tmp_path / "cache")
    seal_final(plan_folder, LOOK)
    bundle = stand_in_gpu.with_engines(plan_folder)
    words = WORDS | {"guidance": guidance, "guidance_interval": interval}
    device = seas_runtime.open(bundle, "rtx")
    assert isinstance(device.backend, BatchBackend)
    found, normals = every(device, **words), list(device.normals(3, seed=3, batch=3, steps=4))
    assert machine.copied[-3:] == [3 * 8 * 8 * 3, 3 * 8 * 8, 4]  # pixels, an empty mask each, the flag

    def no_kernels(_storage):
        raise BackendError("NVRTC is not installed; run: pip install it")

    monkeypatch.setattr(backend, "load_kernels", no_kernels)
    host = seas_runtime.open(bundle, "rtx")
    assert not isinstance(host.backend, BatchBackend)
    theirs = every(host, **words) + list(host.normals(3, seed=3, batch=3, steps=4))
    for one, other in zip(found + normals, theirs, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.mask, other.mask)
        assert one.agreement == other.agreement
    assert {pair.mask.max() for pair in found} == {255}


def test_a_kept_background_is_joined_at_the_end(plan_folder):
    seal_final(plan_folder, LOOK, photographs=write_photographs(plan_folder))
    with seas_runtime.open(plan_folder, "cpu", threads=1) as made:
        words = {**WORDS, "background": "real", "strength": 0.8}
        counting = Counting(made.backend)
        kept = every(seas_runtime.Generator(made.bundle, counting), **words)
        assert {graph for graph, *_ in counting.calls} == {"unet", "finish"}
        for pair in kept:
            amount = soft(pair.mask, edge(8))
            photograph = photographs()[pair.normal]
            np.testing.assert_array_equal(pair.image[amount == 0], photograph[amount == 0])
            np.testing.assert_array_equal(paste(pair.image, photograph, (amount == 1).astype(np.float32)), np.where(
                (amount == 1)[..., None], pair.image, photograph))  # fmt: skip
        assert any(pair.mask.any() and not pair.mask.all() for pair in kept)
        counting.calls.clear()
        normals = seas_runtime.Generator(made.bundle, counting).normals(2, steps=4, background="real", strength=0.8)
        assert all(not normal.mask.any() for normal in normals)
        assert {graph for graph, *_ in counting.calls} == {"unet", "decoder"}


@pytest.mark.parametrize("words", [("--mask-steps", 2), ("--min-agreement", 0.5)])
def test_options_of_the_last_steps_are_refused(gen, final, words):
    said = gen("--count", 1, *words, plan=final.path, code=2)
    assert "this bundle's masks are of one look at the finished picture" in said


def test_what_is_said_of_it(gen, final, tmp_path):
    gen("--count", 2, "--mask-steps", 1, "--max-area", 1, plan=final.path)
    assert settings(tmp_path / "out")["mask_steps"] == 1
    from seas_runtime.doctor import describe_bundle

    assert "masks       of the finished picture, at timestep 7" in list(describe_bundle(final))


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"mask_timestep": None}, "mask_timestep"),
        ({"mask_timestep": 100}, "mask_timestep < train_steps"),
        ({"defaults": manifest_fields()["defaults"]}, "mask_steps 1"),
        ({"mask_source": "steps"}, "mask_timestep"),
        ({"mask_source": "steps", "mask_timestep": None}, "mask_branch missing"),
        ({"mask_source": "elsewhere"}, "mask_source"),
    ],
)
def test_manifests_that_contradict_themselves(plan_folder, fields, word):
    with pytest.raises(BundleError, match=word):
        seal_final(plan_folder, LOOK, **fields)
