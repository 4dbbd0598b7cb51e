"""A base model as `tune` takes it: whatever way it is stored, one set of parts whose tokenizer and table agree."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from diffusers import DDPMScheduler
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from seas_runtime import voice
from seas_runtime.errors import DataError
from seas_runtime.files import require_plain
from seas_train.models import components, lora, single_file, stored, tokens
from seas_train.models.components import Components
from seas_train.models.origin import Origin


@dataclass(frozen=True)
class Base:
    """A base in memory.

    Attributes:
        model: its parts, fp32.
        product: of the run that it is; None where it is none.
        rows: that run's learned rows (D,) by token.
    """

    model: Components
    product: str | None = None
    rows: dict[str, Tensor] = field(default_factory=dict)


def load(source: str | Path | Origin) -> Base:
    """Read a base, and do what is asked of it: LoRA files, another prediction type, another size.

    A run's own tokens are taken off its tokenizer, so that no new token can be taken for one of them.

    Raises:
        DataError: it cannot be read or cannot be trained; see `components.inspect`.
    """
    origin = Origin.of(source)
    components.inspect(origin)
    with voice.doing(f"reading {origin.source}"):
        model = _from_file(origin) if origin.is_file else components.load(origin)
    if origin.tokenizer is not None and not origin.is_file:
        model.tokenizer = tokens.find(origin.tokenizer, origin.path, "<|endoftext|>")
    product, rows = _run(origin) if origin.is_run else (None, {})
    if origin.is_run:
        model.tokenizer = tokens.keeping(model.tokenizer, [t for t in tokens.added(model.tokenizer) if t not in rows])
    learned = tokens.learned_rows(origin.path) if origin.path.is_dir() else {}
    model.tokenizer = tokens.fit(model.tokenizer, model.text_encoder, learned)
    if origin.prediction is not None:
        model.scheduler = DDPMScheduler.from_config(model.scheduler.config, prediction_type=origin.prediction)
    if origin.size is not None:
        model.unet.register_to_config(sample_size=origin.size // 8)
    for each in origin.loras:
        lora.add({"unet": model.unet, "text_encoder": model.text_encoder}, each.file, each.weight)
    return Base(model, product, rows)


def _from_file(origin: Origin) -> Components:
    configs = single_file.configs(origin)
    unet, vae, text_encoder = single_file.load(origin, configs)
    tokenizer = stored.read_tokenizer(origin, configs)
    return Components(unet, vae, text_encoder, tokenizer, DDPMScheduler.from_config(dict(configs.scheduler)))


def _run(origin: Origin) -> tuple[str, dict[str, Tensor]]:
    """Product and learned rows (D,) by token of a run."""
    require_plain(origin.path)
    try:
        facts = json.loads((origin.path / "run.json").read_text(encoding="utf-8"))
        rows = load_file(origin.path / "tokens.safetensors")["rows"]
        product, prompts = str(facts["product"]), facts["prompts"]
        names = [*prompts["product_tokens"], *(token for tokens in prompts["anomaly_tokens"].values() for token in tokens)]
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise DataError(f"{origin.source}: cannot be read ({error}); make the run again with `seas-train tune`") from error
    if not len(rows):  # generic words, nothing was learned
        return product, {}
    if len(names) != len(rows):
        raise DataError(f"{origin.source}: found {len(rows)} rows and {len(names)} tokens, expected as many; copy the run again")
    return product, dict(zip(names, rows, strict=True))
