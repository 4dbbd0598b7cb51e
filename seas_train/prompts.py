"""Unbalanced abnormal (UA) text prompts and the token rows that learn them (paper sec. 3.2, app. A.3)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from pydantic import BaseModel, ConfigDict
from tokenizers import AddedToken
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from seas_runtime.errors import SettingsError
from seas_train.config import TuneSettings


class Prompts(BaseModel):
    """Every prompt of one product, with the placeholder tokens in it.

    `anomaly` and `anomaly_tokens` are keyed by defect type; each type owns its tokens, the product's are shared. Where nothing
    is `learned` the tokens are words of the text encoder's own vocabulary, the same for all types.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    normal: str
    anomaly: dict[str, str]
    product_tokens: tuple[str, ...]
    anomaly_tokens: dict[str, tuple[str, ...]]
    learned: bool = True

    @property
    def tokens(self) -> tuple[str, ...]:
        """All placeholders, in the order of their rows; none of generic words."""
        if not self.learned:
            return ()
        return self.product_tokens + tuple(t for tokens in self.anomaly_tokens.values() for t in tokens)


def compose(defects: Sequence[str], settings: TuneSettings) -> Prompts:
    """Make the prompts of a product: "a <ob>" and "a <ob> with <df_1>, <df_2>, <df_3>, <df_4>" for each defect type.

    Of generic words (tab. 4, TP) they are "a object" and "a object with defect".

    Raises:
        SettingsError: a template without its placeholder, or with an unknown one.
    """
    learned = settings.words == "learned"
    product = _numbered("ob", settings.product_tokens) if learned else (settings.init_product,)
    anomaly = {
        defect: _numbered(f"df:{defect}", settings.anomaly_tokens, always=True) if learned else (_first_words(defect, settings),)
        for defect in defects
    }
    ob = " ".join(product)
    try:
        texts = {d: settings.prompt.format(ob=ob, df=settings.df_separator.join(t)) for d, t in anomaly.items()}
        normal = settings.normal_prompt.format(ob=ob)
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise SettingsError(
            f"prompt {settings.prompt!r}, normal prompt {settings.normal_prompt!r}: {error!r}; "
            "use {ob} for the product and {df} for the anomaly tokens"
        ) from error
    for defect, text in texts.items():
        if not all(token in text for token in (*product, *anomaly[defect])):
            raise SettingsError(f"prompt {settings.prompt!r}: expected a place for the product {{ob}} and one for {{df}}")
    return Prompts(normal=normal, anomaly=texts, product_tokens=product, anomaly_tokens=anomaly, learned=learned)


def _first_words(defect: str, settings: TuneSettings) -> str:
    """What a type's tokens start as, in words of the text encoder."""
    return settings.init_anomaly.replace("{defect}", spoken(defect))


def spoken(name: str) -> str:
    """A file's or folder's name as words of a caption."""
    return name.replace("_", " ").replace("-", " ").lower()


def _numbered(name: str, count: int, always: bool = False) -> tuple[str, ...]:
    return tuple(f"<{name}_{i}>" for i in range(1, count + 1)) if always or count > 1 else (f"<{name}>",)


class ExtendedEmbedding(nn.Module):
    """A frozen token table with new rows behind it, the new rows a Parameter of their own.

    Weight decay and gradients therefore reach the new rows alone; all others stay bit-identical.
    """

    def __init__(self, table: nn.Embedding, rows: Tensor) -> None:
        super().__init__()
        self.table = table.requires_grad_(False)
        self.rows = nn.Parameter(rows)

    @property
    def weight(self) -> Tensor:
        """The frozen table (vocabulary, width), for code that asks for its dtype or device."""
        return self.table.weight

    def forward(self, ids: Tensor) -> Tensor:
        """Embed token ids (n, L) int64 to (n, L, D)."""
        size = self.table.num_embeddings
        if not len(self.rows):
            return self.table(ids)
        old = self.table(ids.clamp(max=size - 1))
        new = nn.functional.embedding((ids - size).clamp(min=0), self.rows)
        return torch.where((ids >= size).unsqueeze(-1), new, old)


def add_tokens(tokenizer: CLIPTokenizer, prompts: Prompts) -> None:
    """Teach the tokenizer the placeholders; ids follow the vocabulary in the order of `prompts.tokens`.

    Raises:
        SettingsError: a prompt does not fit into the text encoder's length, or the tokenizer knows a placeholder already.
    """
    if taken := [token for token in prompts.tokens if token in tokenizer.get_vocab()]:
        raise SettingsError(
            f"token {taken[0]} found in the base's tokenizer, none of ours expected; give the base that it was added to, or the "
            "run folder that it comes from"
        )
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in prompts.tokens])
    for text in (prompts.normal, *prompts.anomaly.values()):
        length = len(tokenizer(text).input_ids)
        if length > tokenizer.model_max_length:
            raise SettingsError(
                f"prompt {text!r} has {length} tokens, the text encoder takes {tokenizer.model_max_length}; "
                "use fewer anomaly tokens or a shorter prompt"
            )


def initial_rows(
    tokenizer: CLIPTokenizer,
    text_encoder: CLIPTextModel,
    prompts: Prompts,
    settings: TuneSettings,
    known: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Start values (tokens, D) of the new rows: those of the words they start as, a mean where these are several tokens.

    Tokens that were learned before, `known`, start as they were.
    """
    table = text_encoder.get_input_embeddings().weight.detach()

    def row(word: str) -> Tensor:
        ids = tokenizer(word, add_special_tokens=False).input_ids
        return table[ids].mean(dim=0)

    if not prompts.tokens:
        return table.new_zeros(0, table.shape[1])
    starts = [row(settings.init_product)] * len(prompts.product_tokens)
    for defect, tokens in prompts.anomaly_tokens.items():
        starts += [row(_first_words(defect, settings))] * len(tokens)
    found = known or {}
    starts = [found.get(token, start) for token, start in zip(prompts.tokens, starts, strict=True)]
    return torch.stack(starts).clone()


def attach_rows(text_encoder: CLIPTextModel, rows: Tensor) -> ExtendedEmbedding:
    """Put new rows behind the text encoder's token table; everything else in it is frozen."""
    text_encoder.requires_grad_(False)
    extended = ExtendedEmbedding(text_encoder.get_input_embeddings(), rows)
    text_encoder.set_input_embeddings(extended)
    return extended


def tokenize(tokenizer: CLIPTokenizer, texts: Sequence[str]) -> Tensor:
    """Token ids (n, L) int64, padded to the text encoder's length."""
    return tokenizer(list(texts), padding="max_length", truncation=True, return_tensors="pt").input_ids


def embed(tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, texts: Sequence[str]) -> Tensor:
    """Prompt embeddings (n, L, D)."""
    return text_encoder(tokenize(tokenizer, texts).to(text_encoder.device)).last_hidden_state


def positions(tokenizer: CLIPTokenizer, text: str, tokens: Sequence[str]) -> Tensor:
    """Where `tokens` stand in the prompt: (N,) int64, in the order of the tokens; a word of several pieces has as many places."""
    ids = tokenize(tokenizer, [text])[0].tolist()
    places: list[int] = []
    for token in tokens:
        pieces = tokenizer(token, add_special_tokens=False).input_ids
        starts = range(len(ids) - len(pieces) + 1)
        first = next(i for i in starts if ids[i : i + len(pieces)] == pieces)
        places += range(first, first + len(pieces))
    return torch.tensor(places)


def stacked(positions: Sequence[Tensor]) -> Tensor:
    """Positions (n, N) of the tokens of n prompts, which generic words may have different numbers of.

    Each is repeated to the least common multiple of the numbers, which leaves means over its tokens as they are.
    """
    length = math.lcm(*map(len, positions))
    return torch.stack([each.repeat(length // len(each)) for each in positions])
