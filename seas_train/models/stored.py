"""A base model as it lies on a disk or a hub: which parts it has, what their configs say, whether it can be trained."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL, DDPMScheduler, DiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTokenizer

from seas_runtime.errors import DataError
from seas_runtime.files import require_plain
from seas_runtime.terminal import shown
from seas_train.models import lora, reading, rules, single_file, tokens, weights
from seas_train.models.inspected import Inspected
from seas_train.models.origin import Origin
from seas_train.models.rules import WORKS, Configs

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
WEIGHTED = ("unet", "vae", "text_encoder")
PADS = {"gelu": "!", "quick_gelu": "<|endoftext|>"}
"""What prompts are padded with, by the text encoder's activation: Stable Diffusion 2.x pads otherwise than 1.x."""


def inspect(source: str | Path | Origin, vae: str | Path | Origin | None = None, added: int | None = 0) -> Inspected:
    """Read a model's configs, before any weights, and refuse what would train wrongly or not at all.

    Args:
        source: a local folder, a single file, a hub name, or one of these with what is asked of it.
        vae: the model whose autoencoder is taken; None, the same.
        added: tokens that the tokenizer must have beyond the text encoder's table, as a run has; 0 for a base, whose tokenizer may
            have some that will be given rows, or left out; None, not compared.

    Raises:
        DataError: a part is missing, not whole or cannot be read, or the model is none that can be trained.
    """
    origin = Origin.of(source)
    for each in origin.loras:
        lora.require_file(each.file)
    try:
        return _inspected(origin, vae, added)
    except (TypeError, ValueError, AttributeError, LookupError, OverflowError) as error:
        reason = shown(str(error).partition("\n")[0])
        raise DataError(f"{origin.source}: a config holds a value of another kind ({reason}); copy the model again") from error


def _inspected(origin: Origin, vae: str | Path | Origin | None, added: int | None) -> Inspected:
    configs = single_file.configs(origin) if origin.is_file else read_configs(origin, vae)
    if wrong := rules.wrong(configs):
        raise DataError(f"{origin.source}: {wrong}")
    tokenizer = read_tokenizer(origin, configs)
    rows = int(configs.text.get("vocab_size", 49408))
    wrong, notes = (None, ()) if added is None else _compared(origin, tokenizer, rows, added)
    if wrong is None and tokenizer.model_max_length > (length := int(configs.text.get("max_position_embeddings", 77))):
        wrong = f"found a tokenizer of prompts of {tokenizer.model_max_length} tokens over a text encoder of {length}; give {WORKS}"
    if wrong:
        raise DataError(f"{origin.source}: {wrong}")
    unet, noise = configs.unet, configs.scheduler
    return Inspected(
        channels=(unet.get("in_channels", 4), unet.get("out_channels", 4)),
        latent_channels=configs.vae.get("latent_channels", 4),
        prediction=noise.get("prediction_type", "epsilon"),
        tokens=len(tokenizer),
        rows=rows,
        image_size=origin.size or 8 * unet["sample_size"],
        widths=tuple(unet.get("block_out_channels", (320, 640, 1280, 1280))),
        prompt=(tokenizer.model_max_length, configs.text.get("hidden_size", 512)),
        scaling=configs.vae.get("scaling_factor", 0.18215),
        betas=(noise.get("beta_start", 0.0001), noise.get("beta_end", 0.02), noise.get("beta_schedule", "linear")),
        zero_snr=bool(noise.get("rescale_betas_zero_snr")),
        notes=tuple(notes),
    )


def read_configs(origin: Origin, vae: str | Path | Origin | None = None) -> Configs:
    """Configs of a folder or of a hub name, whose files of weights are whole as far as their ends tell.

    Raises:
        DataError: a part is missing, not whole or cannot be read, or the model is of another kind.
    """
    other = origin if vae is None else Origin.of(vae)
    index = _index(origin)
    if wrong := rules.family(str(index.get("_class_name", ""))):
        unet = origin.path / "unet" / "config.json"  # tells which plain base is nearest
        width = _config(UNet2DConditionModel, origin, "unet").get("cross_attention_dim") if unet.is_file() else None
        raise DataError(f"{origin.source}: {rules.family(str(index['_class_name']), width) or wrong}")
    require_parts(origin, other)
    if wrong := _unwhole(origin):
        raise DataError(wrong)
    scheduler = _config(DDPMScheduler, origin, "scheduler")
    return Configs(
        index=index,
        unet=_config(UNet2DConditionModel, origin, "unet"),
        vae=_config(AutoencoderKL, other, "vae"),
        text=_text_config(origin),
        scheduler={**scheduler, "prediction_type": origin.prediction or scheduler.get("prediction_type", "epsilon")},
    )


def read_tokenizer(origin: Origin, configs: Configs) -> CLIPTokenizer:
    """The tokenizer as it is, with tokens of its own where it has some.

    Raises:
        DataError: it cannot be read, or there is none.
    """
    if origin.is_file or origin.tokenizer is not None:
        return tokens.find(origin.tokenizer, origin.path, PADS.get(configs.text.get("hidden_act", ""), "<|endoftext|>"))
    return tokens.whole(reading.read(CLIPTokenizer.from_pretrained, origin, "tokenizer"), origin.source)


def _compared(origin: Origin, tokenizer: CLIPTokenizer, rows: int, added: int) -> tuple[str | None, list[str]]:
    """Tokenizer against table: what is wrong, and what will be done about the rest."""
    count, words = len(tokenizer), len(tokens.vocabulary(tokenizer))
    said = f"a tokenizer of {count} tokens over a text encoder of {rows}"
    other = f"give the model that these tokens were added to, or {WORKS}"
    if added:
        return (None if count == rows + added else f"found {said}, expected {rows + added} tokens; {other}"), []
    if words > rows or count < rows - tokens.SPARE_ROWS:
        return f"found {said}, expected {rows} tokens; {other}", []
    if origin.is_run:
        return None, ["a run of `seas-train tune`: its U-Net is taken, and what its tokens learned of the same product"]
    if count < rows:
        return None, [f"{rows - count} rows of the text encoder belong to no token and are cut off"]
    late = tokens.added(tokenizer)[max(0, rows - words) :] if count > rows else []
    learned = tokens.learned_rows(origin.path) if late and origin.path.is_dir() else {}
    notes = []
    if known := [token for token in late if token in learned]:
        notes.append(f"rows of {', '.join(known)} are taken from {tokens.LEARNED}")
    if without := [token for token in late if token not in learned]:
        notes.append(f"tokens without a row are left out: {', '.join(without)}")
    return None, notes


def _unwhole(origin: Origin) -> str | None:
    """What is wrong with the files of weights in a folder."""
    for part in WEIGHTED:
        folder = origin.path / part
        if not folder.is_dir():
            continue
        if wrong := weights.first_fault(folder, reading.variant_of(origin, part)):
            return wrong
        plain, variants = weights.variants(folder)
        if origin.variant is None and variants and not plain:
            return f"{folder}: found weights of the variant {variants[0]} alone, expected plain ones; add --variant {variants[0]}"
        if origin.variant is not None and part == "unet" and origin.variant not in variants:
            known = f"those of {', '.join(variants)}" if variants else "plain ones" if plain else "none"
            return f"{folder}: found no weights of the variant {origin.variant}, but {known}; choose another --variant, or none"
    return None


def require_parts(origin: Origin, vae: Origin) -> None:
    """Refuse a folder that lacks a part, the autoencoder in `vae`; a hub name is asked later.

    Raises:
        DataError: no such folder, a part is not in it, or something in a part is no plain file.
    """
    _require(origin, PARTS if vae is origin else [part for part in PARTS if part != "vae"])
    if vae is not origin:
        _require(vae, ["vae"])


def _require(origin: Origin, parts: Sequence[str]) -> None:
    source, folder = origin.source, origin.path
    if origin.is_folder:
        missing = [part for part in parts if not (folder / part).is_dir()]
        if missing:
            raise DataError(
                f"{folder}: found no {missing[0]}/ folder; expected a diffusers folder with {', '.join(parts)}. "
                "Give the output folder of `seas-train base` or a Stable Diffusion v1-4 folder."
            )
        for part in parts:
            require_plain(folder / part)
    elif os.sep in source and (source.startswith((".", os.sep)) or source.count("/") != 1):
        raise DataError(f"{source}: no such folder. Give a base model's folder or a hub name like owner/model.")


def _index(origin: Origin) -> dict[str, Any]:
    """What `model_index.json` says, where there is one."""
    source, path = origin.source, origin.path / "model_index.json"
    try:
        if origin.is_folder:
            return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
        if "/" not in source or source.startswith((".", os.sep)):
            return {}
        return dict(DiffusionPipeline.load_config(source, **origin.version))
    except (OSError, ValueError, TypeError, RecursionError):
        return {}  # a help, not a part: what is wrong with the model is told of its parts


def _config(cls: Any, origin: Origin, part: str) -> dict[str, Any]:
    return _object(reading.read(cls.load_config, origin, part), origin, part)


def _text_config(origin: Origin) -> dict[str, Any]:
    def reader(name: str, **how: Any) -> Any:
        return CLIPTextConfig.get_config_dict(name, **how)[0]

    found = _object(reading.read(reader, origin, "text_encoder"), origin, "text_encoder")
    return dict(found.get("text_config", found)) if found.get("model_type") == "clip" else found


def _object(found: Any, origin: Origin, part: str) -> dict[str, Any]:
    if not isinstance(found, dict) or not found:
        raise DataError(f"{origin.source}: the config of {part}/ is no JSON object; copy the model again")
    return found
