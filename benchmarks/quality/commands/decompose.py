"""The command that says where pairs lose. Heavy imports wait until it needs them."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks.quality import options
from benchmarks.quality.decomposition import cases
from seas_runtime.errors import SettingsError
from seas_train.options import IntegersType, NamesType

if TYPE_CHECKING:
    from benchmarks.quality.decomposition.build import Request

BUNDLE = "engines/bottle.plan"
NAMES = NamesType()


class SharesType(click.ParamType):  # type: ignore[type-arg]  # generic in new versions of click alone
    """Shares between 0 and 1 with commas between them, such as 1/2,1/4."""

    name = "X,X"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Fraction, ...]:
        """Parse the text; anything else is a usage error."""
        if isinstance(value, tuple):
            return value
        try:
            found = tuple(Fraction(part) for part in str(value).split(","))
        except (ValueError, ZeroDivisionError):
            found = ()
        if not found or not all(0 < share < 1 for share in found):
            self.fail(f"{value!r} found, shares between 0 and 1 expected, as in 1/2,1/4", param, ctx)
        return found


@click.command(
    epilog=f"Example: seas-quality decompose --data out/demo/few/bottle --judge bottle --engine {BUNDLE} --work out/decompose"
)
@options.data_options_but_shots
@options.WORK
@click.option(
    "--engine", "engines", multiple=True, metavar="[SHOTS=]NAME.plan",
    help="The generator's bundle, or one that has learned from so many anomalies of each type; may be repeated.",
)  # fmt: skip
@click.option(
    "--pairs", "folders", multiple=True, metavar="[SHOTS=]DIR", help="Generated pairs in place of a bundle; may be repeated."
)
@click.option("--judge", "drawn", metavar="PRODUCT", help="DATA is drawn by seas-train demo-data: the product's judge and test.")
@click.option(
    "--normals-from", multiple=True, metavar="NAME=DIR",
    help="Other normal images, such as round-tripped or generated ones, for half of those of a batch; may be repeated.",
)  # fmt: skip
@click.option("--methods", type=NAMES, show_default="all that have what they need", help=f"Of {', '.join(cases.METHODS)}.")
@click.option("--vary", type=NAMES, default="ours", help="Methods that are trained with other normals, shares and orders too.")
@click.option(
    "--shots", type=IntegersType(), show_default="3,5,15, as there are, and all", help="Real anomalies of each type, 0 for all."
)
@click.option("--shares", type=SharesType(), default="1/2,1/4", help="Of a batch's anomalies: those besides the few real ones.")
@click.option("--orders", type=NAMES, default="mixed,in-turn", help="Generated and real ones in every batch, or in turn.")
@click.option("--count", type=click.IntRange(1), default=420, metavar="N", help="Pairs of each method.")
@click.option("--network", type=click.Choice(options.NETWORKS), show_default="small, bisenet with --budget paper", help="Which.")
@options.STEPS
@options.AUGMENT
@options.BUDGET
@options.SIDE
@click.option("--seeds", type=click.IntRange(1), default=5, metavar="N", help="Trainings of each kind.")
@click.pass_context
def decompose(
    ctx: click.Context,
    /,
    *,
    given: options.Given,
    work: Path | None,
    network: str | None,
    steps: int | None,
    augment: bool,
    budget: str,
    side: int | None,
    seeds: int,
    **asked: Any,
) -> None:
    """Say where pairs lose: segmenters that learn from few real anomalies and one origin of pairs each.

    Shares and orders other than the first are tried with the methods of --vary, one thing changed at a time. 100 % of the
    headroom is what perfect pairs gain, or without a judge the other real anomalies for training.
    """
    from benchmarks.quality.decomposition.run import run
    from benchmarks.quality.downstream.segmentation import SegmenterSettings
    from seas_train.config import resolve

    settings = resolve(SegmenterSettings, budget, None, {"network": network, "steps": steps, "augment": augment})
    options.require_networks((settings.network,))
    request = _request(given, options.side_of(budget, side), budget, asked)
    axes = _axes(asked)
    facts = options.facts(ctx, side=request.side, division=given.origin(), engines=_digests(request.engines))
    work = options.work_of(ctx, work, given)
    with options.output(work):
        run(request, axes, seeds, settings, work, options.log, facts)


def _request(given: options.Given, side: int, budget: str, asked: dict[str, Any]) -> Request:
    from benchmarks.demo.drawn import JudgeSettings
    from benchmarks.quality.decomposition.build import Request
    from seas_train.config import resolve

    engines, folders = _by_shots("--engine", asked["engines"]), _by_shots("--pairs", asked["folders"])
    if both := sorted(engines.keys() & folders.keys()):
        raise SettingsError(f"found --engine and --pairs{f' of {both[0]} shots' if both[0] else ''}, expected one; leave one out")
    normals: dict[str, Path] = {}
    for word in asked["normals_from"]:
        name, equals, folder = word.partition("=")
        if not equals or not name.replace("-", "").isalnum() or name in (cases.REAL, *normals):
            raise SettingsError(f"--normals-from {word}: expected NAME=DIR with a name of its own; give one such as generated=DIR")
        normals[name] = Path(folder)
    return Request(
        real=options.one(given),
        side=side,
        shots=asked["shots"] or (),
        order=given.settings.split,
        seed=given.settings.seed,
        engines=engines,
        pairs=folders,
        normals=normals,
        drawn=asked["drawn"],
        count=asked["count"],
        judge=resolve(JudgeSettings, budget, None, {}),
    )


def _by_shots(option: str, words: tuple[str, ...]) -> dict[int, Path]:
    """Paths by the number before them, 0 for the one without."""
    found: dict[int, Path] = {}
    for word in words:
        number, equals, path = word.partition("=")
        shots, place = (int(number), path) if equals and number.isdigit() else (0, word)
        if shots in found:
            raise SettingsError(f"{option} {word}: there is one of these shots already, expected one; leave one out")
        found[shots] = Path(place)
    return found


def _axes(asked: dict[str, Any]) -> cases.Axes:
    """What differs from case to case.

    Raises:
        SettingsError: a name that is none, or a method that lacks what it needs.
    """
    for option, known in (("methods", cases.METHODS), ("vary", cases.METHODS), ("orders", cases.ORDERS)):
        if wrong := [name for name in asked[option] or () if name not in known]:
            raise SettingsError(f"--{option}: found {wrong[0]!r}, expected some of {', '.join(known)}")
    methods = asked["methods"] or ()
    if asked["drawn"] is None and (wrong := [name for name in methods if name in cases.OF_A_JUDGE]):
        raise SettingsError(f"--methods: {wrong[0]} needs a judge; add --judge, or leave it out")
    generated = asked["engines"] or asked["folders"]
    if not generated and (wrong := [name for name in methods if name in cases.OF_THE_GENERATOR]):
        raise SettingsError(f"--methods: {wrong[0]} needs generated pairs; add --engine or --pairs, or leave it out")
    normals = (cases.REAL, *(word.partition("=")[0] for word in asked["normals_from"]))
    left_out: tuple[str, ...] = (cases.MORE,) if asked["drawn"] else cases.OF_A_JUDGE
    if not generated:
        left_out += cases.OF_THE_GENERATOR
    chosen = tuple(name for name in cases.METHODS if (name in methods if methods else name not in left_out))
    return cases.Axes(chosen, normals, asked["shares"], asked["orders"], asked["vary"])


def _digests(engines: Mapping[int, Path]) -> dict[str, str]:
    from seas_runtime.bundle.reader import read_bundle

    return {str(shots or "all"): read_bundle(path).manifest.digest for shots, path in engines.items()}
