"""Pairs and normal images over photographs: worked by hand, kept to the bit, the same in every batch."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

import seas_runtime
from seas_runtime import Options
from seas_runtime.bundle.photographs import Patch
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.errors import SettingsError
from seas_runtime.kernels.reference import to_pixels
from seas_runtime.sampling.noise import PATCH, POSTERIOR, START, Stream
from seas_runtime.sampling.sampler import Model, generate
from seas_runtime.settings import resolve
from tests.runtime import small_bundle
from tests.runtime.engine_checks import Wide, every
from tests.runtime.sampling.by_hand import scheduler, solver_step
from tests.runtime.written import settings as settings_of
from tests.runtime.written import tree

USUAL = {"steps": 8, "guidance": 2.5, "mask_steps": 3}


class Large:
    """The small bundle's graphs in NumPy, with pictures of 8 * scale pixels and masks whose edges cross the cells."""

    name, workers = "numpy", 1

    def __init__(self, scale):
        self.scale = scale

    def run(self, graph, feeds, outputs):
        if graph == "unet":
            found = dict(zip(("noise", "up2", "up3"), small_bundle.unet(**feeds), strict=True))
        elif graph == "decoder":
            found = {"image": small_bundle.decoder(**feeds).repeat(self.scale, 2).repeat(self.scale, 3)}
        else:
            found = {"probability": self.mask_branch(**feeds)}
        return {name: found[name].astype(np.float32) for name in outputs}

    def mask_branch(self, latent, up2, up3):
        return ndimage.zoom(small_bundle.mask_branch(latent, up2, up3), (1, 1, self.scale, self.scale), order=1)


def photographs_of(scale):
    return np.random.default_rng(scale).integers(0, 256, (small_bundle.NORMALS, 8 * scale, 8 * scale, 3), np.uint8)


def made(bundle, scale, options, patches=None):
    """The pairs, or normal images, of pictures of 8 * scale pixels."""
    manifest = bundle.manifest.model_copy(update={"photographs": ("x.png",)})
    found = resolve(manifest, "numpy", options)
    model = Model(Large(scale), bundle.conditioning, manifest.start, photographs_of(scale), patches or {})
    plan = found.plan() if options.count else found.normal_plan()
    return [pair for batch in generate(model, plan, found.sampling(manifest)) for pair in batch]


def ellipse(stream, side):
    """Where a normal image is joined with its photograph, pixel by pixel."""
    x, y, wide, high = (int(word) / 2**64 for word in stream.raw(PATCH, 4))
    a, b = side / 32 + wide * (side / 8 - side / 32), side / 32 + high * (side / 8 - side / 32)
    mask = np.zeros((side, side), bool)
    for row, column in np.ndindex(side, side):
        mask[row, column] = ((column - x * side) / a) ** 2 + ((row - y * side) / b) ** 2 <= 1
    return mask


def by_hand(bundle, pair, scale, strength, patches=None):
    """Image (H, W, 3) float, mask (H, W) bool, the smallest distance of a probability from the threshold, of a draw."""
    solver, held, backend, draw = scheduler(USUAL["steps"]), bundle.conditioning, Large(scale), pair.draw
    times, side = solver.timesteps.numpy(), 8 * scale
    first = next(i for i, t in enumerate(times) if t <= strength * times[0] + 1e-9)
    solver.set_begin_index(first)
    signal = np.append(solver.alphas_cumprod.numpy()[times], 1.0)
    z = held.mean[draw.normal] + held.std[draw.normal] * draw.stream.normals(POSTERIOR, (2, 4, 4))
    noise = draw.stream.normals(START, (2, 4, 4))
    width, near, probabilities = max(1, round(side / 32)), 1.0, []
    normal = draw.defect == "good"
    known = ellipse(draw.stream, side) if normal else None
    begun = z
    if draw.composite is not None:
        begun = held.composites[draw.defect][draw.composite]
        known = placed(draw.defect, draw.composite, scale)

    def at(level, z=z):
        return (np.sqrt(signal[level]) * z + np.sqrt(1 - signal[level]) * noise)[None].astype(np.float32)

    def seen():
        return np.mean(probabilities, axis=0)[0, 0]

    x = at(first, begun)
    for step in range(first, len(times)):
        prompt = held.normal if normal else held.prompts[draw.defect]
        left, up2, up3 = solver_step(solver, x, times[step], prompt, held.empty, USUAL["guidance"])
        if step >= len(times) - USUAL["mask_steps"]:
            probabilities.append(backend.mask_branch(x, up2, up3))
            near = min(near, np.abs(seen() - 0.5).min())
        if known is not None or probabilities:
            grown = ndimage.binary_dilation(seen() > 0.5 if known is None else known, np.ones((2 * width + 1,) * 2))
            cells = np.array(
                [[grown[2 * scale * r :][: 2 * scale, 2 * scale * c :][:, : 2 * scale].any() for c in range(4)] for r in range(4)]
            )
            left = np.where(cells, left, at(step + 1)).astype(np.float32)
        x = left
    image = decoded(backend, x)
    if patches is not None:
        patch, photograph = patches[draw.defect][draw.composite], photographs_of(scale)[draw.normal].astype(float)
        high, wide = patch.pixels.shape[:2]
        for row, column in np.ndindex(high, wide):
            if patch.pixels[row, column, 3]:
                photograph[patch.row + row, patch.column + column] = patch.pixels[row, column, :3]
        image = np.clip(photograph + image - decoded(backend, begun[None]), 0, 255)
    mask = seen() > 0.5 if known is None else known
    distance = ndimage.distance_transform_cdt(~mask, "chessboard") if mask.any() else np.full(mask.shape, side)
    amount = np.clip(1 - distance / width, 0, 1)[..., None]
    return amount * image + (1 - amount) * photographs_of(scale)[draw.normal], mask & (not normal), near


@pytest.mark.parametrize("strength", [1.0, 0.6, 0.3, 0.125])
@pytest.mark.parametrize("scale", [1, 8])
def test_pairs_are_those_worked_by_hand(bundle, scale, strength):
    pairs = made(
        bundle, scale, Options(count=6, seed=3, batch=4, background="real", strength=strength, retries=0, max_area=1, **USUAL)
    )
    checked = 0
    for pair in pairs:
        image, mask, near = by_hand(bundle, pair, scale, strength)
        if near > 1e-5:  # else rounding decides
            checked += 1
            np.testing.assert_array_equal(pair.mask, np.where(mask, 255, 0))
            assert np.abs(pair.image - image).max() <= 1.01
    assert checked > len(pairs) / 2
    assert any(0 < pair.area < pair.mask.size for pair in pairs)


def decoded(backend, latent):
    return to_pixels(backend.run("decoder", {"latent": latent.astype(np.float32)}, ("image",))["image"])[0].astype(float)


def placed(defect, number, scale):
    """Where composite `number` of a type has its anomaly."""
    rng = np.random.default_rng([number, len(defect), scale])
    mask = np.zeros((8 * scale, 8 * scale), bool)
    top, left, high, wide = (int(part * scale) for part in rng.integers((0, 0, 1, 1), (5, 5, 4, 4)))
    mask[top : top + high, left : left + wide] = True
    return mask


def with_composites(bundle, scale):
    """The bundle with four composites of each type."""
    rng, held = np.random.default_rng(1), bundle.conditioning
    latents = {name: rng.normal(size=(4, 2, 4, 4)).astype(np.float32) for name in held.prompts}
    masks = {name: np.stack([np.packbits(placed(name, k, scale), axis=-1) for k in range(4)]) for name in held.prompts}
    manifest = bundle.manifest.model_copy(update={"composites": 4})
    return replace(bundle, manifest=manifest, conditioning=replace(held, composites=latents, composite_masks=masks))


@pytest.mark.parametrize("strength", [1.0, 0.6, 0.3])
@pytest.mark.parametrize("mask", ["composite", "branch"])
def test_composites_are_those_worked_by_hand(bundle, mask, strength):
    bundle = with_composites(bundle, 8)
    words = {"background": "real", "init": "composite", "strength": strength, "mask": mask, "retries": 0, "max_area": 1}
    pairs = made(bundle, 8, Options(count=9, seed=3, batch=4, **words, **USUAL))
    for pair in pairs:
        image, region, _ = by_hand(bundle, pair, 8, strength)
        assert np.abs(pair.image - image).max() <= 1.01  # whoever's mask it has, it is the photograph but for where it was placed
        if mask == "composite":
            np.testing.assert_array_equal(pair.mask, np.where(region, 255, 0))
        else:
            wide = ndimage.binary_dilation(region, np.ones((5, 5)))
            assert not pair.mask[~wide].any()
    if mask == "branch":
        assert any(np.any((pair.mask > 0) != by_hand(bundle, pair, 8, strength)[1]) for pair in pairs)


@pytest.mark.parametrize("strength", [0.6, 0.2])
def test_with_patches_a_picture_is_the_photographed_composite_and_what_changed_in_its_decoded_one(bundle, strength):
    bundle, rng = with_composites(bundle, 8), np.random.default_rng(5)
    patches = {}
    for name in bundle.conditioning.composites:
        pixels = rng.integers(0, 256, (4, 20, 24, 4), np.uint8)
        pixels[..., 3] = 255 * (pixels[..., 3] > 100)
        patches[name] = [Patch(7 * k, 5 * k, each) for k, each in enumerate(pixels)]
    words = {"background": "real", "init": "composite", "strength": strength, "retries": 0, "max_area": 1}
    for pair in made(bundle, 8, Options(count=9, seed=3, batch=4, **words, **USUAL), patches):
        image, _, _ = by_hand(bundle, pair, 8, strength, patches)
        assert np.abs(pair.image - image).max() <= 1.01
        plain, _, _ = by_hand(bundle, pair, 8, strength)
        assert np.abs(plain - image).max() > 5


@pytest.mark.parametrize("strength", [1.0, 0.3])
def test_normal_images_are_those_worked_by_hand(bundle, strength):
    normals = made(bundle, 8, Options(normals=5, seed=3, batch=4, background="real", strength=strength, **USUAL))
    for normal in normals:
        image, _, _ = by_hand(bundle, normal, 8, strength)
        assert np.abs(normal.image - image).max() <= 1.01
        assert (normal.verdict, normal.mask.max()) == ("ok", 0)
    assert len(normals) == 5


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**64 - 1),
    strength=st.floats(0.15, 1),
    scale=st.sampled_from([1, 4, 16]),
    threshold=st.floats(0.3, 0.7),
    clean=st.integers(0, 200),
)
def test_away_from_the_mask_a_picture_is_its_photograph_to_the_bit(bundle, seed, strength, scale, threshold, clean):
    words = {"seed": seed, "strength": strength, "background": "real", "batch": 2, **USUAL}
    masking = {"threshold": threshold, "clean": clean, "retries": 0, "max_area": 1}
    photographs, width = photographs_of(scale), max(1, round(scale / 4))
    for pair in made(bundle, scale, Options(count=2, **masking, **words)) + made(bundle, scale, Options(normals=2, **words)):
        mask = ellipse(pair.draw.stream, 8 * scale) if pair.defect == "good" else pair.mask > 0
        near = ndimage.binary_dilation(mask, np.ones((2 * width - 1,) * 2))
        np.testing.assert_array_equal(pair.image[~near], photographs[pair.normal][~near])
        assert not (pair.defect == "good" and pair.mask.any())


@pytest.fixture(scope="module")
def kept(photographed):
    return read_bundle(photographed)


def same(ours, theirs):
    assert [pair.draw for pair in ours] == [pair.draw for pair in theirs]
    for one, two in zip(ours, theirs, strict=True):
        assert np.abs(one.image.astype(int) - two.image).max() <= 1
        assert np.array_equal(one.mask, two.mask)
        assert (one.verdict, one.agreement) == (two.verdict, two.agreement)


@pytest.mark.parametrize(("batch", "workers"), [(1, 1), (3, 1), (8, 1), (1, 3), (8, 3)])
def test_neither_batch_nor_workers_decide_a_picture(kept, batch, workers):
    words = {"seed": 1, "background": "real", "strength": 0.6, **USUAL}
    whole = seas_runtime.open(kept, "cpu", threads=1)
    other = seas_runtime.Generator(kept, Wide(kept, workers))
    same(every(other, count=11, batch=batch, **words), every(whole, count=11, batch=5, **words))
    ways = {name: value for name, value in words.items() if name != "mask_steps"}
    same(list(other.normals(11, batch=batch, **ways)), list(whole.normals(11, batch=5, **ways)))


def test_shards_together_are_all_pairs(kept):
    generator = seas_runtime.open(kept, "cpu", threads=1)
    words = {"count": 11, "seed": 1, "batch": 2, "background": "real", "strength": 0.6, **USUAL}
    parts = [every(generator, shard=(part, 3), **words) for part in range(3)]
    same(sorted((pair for part in parts for pair in part), key=lambda pair: pair.index), every(generator, **words))


@pytest.mark.parametrize(("strength", "steps", "masks"), [(1.0, 8, 3), (0.999, 7, 3), (0.51, 4, 3), (0.26, 2, 2), (0.125, 1, 1)])
@pytest.mark.parametrize("workers", [1, 2])
def test_less_strength_is_fewer_steps_and_each_mask_is_looked_at_once(kept, strength, steps, masks, workers):
    """The timesteps are 99, 87, 74, 62, 50, 37, 25 and 12."""
    calls = Counter()
    watched = seas_runtime.Generator(kept, Wide(kept, workers, lambda graph, _feeds: calls.update([graph])))
    assert len(every(watched, count=6, batch=2, background="real", strength=strength, **USUAL)) == 6
    parts = 3 * workers
    assert calls == {"unet": steps * parts, "mask_branch": masks * parts, "decoder": parts}


def test_so_little_strength_that_nothing_is_left_is_refused(kept):
    generator = seas_runtime.open(kept, "cpu", threads=1)
    with pytest.raises(SettingsError, match=r"--strength 0.12 found, at least 0.122 expected: no step is left"):
        generator.pairs(1, background="real", strength=0.12, **USUAL)
    assert len(every(generator, count=1, background="real", strength=0.122, **USUAL)) == 1


def test_refused_pairs_are_made_again_and_the_others_stay(kept):
    generator = seas_runtime.open(kept, "cpu", threads=1)
    words = {"count": 12, "seed": 1, "batch": 12, "background": "real", "strength": 0.6, **USUAL}
    once = every(generator, **words)
    limit = sorted(pair.area for pair in once)[4]
    again = every(generator, min_area=limit, retries=3, **words)
    assert {pair.attempt for pair in again} > {0}
    for first, pair in zip(once, again, strict=True):
        assert (pair.attempt == 0) == (first.area >= limit)
        assert np.array_equal(first.image, pair.image) or pair.attempt


def test_a_run_is_recorded_continued_and_not_mixed_with_another(gen, photographed, tmp_path):
    words = ("--batch", 2, "--background", "real", "--strength", 0.6)
    gen("--count", 3, "--normals", 1, *words, plan=photographed)
    gen("--count", 7, "--normals", 5, *words, plan=photographed)
    gen("--count", 7, "--normals", 5, *words, plan=photographed, out="whole")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    held = settings_of(tmp_path / "out")
    assert (held["background"], held["strength"]) == ("real", 0.6)
    more = ("--count", 8, "--normals", 5, "--batch", 2)
    assert "background real, not generated" in gen(*more, plan=photographed, code=5)
    assert "strength 0.6, not 0.7" in gen(*more, *words[2:4], "--strength", 0.7, plan=photographed, code=5)
    assert "add --background real" in gen(*more, "--strength", 0.6, plan=photographed, code=2)


def test_what_seas_gen_writes_is_the_photograph_but_for_the_mask(gen, photographed, tmp_path):
    """The small bundle's soft edge is one pixel wide: nothing but the mask is changed."""
    gen("--count", 6, "--normals", 6, "--background", "real", "--strength", 0.5, plan=photographed)
    out, photographs = tmp_path / "out", small_bundle.photographs()
    with seas_runtime.open(photographed, "cpu", threads=1) as generator:
        pairs = list(generator.pairs(6, background="real", strength=0.5))
    for pair in pairs:
        image = np.asarray(Image.open(out / f"tile/test/{pair.defect}/{pair.index:06d}.png"))
        mask = np.asarray(Image.open(out / f"tile/ground_truth/{pair.defect}/{pair.index:06d}_mask.png"))
        assert np.array_equal(image, pair.image)
        assert np.array_equal(image[mask == 0], photographs[pair.normal][mask == 0])
        assert not np.array_equal(image, photographs[pair.normal])
    for line in map(json.loads, (out / "normals.jsonl").read_text().splitlines()):
        image, stream = np.asarray(Image.open(out / line["file_name"])), Stream(0, 2**63 + line["index"])
        kept = ~ellipse(stream, 8)
        assert np.array_equal(image[kept], photographs[line["normal"]][kept])


def test_photographs_are_not_looked_at_where_backgrounds_are_generated(bundle, kept):
    """A bundle with photographs makes the pairs of one without."""
    one, two = (every(seas_runtime.Generator(x, Wide(x, 1)), count=3, **USUAL) for x in (bundle, kept))
    for ours, theirs in zip(one, two, strict=True):
        assert np.array_equal(ours.image, theirs.image)
    model = Model(Wide(kept, 1), kept.conditioning, kept.manifest.start, small_bundle.photographs())
    found = resolve(kept.manifest, "cpu", Options(count=3, retries=0, max_area=1.0, **USUAL))
    third = [pair for batch in generate(model, found.plan(), found.sampling(kept.manifest)) for pair in batch]
    assert all(np.array_equal(ours.image, theirs.image) for ours, theirs in zip(one, third, strict=True))
