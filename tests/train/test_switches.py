"""Every ablation of fine-tuning is a setting that changes what it should and nothing else."""

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from seas_runtime.errors import SettingsError
from seas_train import cli, run_folder, tune
from seas_train import prompts as ua
from seas_train.config import MaskSettings, TuneSettings, resolve
from seas_train.data import layouts
from seas_train.losses import da_loss, level_mask
from seas_train.models import components
from seas_train.prompts import stacked
from tests.train.drawing import drawn

PAPER = TuneSettings()


@pytest.fixture
def step(base, product, images):
    """Losses of one step on the untouched base: step(setting=value) -> terms, learner."""

    def losses(**switch):
        settings = TuneSettings(**switch)
        learner = tune.prepare(components.load(base), ua.compose(product.defects, settings), settings)
        seen = drawn(learner.model, images, tune.counts_of(0, 2, settings))
        return tune.losses(learner, *seen, settings), learner

    return losses


def values(terms) -> dict[str, float]:
    return {key: float(value.detach()) for key, value in terms.items()}


@pytest.mark.parametrize("term", ["off", "background"])
def test_the_product_term_changes_the_da_loss_alone(step, term):
    (before, _), (after, learner) = step(), step(product_term=term)
    before, after = values(before), values(after)
    assert after["da"] != pytest.approx(before["da"], rel=1e-4)
    assert (after["df"], after["ob"]) == pytest.approx((before["df"], before["ob"]), rel=1e-6)
    assert after["loss"] == pytest.approx(after["da"] + after["df"] + after["ob"], rel=1e-6)
    assert learner.maps.layers.keys() == {2, 3}


@pytest.mark.parametrize("term", ["anomaly", "off", "background"])
def test_the_product_term_by_hand(term):
    maps = torch.rand(2, 4, 4, 3, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(2, 1, 32, 32)
    mask[0, 0, 3:20, 3:14] = mask[1, 0, 20:30, 9:] = 1
    target = level_mask(mask, 8, 4)
    expected = 0.0
    for i in range(2):
        anomaly, product = maps[i, :, :, 1], maps[i, :, :, 0]
        anomaly, product = ((m - m.min()) / (m.max() - m.min()) for m in (anomaly, product))
        cells = [(y, x) for y in range(4) for x in range(4)]
        expected += sum(float(anomaly[c] - target[i][c]) ** 2 for c in cells) / 16 / 2
        if term == "anomaly":
            marked = [c for c in cells if target[i][c] == 1]
            expected += sum(float(product[c]) ** 2 for c in marked) / len(marked) / 2
        if term == "background":
            expected += sum(float(product[c] - (1 - target[i][c])) ** 2 for c in cells) / 16 / 2
    ones, zeros = torch.ones(2, 1, dtype=torch.int64), torch.zeros(2, 1, dtype=torch.int64)
    found = da_loss([maps], mask, ones, zeros, 8, product_term=term)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_without_na_loss_nothing_is_learned_from_normals(step):
    (before, _), (after, learner) = step(), step(na_weight=0)
    assert values(after)["loss"] == pytest.approx(values(before)["da"] + values(before)["df"], rel=1e-6)
    for key in ("da", "df", "ob"):
        assert values(after)[key] == values(before)[key]
    weight = learner.model.unet.conv_in.weight
    (found,) = torch.autograd.grad(after["loss"], weight, retain_graph=True)
    (alone,) = torch.autograd.grad(after["da"] + after["df"], weight)
    torch.testing.assert_close(found, alone)


@pytest.mark.parametrize("levels", [(1, 2, 3), (2, 3, 4), (4,)])
def test_levels_change_the_da_loss_alone(step, levels):
    (before, _), (after, learner) = step(), step(levels=levels)
    before, after = values(before), values(after)
    assert (after["df"], after["ob"]) == pytest.approx((before["df"], before["ob"]), rel=1e-5)
    alone = sum(values(step(levels=(level,))[0])["da"] for level in levels)
    assert after["da"] == pytest.approx(alone, rel=1e-4)
    sides = {level: maps[0].shape[1] for level, maps in learner.maps.layers.items()}
    assert sides == {level: {1: 8, 2: 4, 3: 2, 4: 1}[level] for level in levels}


@pytest.mark.parametrize(("n", "n_ob"), [(1, 1), (4, 1), (2, 3)])
def test_numbers_of_tokens(step, product, n, n_ob):
    (terms, learner) = step(anomaly_tokens=n, product_tokens=n_ob)
    assert learner.rows.rows.shape[0] == n_ob + n * len(product.defects)
    assert all(len(places) == n for places in learner.anomaly_positions.values())
    assert all(len(places) == n_ob for places in learner.product_positions.values())
    assert torch.isfinite(terms["loss"])


def test_generic_words_are_the_prompt_and_nothing_of_the_text_learns(step, product):
    terms, learner = step(words="generic", init_anomaly="defect", init_product="bottle")
    prompts = ua.compose(product.defects, TuneSettings(words="generic", init_product="bottle"))
    assert prompts.normal == "a bottle"
    assert set(prompts.anomaly.values()) == {"a bottle with defect"}
    assert prompts.tokens == ()
    assert learner.rows.rows.shape == (0, 16)
    tokenizer, defect = learner.model.tokenizer, product.defects[0]
    read = [tokenizer.convert_ids_to_tokens(int(learner.ids[defect][i])) for i in learner.anomaly_positions[defect]]
    assert "".join(read).replace("</w>", "") == "defect"
    terms["loss"].backward()
    assert [p for p in learner.model.text_encoder.parameters() if p.grad is not None] == []
    assert [n for n, p in learner.model.unet.named_parameters() if p.grad is None] == []
    assert len(tune.optimizer_for(learner, PAPER).param_groups) == 1
    plain = learner.model.text_encoder(learner.ids[defect][None]).last_hidden_state
    learner.model.text_encoder.set_input_embeddings(learner.rows.table)
    torch.testing.assert_close(plain, learner.model.text_encoder(learner.ids[defect][None]).last_hidden_state)


def test_generic_words_may_have_different_numbers_of_tokens():
    maps = torch.rand(3, 4, 4, 6, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(3, 1, 32, 32)
    mask[:, 0, 3:20, 3:14] = 1
    words, product = [torch.tensor(places) for places in ([2, 3], [4], [1, 2, 5])], torch.zeros(1, 1, dtype=torch.int64)
    alone = [da_loss([maps[i : i + 1]], mask[i : i + 1], words[i][None], product, 8) for i in range(3)]
    found = da_loss([maps], mask, stacked(words), product.expand(3, 1), 8)
    torch.testing.assert_close(found, torch.stack(alone).mean())


def test_order_of_training():
    def seen(order):
        settings = TuneSettings(order=order, anomaly_batch=1, normal_batch=3)
        return [tune.counts_of(step, 5, settings) for step in range(5)]

    assert seen("mixed") == [(1, 3)] * 5
    assert seen("anomaly-normal") == [(4, 0)] * 3 + [(0, 4)] * 2
    assert seen("normal-anomaly") == [(0, 4)] * 3 + [(4, 0)] * 2


@pytest.mark.parametrize(("order", "gone"), [("anomaly-normal", {"ob"}), ("normal-anomaly", {"df", "da"})])
def test_a_batch_of_one_kind_has_losses_of_one_kind(step, order, gone):
    terms, learner = step(order=order)
    assert {key for key, value in values(terms).items() if value == 0} == gone
    terms["loss"].backward()
    assert learner.model.unet.conv_in.weight.grad.isfinite().all()


def test_chosen_defect_types(product):
    one = layouts.only(product, product.defects[1:2])
    assert one.defects == product.defects[1:2]
    assert one.normals == product.normals
    assert layouts.only(product, ()) is product
    with pytest.raises(SettingsError, match="unknown defect type 'dent'"):
        layouts.only(product, ("dent",))


def trained(base, product, settings, folder):
    tune.train(product, str(base), folder, settings, {})
    return load_file(folder / "unet/diffusion_pytorch_model.safetensors"), run_folder.load_facts(folder)


def changed(base, folder) -> set[str]:
    file = "unet/diffusion_pytorch_model.safetensors"
    before, after = load_file(base / file), load_file(folder / file)
    assert before.keys() == after.keys()
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def test_a_run_of_one_type(base, product, tune_settings, tmp_path):
    settings = tune_settings.model_copy(update={"defects": product.defects[:1], "steps": 1, "anomaly_batch": 1})
    facts = trained(base, product, settings, tmp_path / "run")[1]
    assert facts.defects == product.defects[:1]
    assert all(f"/{product.defects[0]}/" in name for name in (*facts.train, *facts.held_out))


def test_token_inversion_leaves_the_unet_as_it_is(base, product, tune_settings, tuned, tmp_path):
    trained(base, product, tune_settings.model_copy(update={"unet": "frozen"}), tmp_path / "run")
    assert changed(base, tmp_path / "run") == set()
    assert len(changed(base, tuned)) > 100
    rows, full = (load_file(f / "tokens.safetensors")["rows"] for f in (tmp_path / "run", tuned))
    assert rows.shape == full.shape
    assert (rows[:1] != full[:1]).any()


def test_lora_is_merged_into_the_attention_alone(base, product, tune_settings, tmp_path):
    pytest.importorskip("peft")
    settings = tune_settings.model_copy(update={"unet": "lora", "lora_rank": 2})
    trained(base, product, settings, tmp_path / "run")
    moved = changed(base, tmp_path / "run")
    projections = ("to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight")
    assert moved
    assert all(name.endswith(projections) for name in moved)
    file = "unet/diffusion_pytorch_model.safetensors"
    before, after = load_file(base / file), load_file(tmp_path / "run" / file)
    rounding = 1e-6  # of fp32 weights below 1, as a singular value
    ranks = [int(torch.linalg.matrix_rank(after[name] - before[name], atol=rounding)) for name in moved]
    assert max(ranks) == 2
    run_folder.load(tmp_path / "run")


def test_a_run_of_generic_words_is_read_back(base, product, tune_settings, tmp_path):
    settings = tune_settings.model_copy(update={"words": "generic", "steps": 1})
    trained(base, product, settings, tmp_path / "run")
    loaded, stock = run_folder.load(tmp_path / "run"), components.load(base)
    text = next(iter(loaded.facts.prompts.anomaly.values()))
    torch.testing.assert_close(loaded.embed([text]), ua.embed(stock.tokenizer, stock.text_encoder, [text]))


def test_names_and_levels_on_the_command_line(monkeypatch, product, base, tmp_path):
    given = []
    monkeypatch.setattr(tune, "train", lambda *arguments: given.append(arguments[3]))
    command = [
        "tune",
        str(product.root),
        "--base",
        str(base),
        "--out",
        str(tmp_path / "run"),
        "--levels",
        "2,3,4",
    ]
    ran = CliRunner().invoke(cli.main, [*command, "--defects", "broken_large, contamination"])
    assert ran.exit_code == 0, ran.output
    assert (given[0].defects, given[0].levels) == (("broken_large", "contamination"), (2, 3, 4))
    ran = CliRunner().invoke(cli.main, [*command, "--defects", "broken_large,,"])
    assert ran.exit_code == 2
    assert "names expected" in ran.output


@pytest.mark.parametrize(
    ("cls", "values", "named"),
    [
        (TuneSettings, {"unet": "frozen", "words": "generic"}, "nothing learns"),
        (TuneSettings, {"product_term": "on"}, "product_term"),
        (TuneSettings, {"order": "random"}, "order"),
        (MaskSettings, {"taps": (1, 4)}, "expected 2,3 or"),
        (MaskSettings, {"mrm": "d"}, "mrm"),
        (MaskSettings, {"precision": "fp8"}, "precision"),
    ],
)
def test_a_switch_that_does_not_exist(cls, values, named):
    with pytest.raises(SettingsError, match=named) as caught:
        resolve(cls, None, None, values)
    assert "\n" not in caught.value.format_message()
