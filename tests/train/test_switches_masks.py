"""Every ablation of the mask branch is a setting that changes what it should and nothing else."""

import dataclasses
import shutil

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from seas_runtime.errors import DataError
from seas_train import masks, reference, run_folder, tune
from seas_train.data.dataset import step_generator
from seas_train.losses import focal_loss
from seas_train.models.rmp import RefinedMaskPredictor
from tests.train.drawing import noise_for

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def values(terms) -> dict[str, float]:
    return {key: float(value.detach()) for key, value in terms.items()}


@pytest.fixture(scope="module")
def frozen(tuned):
    return run_folder.load(tuned)


@pytest.fixture
def branch(frozen, images, mask_settings):
    """Losses of one step of the mask branch: branch(setting=value) -> terms, branch, what it saw."""

    def losses(**switch):
        settings = mask_settings.model_copy(update=switch)
        torch.manual_seed(0)
        rmp = RefinedMaskPredictor(masks.config_for(frozen, settings))
        batch = tune.sample_batch(*images, (2, 2), True, step_generator(0, 0))
        terms = masks.losses(rmp, frozen, batch, noise_for(frozen.model, batch, 1), settings)
        seen = masks.features(frozen, batch, noise_for(frozen.model, batch, 1), settings)
        return values(terms), rmp, seen, batch

    return losses


@pytest.mark.parametrize(
    ("switch", "gone"),
    [
        ("normal_supervision", {"normal_coarse", "normal_raised"}),
        ("coarse_supervision", {"coarse", "normal_coarse"}),
    ],
)
def test_supervision_takes_its_terms_out_and_leaves_the_others(branch, switch, gone):
    before, after = branch()[0], branch(**{switch: False})[0]
    assert before.keys() - after.keys() == gone
    assert {key: before[key] for key in after if key != "loss"} == {k: v for k, v in after.items() if k != "loss"}
    assert after["loss"] == pytest.approx(sum(v for k, v in after.items() if k != "loss"), rel=1e-6)


@pytest.mark.parametrize(("case", "blocks"), [("a", []), ("b", ["first"])])
@torch.no_grad()
def test_mrm_variants(branch, case, blocks):
    _, full, _, _ = branch()
    _, rmp, _, _ = branch(mrm=case)
    left_out = {"first", "second"} - set(blocks)
    missing = {k for k in full.state_dict() if k.startswith("refine.") and k.split(".")[2] in left_out}
    assert full.state_dict().keys() - rmp.state_dict().keys() == missing
    module = rmp.refine[0]
    d, v = torch.randn(1, 16, 4, 4), torch.randn(1, 16, 8, 8)
    up = F.interpolate(d, size=(8, 8), mode="bilinear")
    s = module.local(up) + (module.first(up) if case == "b" else 0)
    torch.testing.assert_close(module(d, v), module.fuse(module.feature(v) * s + up))


@torch.no_grad()
def test_without_progressive_refinement_one_module_reads_the_largest_feature(branch):
    terms, rmp, seen, batch = branch(refinement="single")
    assert len(rmp.refine) == 1
    module = rmp.refine[0]
    coarse = rmp.coarse(seen.up2, seen.up3)[:2]
    up = F.interpolate(coarse, size=(64, 64), mode="bilinear")
    a = module.first(up)
    s = a + module.second(a) + module.local(up)
    x = module.fuse(module.feature(seen.features[2]) * s + up)
    logits = rmp.head(F.relu(rmp.fine_norm(x)))
    assert terms["fine"] == pytest.approx(float(focal_loss(logits, batch.masks)), rel=1e-5)


@torch.no_grad()
def test_without_mrm_the_coarse_mask_is_upsampled(branch):
    terms, rmp, seen, batch = branch(refinement="none")
    assert not [name for name in rmp.state_dict() if name.startswith("refine")]
    logits = rmp.head(F.relu(rmp.fine_norm(rmp.coarse(seen.up2, seen.up3)[:2])))
    logits = F.interpolate(logits, size=(64, 64), mode="bilinear")
    assert terms["fine"] == pytest.approx(float(focal_loss(logits, batch.masks)), rel=1e-5)


@torch.no_grad()
def test_encoder_features_are_those_of_the_stock_encoder(branch, frozen, mask_settings):
    before, paper, decoder, _ = branch()
    _, rmp, seen, batch = branch(features="encoder")
    shared = {k: v for k, v in paper.state_dict().items() if ".feature." not in k}
    assert not rmp.load_state_dict(shared, strict=False).unexpected_keys
    settings = mask_settings.model_copy(update={"features": "encoder"})
    after = values(masks.losses(rmp, frozen, batch, noise_for(frozen.model, batch, 1), settings))
    assert (after["coarse"], after["normal_coarse"]) == (before["coarse"], before["normal_coarse"])
    assert after["fine"] != before["fine"]
    vae, given = frozen.model.vae, []
    hooks = [
        block.resnets[-1].register_forward_hook(lambda _m, _i, out: given.append(out)) for block in vae.encoder.down_blocks[:3]
    ]
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    vae.encode(vae.decode(latents / vae.config.scaling_factor).sample)
    for hook in hooks:
        hook.remove()
    found = masks.taps.vae_features(vae, latents, "encoder")
    assert [f.shape[-1] for f in found] == [16, 32, 64] == [f.shape[-1] for f in decoder.features]
    for feature, expected in zip(found, reversed(given), strict=True):
        torch.testing.assert_close(feature, expected, **CLOSE)
    assert [f.shape for f in seen.features] == [(2, 12, 16, 16), (2, 8, 32, 32), (2, 4, 64, 64)]


@pytest.mark.parametrize(("taps", "sides"), [((1, 2, 3), [2]), ((2, 3, 4), [8]), ((1, 2, 3, 4), [2, 8])])
@torch.no_grad()
def test_tap_levels(branch, frozen, taps, sides):
    _, paper, before, _ = branch()
    _, rmp, seen, _ = branch(taps=taps)
    assert paper.config.taps == (2, 3)
    assert rmp.config.taps == taps
    assert rmp.config.width == 8 * len(taps)
    assert [tap.shape[-1] for tap in seen.more] == sides
    assert before.more == ()
    torch.testing.assert_close(seen.up2, before.up2)
    given = []
    hook = rmp.coarse.fuse.register_forward_pre_hook(lambda _m, inputs: given.append(inputs[0]))
    rmp.coarse(seen.up2, seen.up3, *seen.more)
    hook.remove()
    up2 = F.interpolate(rmp.coarse.up2(seen.up2), size=(8, 8), mode="bilinear")
    torch.testing.assert_close(given[0][:, :16], torch.cat([up2, rmp.coarse.up3(seen.up3)], 1))
    assert given[0].shape == (4, 8 * len(taps), 8, 8)
    last = rmp.coarse.more[-1](seen.more[-1])
    if taps[-1] == 4:
        torch.testing.assert_close(given[0][:, -8:], last)


VARIANTS = [{"taps": (1, 2, 3, 4)}, {"features": "encoder"}, {"refinement": "single"}, {"refinement": "none"}]


@pytest.mark.parametrize("switch", [*VARIANTS, {"mrm": "a"}])
def test_a_variant_trains_is_read_back_and_samples(tuned, product, mask_settings, tmp_path, switch):
    folder = shutil.copytree(tuned, tmp_path / "run")
    shutil.rmtree(folder / "rmp")
    masks.train(folder, product, mask_settings.model_copy(update={**switch, "steps": 1}))
    loaded = run_folder.load(folder)
    settings = reference.SampleSettings(steps=2, mask_steps=1)
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    made = reference.sample(loaded, [product.defects[0]], loaded.normal_mean[:1], noise, settings)
    assert made.probability.shape == (1, 1, 64, 64)
    assert 0 <= made.probability.min() <= made.probability.max() <= 1
    if switch in VARIANTS:
        (name,) = switch
        with pytest.raises(DataError, match=f"{name} .* cannot be exported") as caught:
            run_folder.require_graphs(loaded)
        assert "\n" not in caught.value.format_message()
    else:
        assert run_folder.require_graphs(loaded) is loaded.rmp


def test_the_paper_s_branch_can_be_exported_and_one_that_is_missing_cannot(frozen):
    assert run_folder.require_graphs(frozen) is frozen.rmp
    with pytest.raises(DataError, match="train it with `seas-train masks"):
        run_folder.require_graphs(dataclasses.replace(frozen, rmp=None))
