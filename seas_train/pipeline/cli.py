"""`seas-train all`. Heavy imports wait until a command needs them."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seas_runtime import voice
from seas_runtime.bundle.manifest import MAX_COMPOSITES
from seas_runtime.commands import Command
from seas_runtime.errors import INTERRUPTED, GateError, SettingsError
from seas_runtime.files import locked
from seas_train import headings
from seas_train.base_options import base_options
from seas_train.config import TuneSettings
from seas_train.data.source import FOLDERS
from seas_train.folders import data_source
from seas_train.options import LICENCE, PATH, say
from seas_train.output import writing
from seas_train.pipeline import preflight, sections
from seas_train.pipeline.child import Ended, apart
from seas_train.pipeline.commands import Order, dry_run
from seas_train.pipeline.options import project_file
from seas_train.pipeline.stages import Stages, times

if TYPE_CHECKING:
    from seas_train.data.source import Source
    from seas_train.models.origin import Origin

EXAMPLES = """\b
Examples:
  seas-train all data/bottle --base CompVis/stable-diffusion-v1-4 --out engines/bottle.plan --fp16
  seas-train all data/bottle --base bases/small --out engines/bottle.plan --preset tiny --dry-run
  seas-train all data/bottle --base bases/small --out engines/bottle.plan --init   # seas.toml
  seas-train all --estimate                                             # of what seas.toml says
  seas-train all --distill 4 --count 48 --out engines/fast.plan

\b
seas.toml:
  [project]
  data = "data/bottle"
  base = "CompVis/stable-diffusion-v1-4"
  out = "engines/bottle.plan"
  [tune]
  shots = 5
  [export]
  fp16 = true

Sections tune, masks, distill, export and gen take any option of their command that says what is
made, with _ for -. This command alone reads the file; the others take theirs from --config.

\b
Exit codes: those of the stage that ended; 6 where the first pairs were given up in part."""


@click.command("all", cls=Command, headings=headings.ALL, epilog=EXAMPLES, short_help="The whole road at once.")
@project_file
@data_source
@base_options(required=False)
@click.option("--out", type=PATH, metavar="NAME.plan", help="The bundle.  [required]")
@click.option("--work", type=PATH, metavar="DIR", show_default="runs/NAME", help="Everything in between, and report.html.")
@click.option("--preset", type=click.Choice(tuple(TuneSettings.presets)), help="Settings that all trainings start from.")
@click.option("--memory", type=click.Choice(tuple(TuneSettings.memories)), help="GiB of the GPU, as in tune and masks.")
@LICENCE
@click.option(
    "--distill", type=click.IntRange(1), metavar="STEPS", help="Make a student of so many solver steps, and masks that look once."
)
@click.option(
    "--train-share",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="SHARE",
    show_default="as in tune: a third",
    help="Share of each type's anomalies to learn from; 1 takes all, and none is left to judge with.",
)
@click.option("--fp16/--fp32", "fp16", default=None, show_default="fp32", help="Of the bundle, as in seas-export.")
@click.option(
    "--photographs/--no-photographs",
    default=None,
    show_default="photographs",
    help="Take the normal photographs along, for seas-gen --background real.",
)
@click.option(
    "--composites",
    type=click.IntRange(0, MAX_COMPOSITES),
    metavar="N",
    show_default=str(sections.EXPORTED["composites"]),
    help="Take N composites of each type along, which pairs then start from; 0 for pairs as in the paper.",
)
@click.option("--count", type=click.IntRange(1), metavar="N", show_default="24", help="First pairs, of the sheet in the report.")
@click.option("--estimate", is_flag=True, help="Say what the trainings take here, from one timed step of each; write nothing.")
@click.option("--dry-run", is_flag=True, help="Show each stage's command and which are done; make and write nothing.")
def everything(
    *,
    source: Source,
    base: Origin | None,
    out: Path | None,
    work: Path | None,
    preset: str | None,
    memory: str | None,
    licence: str,
    given: Mapping[str, Mapping[str, Any]],
    estimate: bool,
    dry_run: bool,
) -> None:
    """Train, export and try a generator of the product in the folder DATA: the whole road in one command.

    Its stages are commands that can be given alone: tune, with --distill distill, masks, seas-export, seas-gen for a sheet of
    first pairs, and report, a page of how it went. What is done is not done again: the same command goes on where it
    was interrupted or killed.
    """
    base, out = _required(source, base, out)
    order = Order(source, base, out, work or Path("runs") / out.stem, licence, sections.checked(given, preset, memory))
    stages = Stages(order.work, say, _shown)
    preflight.require(order, stages)
    if estimate:
        return voice.tell_each(_estimated(order, stages), "estimate")
    if dry_run:
        return voice.tell_each(_dry_run(order, stages), "stages")
    if all(map(stages.done, order.stages())):
        return _end(order, "already done")
    with writing(order.work):
        order.work.mkdir(parents=True, exist_ok=True)
        with locked(order.work):
            _run(order, stages)
    return _end(order, "done")


_dry_run = dry_run  # the option takes the name


def _required(source: Source, base: Origin | None, out: Path | None) -> tuple[Origin, Path]:
    """What has to be given, here or in the project file; SettingsError where it is not."""
    lacking = []
    if source.data is None and not source.folders:
        lacking.append(f"DATA (or --{', --'.join(FOLDERS)})")
    if base is None or not base.source:
        lacking.append("--base")
    if out is None:
        lacking.append("--out")
    if lacking or base is None or out is None:
        raise SettingsError(f"no {' and no '.join(lacking)} given; add it, or write a project file with seas-train all --init")
    return base, out


def _run(order: Order, stages: Stages) -> None:
    ran, planned = False, order.stages()
    for stage in planned:
        ran |= stages.run(stage, again=ran and stage is planned[-1])  # the page shows what the others made


def _shown(command: Sequence[str]) -> Ended:
    """Run a stage; one that is interrupted has said so itself, one that was killed has not."""
    ended = apart([*command, "--quiet"] if voice.quiet() else command, aside=voice.hidden())
    if ended.status == INTERRUPTED:
        raise click.exceptions.Exit(INTERRUPTED)
    if ended.status == -signal.SIGINT:  # before it could heed it
        say("Interrupted: the same command goes on from what is done.")
        raise click.exceptions.Exit(INTERRUPTED)
    if ended.status < 0:
        memory = ", perhaps for memory" if ended.status == -signal.SIGKILL else ""
        say(f"{command[0]} was killed by signal {-ended.status}{memory}")
    return ended


def _estimated(order: Order, stages: Stages) -> Iterator[str]:
    from seas_train import estimates, quiet

    quiet.hush()
    tune, *_, masks = (stage for stage in order.stages() if stage.name in ("tune", "distill", "masks"))
    product, settings = order.source.read(), order.sections
    if not stages.done(tune):
        yield from estimates.of_both(product, order.base, (settings.tune, settings.masks), say)
    elif not stages.done(masks):
        ready = order.run if (order.run / "run.json").is_file() else order.tuned
        yield from estimates.of_masks(ready, product, settings.masks)
    else:
        yield "estimate: all trainings are done; nothing was written"
    if settings.distill is not None:
        yield f"estimate: the student's {settings.distill.train_steps} steps are not in it"
    yield f"estimate: the export, {settings.gen.count or 'the'} pairs and the page come on top"


def _end(order: Order, how: str) -> None:
    """Say where everything is, and end with the gate's exit code where first pairs were given up."""
    engine = shlex.quote(str(order.out))
    lines = [
        f"{how}: {order.out}, first pairs {order.pairs}, report {order.report}",
        f"next: seas-gen --engine {engine} --per-type 1000 --out out/{shlex.quote(order.out.stem)}",
    ]
    voice.tell(*lines, engine=order.out, pairs=order.pairs, report=order.report, already=how != "done")
    if times(order.work).get("gen", {}).get("status") == GateError.exit_code:
        say(f"the first pairs are poor or not all there: see {order.report} and {order.pairs}")
        raise click.exceptions.Exit(GateError.exit_code)
