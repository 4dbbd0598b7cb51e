"""The base model as an option, and what can be asked of it."""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

import click

from seas_runtime.errors import SettingsError
from seas_train.models.origin import Lora, Origin
from seas_train.options import NOT_STATED
from seas_train.output import read_json

Function = TypeVar("Function", bound=Callable[..., Any])
_PATH = click.Path(path_type=Path)
_NAMES = ("base", "variant", "loras", "tokenizer", "prediction", "size", "revision")


class LoraType(click.ParamType):  # type: ignore[type-arg]  # generic in new versions of click alone
    """A file and the weight it is added with, such as style.safetensors:0.8."""

    name = "FILE[:WEIGHT]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Lora:
        """Parse the text; a weight that is no number is part of the file's name."""
        if isinstance(value, Lora):
            return value
        file, _, last = str(value).rpartition(":")
        try:
            weight = float(last)
        except ValueError:
            return Lora(Path(str(value)))
        if not file or not isfinite(weight):
            self.fail(f"{value!r} found, a file and a number expected, as in style.safetensors:0.8", param, ctx)
        return Lora(Path(file), weight)


def base_options(required: bool) -> Callable[[Function], Function]:
    """Give a command --base and what belongs to it; it is called with `base`, an `Origin`, None where --base is not given."""
    size, own = click.IntRange(16, 4096), "the base's" if required else "the base's, or 512"
    options = (
        click.option(
            "--base",
            required=required,
            metavar="BASE",
            help="A base model: a folder in diffusers' layout, a single file (.safetensors, .ckpt), a run, or a hub name.",
        ),
        click.option("--revision", metavar="NAME", help="Branch, tag or commit of a base on a hub, kept in the result."),
        click.option("--variant", metavar="NAME", help="Of the base's files of weights, such as fp16."),
        click.option(
            "--lora",
            "loras",
            type=LoraType(),
            multiple=True,
            help="LoRA weights added to the base, 1: as trained; may be repeated.",
        ),
        click.option("--tokenizer", type=_PATH, metavar="PATH", help="Of a single file: a tokenizer's folder, or CLIP's merges."),
        click.option(
            "--prediction",
            type=click.Choice(["epsilon", "v_prediction"]),
            help="What the base's U-Net predicts, where its files do not say so.",
        ),
        click.option("--size", type=size, metavar="PIXELS", help=f"Side of the images.  [default: {own}]"),
    )

    def decorate(command: Function) -> Function:
        @functools.wraps(command)
        def ordered(*args: Any, **given: Any) -> Any:
            source, *asked = (given.pop(name) for name in _NAMES)
            base = _origin(source, *asked)
            if base is not None and base.source:
                base.require_found()
            return command(*args, base=base, **given)

        for option in reversed(options):
            ordered = option(ordered)
        return typing.cast("Function", ordered)

    return decorate


def _origin(source: str | None, variant: str | None, loras: tuple[Lora, ...], *more: Any) -> Origin | None:
    tokenizer, prediction, size, revision = more
    if source is None:
        given = {"revision": revision, "variant": variant, "lora": loras or None, "tokenizer": tokenizer, "prediction": prediction}
        if extra := [f"--{name}" for name, value in given.items() if value is not None]:
            raise SettingsError(f"{extra[0]} found without --base; give the base that it is for")
        return Origin("", size=size) if size is not None else None
    if size is not None and size % 64:
        raise SettingsError(f"--size {size} found, a multiple of 64 expected: the U-Net halves latents of an eighth three times")
    origin = Origin(source, variant, loras, tokenizer, prediction, size, revision)
    if revision is not None and (origin.is_folder or origin.is_file):
        found = f"--revision {revision} and the {'folder' if origin.is_folder else 'file'} {source}"
        raise SettingsError(f"{found} found; leave --revision out: only a hub's model has some")
    return origin


def base_licence(base: Path) -> str:
    """What a base of ours, or a run, says of its images; other bases say nothing that we could read."""
    files = [path for name in ("base.json", "run.json") if (path := base / name).is_file()]
    if not files:
        return NOT_STATED
    provenance = read_json(files[0]).get("provenance")
    if not isinstance(provenance, dict):  # somebody else's file
        return NOT_STATED
    stated = [str(provenance[key]) for key in ("base_licence", "licence") if provenance.get(key, NOT_STATED) != NOT_STATED]
    return "; ".join(dict.fromkeys(stated)) or NOT_STATED
