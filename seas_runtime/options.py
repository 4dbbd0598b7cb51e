"""The options of a run, each declared once: default, range, and what `seas-gen --help` says of it.

Light, since the command line is made of it: no numpy, no pydantic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from operator import index
from typing import Any, TypeVar

import click

from seas_runtime.errors import SettingsError

SEED_BELOW = 1 << 64  # `sampling.noise.WORD`, without numpy
FROM_BUNDLE = "from the bundle"

Command = TypeVar("Command", bound=Callable[..., Any])


def shard_of(value: Any) -> tuple[int, int]:
    """Part k of n, counted from 0: "k/n", or (k, n) as it is.

    Raises:
        click.BadParameter: it is neither, or there is no such part.
    """
    try:
        part, parts = map(int, value.split("/") if isinstance(value, str) else value)
    except (TypeError, ValueError):
        part = parts = 0
    if not 0 <= part < parts:
        raise click.BadParameter(f"{value!r} found, k/n with 0 <= k < n expected, as in 0/4")
    return part, parts


def interval_of(value: Any) -> tuple[float, float]:
    """A part of the noise schedule: "A:B", or (A, B) as it is.

    Raises:
        click.BadParameter: it is neither, or empty, or not inside 0 to 1.
    """
    try:
        low, high = map(float, value.split(":") if isinstance(value, str) else value)
    except (TypeError, ValueError):
        low = high = -1.0
    if not 0 <= low < high <= 1:
        raise click.BadParameter(f"{value!r} found, A:B with 0 <= A < B <= 1 expected, as in 0.1:0.8")
    return low, high


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
    background: str = _option(
        "generated",
        click.Choice(("generated", "real")),
        "real: outside its mask a picture is the photograph it started from; the bundle must hold photographs.",
    )
    strength: float = _option(
        1.0,
        click.FloatRange(0, 1, min_open=True),
        "With --background real: how much noise a photograph starts from, as a share of the schedule; less makes small defects.",
        metavar="SHARE",
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
    shard: tuple[int, int] = _option((0, 1), shard_of, "Make the batches with number mod n = k.", metavar="k/n", show_default="0/1")

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
