"""Every way to have a base ends in the same parts: compared with the model that it was written from."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from seas_runtime.errors import SettingsError
from seas_train import prompts as ua
from seas_train import tune
from seas_train.config import TuneSettings
from seas_train.models import bases, components, lora, reading, tokens
from seas_train.models.origin import Lora, Origin
from tests.train.models import originals
from tests.train.models.originals import FIRST, SECOND
from tests.train.refusals import data_error

ABOUT = {"modelspec.resolution": "64x64", "modelspec.prediction_type": "v"}


@pytest.fixture(scope="module")
def first():
    return originals.build(FIRST)


@pytest.fixture(scope="module")
def folder(first, tmp_path_factory):
    """The folder of `first`. Read only."""
    out = tmp_path_factory.mktemp("first") / "base"
    first.save(out)
    return out


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def same(found, expected, tolerance=0.0):
    for name, network in expected.networks.items():
        theirs = getattr(found, name).state_dict()
        assert theirs.keys() == network.state_dict().keys()
        for key, value in network.state_dict().items():
            torch.testing.assert_close(theirs[key], value, rtol=tolerance, atol=tolerance)
            assert theirs[key].dtype == value.dtype
    assert found.tokenizer("a bottle with crack").input_ids == expected.tokenizer("a bottle with crack").input_ids


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_a_single_file_of_the_first_version(first, tmp_path, suffix):
    path = originals.single_file(first, tmp_path / f"fine{suffix}")
    found = components.inspect(Origin(str(path), size=64))
    assert (found.prediction, found.image_size, found.widths) == ("epsilon", 64, FIRST.unet_channels)
    assert components.inspect(path).image_size == 512  # what every one of them has, the file says nothing
    model = bases.load(Origin(str(path), size=64)).model
    same(model, first)
    assert model.latent_shape == (4, 8, 8)
    assert model.unet.config.attention_head_dim == 8
    assert model.vae.config.scaling_factor == 0.18215
    images = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(model.vae(images).sample, first.vae(images).sample)


def test_a_single_file_of_the_second_version(tmp_path):
    model = originals.build(SECOND, prediction="v_prediction")
    path = originals.single_file(model, tmp_path / "second.safetensors", True, ABOUT)
    found = bases.load(path).model
    same(found, model)
    assert found.scheduler.config.prediction_type == "v_prediction"
    assert found.image_size == 64
    assert found.unet.config.attention_head_dim == [1, 1, 2, 2]
    ids = model.tokenizer("a bottle", padding="max_length", return_tensors="pt").input_ids
    torch.testing.assert_close(found.text_encoder(ids)[0], model.text_encoder(ids)[0])


def test_a_file_of_the_second_version_must_say_what_it_predicts(tmp_path):
    path = originals.single_file(originals.build(SECOND), tmp_path / "second.ckpt", True)
    said = data_error(components.inspect, path)
    assert "--prediction v_prediction (the model of 768 pixels) or --prediction epsilon" in said
    assert components.inspect(Origin(str(path), prediction="epsilon")).image_size == 512
    assert components.inspect(Origin(str(path), prediction="v_prediction")).image_size == 768


def test_a_single_file_s_tokenizer(first, folder, tmp_path, monkeypatch):
    path = originals.single_file(first, tmp_path / "fine.safetensors")
    shutil.rmtree(tmp_path / "tokenizer")
    monkeypatch.setattr(tokens, "PACKAGES", ())
    monkeypatch.setattr(tokens, "CLIP", "nobody/nothing")
    said = data_error(components.inspect, path)
    assert "a single file has no tokenizer; put tokenizer/" in said
    assert "\n" not in said
    for place in (folder, folder / "tokenizer"):
        assert components.inspect(Origin(str(path), tokenizer=place)).tokens == len(first.tokenizer)
    assert "no such tokenizer" in data_error(components.inspect, Origin(str(path), tokenizer=tmp_path / "absent"))


def test_a_variant(first, copy):
    originals.half_variant(copy)
    assert "add --variant fp16" in data_error(components.inspect, copy)
    assert "found no weights of the variant bf16, but those of fp16" in data_error(bases.load, Origin(str(copy), "bf16"))
    same(bases.load(Origin(str(copy), "fp16")).model, first, 1e-3)


def test_a_variant_that_is_pickled(first, copy, caplog):
    """Beside plain safetensors, which are not what was asked for; the VAE has plain ones alone."""
    for part, name in (("unet", "diffusion_pytorch_model"), ("text_encoder", "pytorch_model")):
        state = load_file(next((copy / part).glob("*.safetensors")))
        torch.save({k: v.half() if v.is_floating_point() else v for k, v in state.items()}, copy / part / f"{name}.fp16.bin")
    found = bases.load(Origin(str(copy), "fp16")).model
    same(found, first, 1e-3)
    assert not torch.equal(found.unet.conv_in.weight, first.unet.conv_in.weight)
    assert torch.equal(found.vae.quant_conv.weight, first.vae.quant_conv.weight)
    assert [message.split(": ")[2][:20] for message in caplog.messages] == ["unet has no safetens", "text_encoder has no "]


def test_pickles_without_code(first, copy):
    originals.pickled(copy)
    same(bases.load(copy).model, first)


@pytest.fixture
def hub(folder, tmp_path, monkeypatch):
    """A cache without a network. The libraries look where it is as they are imported: here they are told of it."""
    from huggingface_hub import constants

    originals.hub_cache(folder, tmp_path / "hub", "someone/fine-tune")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    read = reading.read
    monkeypatch.setattr(reading, "read", lambda *a, **how: read(*a, **{**how, "cache_dir": str(tmp_path / "hub")}))
    return tmp_path / "hub"


def test_a_hub_cache_without_a_network(first, hub):
    same(bases.load("someone/fine-tune").model, first)
    assert "no hub has been reached" in data_error(bases.load, "someone/absent")


def test_a_revision_is_read_in_every_part_and_kept_in_the_run(first, copy, hub, product, tmp_path):
    """A branch on which every part is another one than on main, the only other that is there."""
    from tests.smallest import TUNE

    other = originals.build(FIRST.model_copy(update={"text_layers": 1, "prompt_length": 25}), prediction="v_prediction")
    other.save(tmp_path / "other")
    originals.hub_cache(tmp_path / "other", hub, "someone/fine-tune", "second")
    origin = Origin("someone/fine-tune", revision="second")
    found = components.inspect(origin)
    assert (found.prediction, found.prompt[0]) == ("v_prediction", 25)
    same(bases.load(origin).model, other)
    same(bases.load("someone/fine-tune").model, first)
    assert "no hub has been reached" in data_error(components.inspect, Origin("someone/fine-tune", revision="third"))
    tune.train(product, origin, tmp_path / "run", TUNE.model_copy(update={"steps": 1}), {})
    facts = json.loads((tmp_path / "run" / "run.json").read_text())["provenance"]
    assert facts == {"base": "someone/fine-tune", "base_revision": "second"}


@pytest.mark.parametrize("style", ["kohya", "peft", "stated", "diffusers"])
def test_lora_files_are_added(first, folder, tmp_path, style):
    """W + weight * alpha / rank * up @ down, worked out by hand; kohya's files have alphas, peft's may state one."""
    layers = originals.lora_layers(first)
    path = originals.lora_file(layers, tmp_path / "style.safetensors", style, alpha=4.0)
    found = bases.load(Origin(str(folder), loras=(Lora(path, 0.5),))).model
    factor = 0.5 * (4.0 / 2 if style in ("kohya", "stated") else 1.0)
    changed = 0
    for network in ("unet", "text_encoder"):
        for name, value in getattr(first, network).state_dict().items():
            key = (network, name.removeprefix("text_model.").removesuffix(".weight"))
            down, up = layers.get(key, (None, None)) if name.endswith(".weight") else (None, None)
            expected = value if down is None else value + factor * (up @ down).view_as(value)
            torch.testing.assert_close(getattr(found, network).state_dict()[name], expected)
            changed += down is not None
    assert changed == len(layers)


def test_two_loras_add_up(first, folder, tmp_path):
    files = [originals.lora_file(originals.lora_layers(first, seed), tmp_path / f"{seed}.safetensors", "peft") for seed in (1, 2)]
    both = bases.load(Origin(str(folder), loras=(Lora(files[0]), Lora(files[1], -1)))).model
    other = bases.load(Origin(str(folder), loras=(Lora(files[1], -1), Lora(files[0])))).model
    for a, b in zip(both.unet.parameters(), other.unet.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def spoiled_lora(path, **change):
    state = load_file(path)
    save_file({**state, **change}, path)
    return path


def test_loras_that_do_not_fit(first, folder, tmp_path):
    networks = {"unet": first.unet, "text_encoder": first.text_encoder}
    before = components.fingerprint(*networks.values())
    layers = originals.lora_layers(first)
    wide = {key: (torch.zeros(2, 999), up) for key, (down, up) in layers.items()}
    said = data_error(lora.add, networks, originals.lora_file(wide, tmp_path / "wide.safetensors", "peft"), 1.0)
    assert "was made for another model" in said
    doubtful = spoiled_lora(originals.lora_file(layers, tmp_path / "d.safetensors", "peft"), strange=torch.zeros(2))
    assert "found the tensor" in data_error(lora.add, networks, doubtful, 1.0)
    scaled = originals.lora_file(layers, tmp_path / "r.safetensors", "peft", **{"unet.use_rslora": True})
    assert "found unet.use_rslora, expected a plain LoRA" in data_error(lora.add, networks, scaled, 1.0)
    strange = originals.lora_file(
        {("unet", "nowhere.to_q"): (torch.zeros(2, 3), torch.zeros(3, 2))}, tmp_path / "s.safetensors", "peft"
    )
    assert "no such layer" in data_error(lora.add, networks, strange, 1.0)
    save_file({"a": torch.zeros(1)}, tmp_path / "none.safetensors")
    assert str(tmp_path / "none.safetensors") in data_error(lora.add, networks, tmp_path / "none.safetensors", 1.0)
    assert "no such LoRA file" in data_error(
        components.inspect, Origin(str(folder), loras=(Lora(tmp_path / "absent.safetensors"),))
    )
    assert components.fingerprint(*networks.values()) == before


def test_a_run_is_a_base_without_its_tokens(tuned, base, product):
    """What was learned comes along under the names that the same product's tokens have again; others begin anew."""
    found, stock = bases.load(tuned), components.load(base)
    assert found.product == product.name
    assert len(found.model.tokenizer) == len(found.model.text_encoder.get_input_embeddings().weight) == len(stock.tokenizer)
    assert "<ob>" not in found.model.tokenizer.get_vocab()
    rows = load_file(tuned / "tokens.safetensors")["rows"]
    names = ["<ob>", *(f"<df:{defect}_{i}>" for defect in product.defects for i in (1, 2, 3, 4))]
    assert list(found.rows) == names
    trained = load_file(tuned / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(found.model.unet.state_dict()[name], value) for name, value in trained.items())
    settings = TuneSettings()
    learner = tune.prepare(found.model, ua.compose((*product.defects, "new"), settings), settings, found.rows)
    assert torch.equal(learner.rows.rows[: len(rows)], rows)
    word = stock.text_encoder.get_input_embeddings().weight[stock.tokenizer("defect", add_special_tokens=False).input_ids].mean(0)
    for row in learner.rows.rows[len(rows) :]:
        torch.testing.assert_close(row, word)


def test_a_run_of_another_product_gives_no_rows(tuned, product, tmp_path):
    run = shutil.copytree(tuned, tmp_path / "run")
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**facts, "product": "other"}))
    from tests.smallest import TUNE

    tune.train(product, str(run), tmp_path / "next", TUNE.model_copy(update={"steps": 1, "embedding_lr": 1e-9}), {})
    rows = load_file(tmp_path / "next" / "tokens.safetensors")["rows"]
    assert not torch.allclose(rows[0], load_file(tuned / "tokens.safetensors")["rows"][0], atol=1e-4)
    tune.train(product, str(tuned), tmp_path / "same", TUNE.model_copy(update={"steps": 1, "embedding_lr": 1e-9}), {})
    again = load_file(tmp_path / "same" / "tokens.safetensors")["rows"]
    torch.testing.assert_close(again, load_file(tuned / "tokens.safetensors")["rows"], rtol=0, atol=1e-5)


def more_tokens(folder, model, names):
    tokenizer = type(model.tokenizer).from_pretrained(folder / "tokenizer")
    tokenizer.add_tokens(names)
    shutil.rmtree(folder / "tokenizer")
    tokenizer.save_pretrained(folder / "tokenizer")


def test_textual_inversion_beside_the_model(first, copy):
    more_tokens(copy, first, ["<cat>", "<dog>"])
    save_file({"<dog>": torch.full((64,), 0.5)}, copy / "learned_embeds.safetensors")
    notes = " ".join(components.inspect(copy).notes)
    assert "rows of <dog> are taken from learned_embeds" in notes
    assert "tokens without a row are left out: <cat>" in notes
    model = bases.load(copy).model
    table, rows = model.text_encoder.get_input_embeddings().weight, len(first.tokenizer)
    assert model.tokenizer("<dog>", add_special_tokens=False).input_ids == [rows]
    assert model.tokenizer("a bottle").input_ids == first.tokenizer("a bottle").input_ids
    assert len(table) == len(model.tokenizer) == model.text_encoder.config.vocab_size == rows + 1
    assert torch.equal(table[rows], torch.full((64,), 0.5))
    assert torch.equal(table[:rows], first.text_encoder.get_input_embeddings().weight)


def test_textual_inversion_saved_with_its_rows(first, copy):
    """As diffusers' script saves a whole pipeline: the table has grown with the tokenizer."""
    more_tokens(copy, first, ["<cat>"])
    grown = originals.build(FIRST)
    grown.text_encoder.resize_token_embeddings(len(grown.tokenizer) + 1, mean_resizing=False)
    grown.text_encoder.save_pretrained(copy / "text_encoder")
    model = bases.load(copy).model
    assert len(model.tokenizer) == len(model.text_encoder.get_input_embeddings().weight) == len(first.tokenizer) + 1


def test_rows_that_no_token_has_are_cut_off(first, copy):
    grown = originals.build(FIRST)
    grown.text_encoder.resize_token_embeddings(len(grown.tokenizer) + 40, mean_resizing=False)
    grown.text_encoder.save_pretrained(copy / "text_encoder")
    assert "40 rows of the text encoder belong to no token" in " ".join(components.inspect(copy).notes)
    model = bases.load(copy).model
    assert torch.equal(
        model.text_encoder.get_input_embeddings().weight, grown.text_encoder.get_input_embeddings().weight[: len(first.tokenizer)]
    )


def test_a_placeholder_that_the_base_has_already(model, product):
    model.tokenizer.add_tokens(["<ob>"])
    settings = TuneSettings()
    with pytest.raises(SettingsError, match="token <ob> found in the base's tokenizer"):
        tune.prepare(model, ua.compose(product.defects, settings), settings)


def test_a_prediction_that_the_configs_have_wrong(copy):
    path = copy / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "rescale_betas_zero_snr": True}))
    assert "--prediction v_prediction" in data_error(bases.load, copy)
    noise = bases.load(Origin(str(copy), prediction="v_prediction")).model.scheduler
    assert noise.config.prediction_type == "v_prediction"
    assert float(noise.alphas_cumprod[-1]) == 0


def test_what_was_asked_is_kept_in_the_run(first, folder, product, tmp_path):
    from tests.smallest import TUNE

    path = originals.lora_file(originals.lora_layers(first), tmp_path / "style.safetensors", "peft")
    origin = Origin(str(folder), loras=(Lora(path, 0.5),), prediction="v_prediction", size=64)
    tune.train(product, origin, tmp_path / "run", TUNE.model_copy(update={"steps": 1}), {"licence": "CC0"})
    facts = json.loads((tmp_path / "run" / "run.json").read_text())["provenance"]
    expected = {"base": "base", "base_lora": ["style.safetensors:0.5"], "base_prediction": "v_prediction", "base_size": 64}
    assert facts == {"licence": "CC0", **expected}
    noise = json.loads((tmp_path / "run" / "scheduler" / "scheduler_config.json").read_text())
    assert noise["prediction_type"] == "v_prediction"
