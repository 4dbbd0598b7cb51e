"""UA prompts: their text, their token rows, and what does not fit."""

import pytest
import torch

from seas_runtime.errors import SettingsError
from seas_train import prompts as ua
from seas_train.config import TuneSettings


@pytest.fixture
def extended(model):
    """The small model's tokenizer and text encoder with the prompts of two defect types."""
    settings = TuneSettings()
    prompts = ua.compose(["Broken Neck", "crack"], settings)
    ua.add_tokens(model.tokenizer, prompts)
    rows = ua.initial_rows(model.tokenizer, model.text_encoder, prompts, settings)
    return model, prompts, ua.attach_rows(model.text_encoder, rows)


def test_text_of_the_prompts():
    prompts = ua.compose(["crack", "contamination"], TuneSettings())
    assert prompts.normal == "a <ob>"
    assert prompts.anomaly == {
        "crack": "a <ob> with <df:crack_1>, <df:crack_2>, <df:crack_3>, <df:crack_4>",
        "contamination": ("a <ob> with <df:contamination_1>, <df:contamination_2>, <df:contamination_3>, <df:contamination_4>"),
    }
    assert len(set(prompts.tokens)) == len(prompts.tokens) == 1 + 2 * 4


def test_published_prompts_have_no_commas():
    settings = TuneSettings(anomaly_tokens=2, product_tokens=2, **TuneSettings.presets["published"])
    assert ua.compose(["crack"], settings).anomaly["crack"] == "a <ob_1> <ob_2> with <df:crack_1> <df:crack_2>"


@pytest.mark.parametrize(
    "prompt",
    ["a {ob}", "with {df}", "a {ob} with {defect}", "a {ob} with {df", "a {ob} {df.x}", "{{df}} {ob}", "{} {df}"],
)
def test_a_template_that_does_not_hold_both_placeholders(prompt):
    with pytest.raises(SettingsError) as caught:
        ua.compose(["crack"], TuneSettings(prompt=prompt))
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.format_message()
    assert repr(prompt) in caught.value.format_message()


def test_a_prompt_longer_than_the_text_encoder_takes(model):
    prompts = ua.compose(["crack"], TuneSettings(anomaly_tokens=20))
    with pytest.raises(SettingsError, match="the text encoder takes 24"):
        ua.add_tokens(model.tokenizer, prompts)


def test_new_rows_start_at_object_and_defect(extended):
    model, prompts, rows = extended
    table = rows.table.weight

    def mean_row(word: str) -> torch.Tensor:
        ids = model.tokenizer(word).input_ids[1:-1]
        return torch.stack([table[i] for i in ids]).mean(dim=0)

    assert prompts.tokens[0] == "<ob>"
    torch.testing.assert_close(rows.rows[0], mean_row("object"))
    for row in rows.rows[1:]:
        torch.testing.assert_close(row, mean_row("defect"))
    assert not torch.equal(rows.rows[0], rows.rows[1])


def test_rows_may_start_as_the_words_of_their_own_type(model):
    settings = TuneSettings(init_product="bottle", init_anomaly="{defect}", anomaly_tokens=2)
    prompts = ua.compose(["broken_large", "crack"], settings)
    table = model.text_encoder.get_input_embeddings().weight.detach()
    rows = ua.initial_rows(model.tokenizer, model.text_encoder, prompts, settings)
    words = ["bottle", "broken large", "broken large", "crack", "crack"]
    for row, word in zip(rows, words, strict=True):
        ids = model.tokenizer(word).input_ids[1:-1]
        torch.testing.assert_close(row, torch.stack([table[i] for i in ids]).mean(dim=0))
    generic = ua.compose(["broken_large"], TuneSettings(words="generic", init_anomaly="{defect}"))
    assert generic.anomaly == {"broken_large": "a object with broken large"}


def test_each_placeholder_is_one_token_of_its_own(extended):
    model, prompts, rows = extended
    size = rows.table.num_embeddings
    assert model.tokenizer.convert_tokens_to_ids(list(prompts.tokens)) == list(range(size, size + 9))
    for defect, text in prompts.anomaly.items():
        ids = ua.tokenize(model.tokenizer, [text])[0].tolist()
        placeholders = [i for i in ids if i >= size]
        expected = ["<ob>", *(f"<df:{defect}_{i}>" for i in range(1, 5))]
        assert model.tokenizer.convert_ids_to_tokens(placeholders) == expected


def test_positions_are_where_the_tokens_stand(extended):
    model, prompts, _ = extended
    text = prompts.anomaly["crack"]
    words = model.tokenizer.convert_ids_to_tokens(model.tokenizer(text).input_ids)
    tokens = prompts.anomaly_tokens["crack"]
    assert [words[i] for i in ua.positions(model.tokenizer, text, tokens)] == list(tokens)


def test_extended_embedding_looks_up_both_tables():
    table, rows = torch.nn.Embedding(5, 3), torch.randn(2, 3)
    whole = torch.cat([table.weight.detach(), rows])
    ids = torch.tensor([[0, 6, 4], [5, 1, 5]])
    extended = ua.ExtendedEmbedding(table, rows.clone())
    embedded = extended(ids)
    assert embedded.tolist() == whole[ids].tolist()
    embedded.sum().backward()
    assert table.weight.grad is None
    assert extended.rows.grad.tolist() == [[2.0] * 3, [1.0] * 3]


def test_only_the_new_rows_of_the_text_encoder_learn(extended):
    model, _, rows = extended
    learning = [p for p in model.text_encoder.parameters() if p.requires_grad]
    assert len(learning) == 1
    assert learning[0] is rows.rows
