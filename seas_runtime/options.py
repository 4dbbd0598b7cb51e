"""The options of a run, each declared once: default, range, and what `seas-gen --help` says of it.

Light, since the command line is made of it: no numpy, no pydantic.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from operator import index
from typing import Any, TypeVar

import click

from seas_runtime.array import AUTO, part_of
from seas_runtime.commands import interval_of
from seas_runtime.errors import SettingsError

SEED_BELOW = 1 << 64  # `sampling.noise.WORD`, without numpy
FROM_BUNDLE = "from the bundle"

Command = TypeVar("Command", bound=Callable[..., Any])


def shard_of(value: Any) -> tuple[int, int]:
    """Part k of n, counted from 0: "k/n", (k, n) as it is, or "auto" and "auto/n", which the scheduler of an array job decides.

    Raises:
        click.BadParameter: it is none of these, there is no such part, or no array job.
    """
    if isinstance(value, str) and value.partition("/")[0] == AUTO:
        try:
            return part_of(value, os.environ)
        except SettingsError as error:
            raise click.BadParameter(error.message.removeprefix(f"--shard {value}: ")) from error
    try:
        part, parts = map(int, value.split("/") if isinstance(value, str) else value)
    except (TypeError, ValueError):
        part = parts = 0
    if not 0 <= part < parts:
        raise click.BadParameter(f"{value!r} found, k/n with 0 <= k < n expected, as in 0/4")
    return part, parts


def _option(default: Any, kind: Callable[[Any], Any], text: str, **more: Any) -> Any:
    return field(default=default, metadata={"type": kind, "help": text, **more})


@dataclass(frozen=True)
class Options:
    """What may be chosen of a run; None takes what the bundle says.

    Raises:
        SettingsError: a value outside its range, or of another type.
    """

    count: int | None = _option(None, click.IntRange(1), "Pairs in all; types take turns.", metavar="N")
    per_type: int | None = _option(None, click.IntRange(1), "Pairs of each type, instead of --count.", metavar="N")
    normals: int = _option(0, click.IntRange(0, 1_000_000), "Normal images, in train/good; beside pairs or alone.", metavar="N")
    defects: tuple[str, ...] = _option(
        (),
        click.STRING,
        "A defect type to make; may be repeated.",
        flag="--defect",
        metavar="NAME",
        show_default="all of the bundle",
    )
    seed: int = _option(0, click.IntRange(0, SEED_BELOW - 1), "Pair i depends on (seed, i) alone.", metavar="N")
    batch: int = _option(4, click.IntRange(1, 256), "Pairs made together.", metavar="N")
    steps: int | None = _option(
        None, click.IntRange(1), "Solver steps: fewer are faster, more are finer.", metavar="N", show_default=FROM_BUNDLE
    )
    guidance: float | None = _option(
        None,
        click.FloatRange(1, 100),
        "Weight of the defect's prompt; 1 is none and twice as fast.",
        metavar="X",
        show_default=FROM_BUNDLE,
    )
    guidance_interval: tuple[float, float] | None = _option(
        None,
        interval_of,
        "Guide only where the noise level is in this part of the schedule, 0 the clean picture, 1 the first step; "
        "a step outside takes half the time.",
        metavar="A:B",
        show_default="from the bundle, else 0:1",
    )
    threshold: float | None = _option(
        None,
        click.FloatRange(0, 1, min_open=True, max_open=True),
        "Mask probability above which a pixel is anomalous; a bundle may have one for each type.",
        metavar="P",
        show_default=FROM_BUNDLE,
    )
    mask_steps: int | None = _option(
        None, click.IntRange(1), "Last steps whose masks are averaged.", metavar="N", show_default=FROM_BUNDLE
    )
    clean: int = _option(
        0, click.IntRange(0), "Remove pieces of a mask and fill holes in it that have fewer pixels than this.", metavar="PIXELS"
    )
    background: str | None = _option(
        None,
        click.Choice(("generated", "real")),
        "real: outside its mask a picture is the photograph it started from; the bundle must hold photographs.",
        show_default="real with composites of photographs, else generated",
    )
    init: str | None = _option(
        None,
        click.Choice(("normal", "composite")),
        "What a pair starts from: a normal image, as in the paper, or one with a training anomaly placed on it.",
        show_default="composite where the bundle holds any, else normal",
    )
    strength: float | None = _option(
        None,
        click.FloatRange(0, 1, min_open=True),
        "With --background real or --init composite: how much noise it starts with, as a share of the schedule; less keeps more.",
        metavar="SHARE",
        show_default="0.4 of a composite, else 1",
    )
    mask: str | None = _option(
        None,
        click.Choice(("branch", "composite")),
        "Whose mask a pair has: the mask branch's, or that of the anomaly as it was placed, with --init composite.",
        show_default="composite with --init composite, else branch",
    )
    shape: str | None = _option(
        None,
        click.Choice(("network", "photograph")),
        "Of pictures: the network's square, or the proportions of the photographs that were fitted to it (seas-train tune --fit).",
        show_default="photograph where they were padded, else network",
    )
    min_area: int | None = _option(
        None,
        click.IntRange(1),
        "A mask below this is made again; a bundle may have one for each type.",
        metavar="PIXELS",
        show_default="from the bundle, else 1",
    )
    min_agreement: float | None = _option(
        None,
        click.FloatRange(0, 1),
        "A mask is made again if those of its last steps have a smaller IoU; a bundle may have one for each type.",
        metavar="IOU",
        show_default="from the bundle, else 0",
    )
    max_area: float = _option(
        0.8, click.FloatRange(0, 1, min_open=True), "A mask above this share of the image is made again.", metavar="SHARE"
    )
    retries: int = _option(3, click.IntRange(0, 3), "More attempts at a pair whose mask is refused.", metavar="N")
    per_tar: int = _option(
        0,
        click.IntRange(0, 1_000_000),
        "Write pairs as WebDataset's tar files of so many, OUT/PRODUCT-000000.tar and so on, in place of single pictures.",
        metavar="N",
        show_default="0, none",
    )
    shard: tuple[int, int] = _option(
        (0, 1),
        shard_of,
        "Make the batches with number mod n = k, in OUT/shard-k-of-n; auto: as the array job says.",
        metavar="k/n|auto[/n]",
        show_default="0/1",
    )

    def __post_init__(self) -> None:
        for option in fields(self):
            value = getattr(self, option.name)
            if value is not None or option.default is not None:
                object.__setattr__(self, option.name, _checked(option.name, value, option.metadata["type"]))


def command_line(command: Command) -> Command:
    """Give a command an option for each of `Options`, in their order; its function gets them by their names."""
    for option in reversed(fields(Options)):
        about = dict(option.metadata)
        flag = about.pop("flag", "--" + option.name.replace("_", "-"))
        command = click.option(flag, option.name, default=option.default, multiple=option.default == (), **about)(command)
    return command


def _checked(name: str, value: Any, kind: Callable[[Any], Any]) -> Any:
    """The value in its own type: a whole number stays one, a lone name becomes a tuple of it."""
    try:
        if kind is click.STRING:
            return (value,) if isinstance(value, str) else tuple(map(str, value))
        return kind(index(value) if isinstance(kind, click.IntRange) else value)
    except click.BadParameter as error:
        raise SettingsError(f"{name}: {error.message}") from error
    except TypeError as error:
        raise SettingsError(f"{name} {value!r} found, a value of another type expected ({error})") from error
