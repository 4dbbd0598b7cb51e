"""`seas-gen`. Heavy imports wait until it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from seas_runtime import options, voice
from seas_runtime.backends.registry import BACKENDS, OF_CORE
from seas_runtime.bundle.shipped import BundlePath
from seas_runtime.commands import VERSION, Recorded, words
from seas_runtime.dataset.exporters import FORMATS
from seas_runtime.errors import SettingsError

UNDER_DIGEST = [name for name in OF_CORE if not BACKENDS[name].rounds]


def _formats(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str]:
    names = words(ctx, param, value)
    if strange := [name for name in names if name not in FORMATS]:
        raise click.BadParameter(f"{strange[0]!r} found, {', '.join(FORMATS)} expected, with commas between")
    return names


EXAMPLES = """\b
Examples:
  seas-gen --engine bottle.plan --count 24 --sheet
  seas-gen --engine tile.plan --per-type 1000 --out data/tile --seed 7
  seas-gen --engine tile.plan --defect crack --count 100 --guidance 5
  seas-gen --engine tile.plan --count 100 --normals 100 --background real --strength 0.8
  seas-gen --engine tile.plan --count 4000 --shard 0/4 --out data/tile   # data/tile/shard-0-of-4
  seas-gen --engine tile.plan --count 4000 --shard auto --out data/tile  # in an array job
  seas-gen --engine tile.plan --count 4000 --ray ray://head:10001        # on a Ray cluster
  seas-gen --engine tile.plan --count 100 --out data/tile --also coco,yolo

The same command again continues an interrupted run; a larger --count or --normals extends
it. Shards may share OUT; seas-data merge joins them.

\b
Exit codes: 0 done, 2 usage, 3 bad bundle, 4 engine not usable, 5 output problem,
6 the quality gate gave pairs up or all masks of a type are one (pairs are written), 130 interrupted."""

HEADINGS = {
    "Sampling": ("batch", "steps", "guidance", "guidance_interval", "threshold", "mask_steps", "clean"),
    "Start and background": ("background", "init", "strength", "mask", "shape"),
    "Masks that are made again": ("min_area", "min_agreement", "max_area", "retries"),
    "Engine": ("threads", "expect", "first_run_limit"),
    "Many machines": ("per_tar", "shard", "ray", "ray_workers", "ray_cores", "ray_gpus"),
}


@click.command(
    "seas-gen",
    cls=Recorded,
    headings=HEADINGS,
    epilog=EXAMPLES,
)
@click.option(
    "--engine",
    type=BundlePath(),
    required=True,
    metavar="NAME.plan",
    help="The bundle to generate from; bottle.plan is one that comes with seas-gen.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    show_default="out/<product>",
    help="Where the data set goes (MVTec AD layout).",
)
@options.command_line
@click.option(
    "--backend",
    type=click.Choice(("auto", *BACKENDS)),
    default="auto",
    help="What computes; auto takes the fastest that works here, with --expect only of those that need "
    f"nothing but what the digest covers ({', '.join(UNDER_DIGEST)}). A run that is continued keeps its own.",
)
@click.option(
    "--threads",
    type=click.IntRange(0, 1024),
    default=0,
    metavar="N",
    show_default="the engine's choice",
    help="CPU threads at most; a small model uses each for a part of the work.",
)
@click.option("--expect", metavar="DIGEST", help="Refuse a bundle with another digest.")
@click.option(
    "--ray",
    is_flag=False,
    flag_value="auto",
    metavar="[ADDRESS]",
    help="Make the pairs on a Ray cluster: the one that runs here, that at ADDRESS, or local for this machine alone.",
)
@click.option(
    "--ray-workers", type=click.IntRange(0), default=0, metavar="N", show_default="as many as fit", help="Actors of the cluster."
)
@click.option("--ray-cores", type=click.IntRange(1), default=1, metavar="N", help="Cores, and threads, of each.")
@click.option("--ray-gpus", type=click.FloatRange(0), default=0.0, metavar="N", help="GPUs of each; half a one for two on each.")
@click.option(
    "--first-run-limit", type=click.FloatRange(0), default=1800.0, metavar="SECONDS",
    help="Give up, with exit code 4, where the first run of a graph takes longer; 0 for never. Not of a cluster's actors.",
)  # fmt: skip
@click.option("--sheet", is_flag=True, help="Also write OUT/sheet.png: pairs of each type, for a look, the surest first.")
@click.option(
    "--also",
    callback=_formats,
    metavar="FORMAT[,FORMAT...]",
    help="Also export all pairs, to OUT-FORMAT beside OUT: coco, yolo and others of seas-data export.",
)
@click.option("--estimate", is_flag=True, help="Say pairs a second, time, memory and disk from a few batches; write nothing.")
@click.option("--dry-run", is_flag=True, help="Say what would be made and where; make and write nothing.")
@VERSION
@click.pass_context
def generate(
    ctx: click.Context,
    /,
    *,
    engine: Path,
    out: Path | None,
    backend: str,
    threads: int,
    expect: str | None,
    ray: str | None,
    ray_workers: int,
    ray_cores: int,
    ray_gpus: float,
    first_run_limit: float,
    sheet: bool,
    also: list[str],
    estimate: bool,
    dry_run: bool,
    **asked: Any,
) -> None:
    """Generate pairs of anomaly images and masks from a bundle, and normal images."""
    with voice.loading("numpy", f"reading {engine}"):
        from seas_runtime import forecast
        from seas_runtime.generate import Request, run

    if asked["per_tar"] and (sheet or also):
        raise SettingsError("--per-tar found with --sheet or --also, which read single pictures; leave one of them out")
    pool = None
    if ray is not None:
        from seas_runtime.cluster import Pool

        if threads not in (0, ray_cores):
            raise SettingsError(f"--threads {threads} found with --ray and actors of {ray_cores} cores; give --ray-cores {threads}")
        if estimate:
            raise SettingsError("--estimate found with --ray; estimate one machine without --ray")
        pool = Pool(ray, ray_workers, ray_cores, ray_gpus)
    elif ray_workers or ray_cores != 1 or ray_gpus:
        raise SettingsError("--ray-workers, --ray-cores or --ray-gpus found without --ray; add --ray")
    command, chosen = ["seas-gen", *ctx.meta["words"]], options.Options(**asked)
    request = Request(engine, out, backend, threads, expect, command, chosen, first_run_limit, pool)
    if estimate or dry_run:
        voice.tell_each((forecast.estimate if estimate else forecast.dry_run)(request), "estimate" if estimate else "dry_run")
        return
    summary = run(request)
    voice.tell(summary.line(), **summary.facts())
    if sheet and summary.types:
        from seas_runtime.dataset.sheet import write
        from seas_runtime.dataset.summary import agreements

        path = write(summary.out, agreements(summary.out))
        voice.tell(f"contact sheet: {path}", sheet=path)
    if also and summary.types:
        from seas_runtime.dataset.export import also as export_also

        with voice.progress(None, "exporting", "picture") as bar:
            exports = export_also(summary.out, also, bar.update)
        voice.tell(*(exported.line() for exported in exports), exports=[exported.folder for exported in exports])
    if summary.types:
        voice.tell(summary.next())
    summary.raise_if_poor()
