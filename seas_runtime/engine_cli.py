"""`seas-engine`. Heavy imports wait until a command needs them."""

from __future__ import annotations

import time
from pathlib import Path

import click

from seas_runtime import voice
from seas_runtime.backends.tensorrt.library import VARIANTS, Variant
from seas_runtime.bundle.shipped import BundlePath
from seas_runtime.commands import VERSION, Group, words

BUNDLE = BundlePath()
EXAMPLES = """\b
Examples:
  seas-engine inspect bottle.plan
  seas-engine doctor"""
_INSPECTED = {"product", "defects", "geometry", "defaults", "provenance", "parity", "digest"}


def _numbers(_ctx: click.Context, _param: click.Parameter, value: str) -> list[int]:
    try:
        return [int(word) for word in value.split(",")]
    except ValueError as error:
        raise click.BadParameter(f"{value!r} found, numbers and commas expected, as in 1,4,8") from error


@click.group(cls=Group, epilog=EXAMPLES)
@VERSION
def engine() -> None:
    """Look into bundles and at the engines of this machine."""


@engine.command(epilog="Example: seas-engine inspect engines/bottle.plan")
@click.argument("bundle", type=BUNDLE)
def inspect(bundle: Path) -> None:
    """Verify BUNDLE and say what it makes, and from what."""
    with voice.loading("numpy", f"reading {bundle}"):
        from seas_runtime.bundle.reader import read_bundle
        from seas_runtime.doctor import describe_bundle

        read = read_bundle(bundle)
    facts = read.manifest.model_dump(mode="json", include=_INSPECTED)
    voice.tell(*describe_bundle(read), bundle=bundle, **facts)


@engine.command(epilog="Example: seas-engine verify tile.plan --expect DIGEST")
@click.argument("bundle", type=BUNDLE)
@click.option("--expect", metavar="DIGEST", help="The digest it must have: proof of where it comes from.")
def verify(bundle: Path, expect: str | None) -> None:
    """Verify every file of BUNDLE and print its digest."""
    with voice.loading("numpy", f"reading {bundle}"):
        from seas_runtime.bundle.reader import read_bundle

        digest = read_bundle(bundle, expect).manifest.digest
    voice.tell(f"ok {digest}", bundle=bundle, digest=digest)


@engine.command(epilog="Example: seas-engine copy ~/.cache/huggingface/hub/MODEL/tile.plan tile.plan")
@click.argument("source", type=BUNDLE)
@click.argument("target", type=click.Path(path_type=Path), metavar="NAME.plan")
@click.option("--expect", metavar="DIGEST", help="The digest it must have: proof of where it comes from.")
def copy(source: Path, target: Path, expect: str | None) -> None:
    """Copy the core of bundle SOURCE as plain files, following links, and verify it."""
    with voice.loading("numpy", f"copying {source}"):
        from seas_runtime.bundle.copying import copy_bundle

        digest = copy_bundle(source, target, expect).manifest.digest
    voice.tell(f"{target}: ok {digest}", bundle=target, digest=digest)


BUILD_EXAMPLES = """\b
Examples:
  seas-engine build tile.plan                              # RTX, every GPU from Ampere on
  seas-engine build tile.plan --gpu sm86,sm89,sm120 --batch 4
  seas-engine build tile.plan --gpu sm75                   # Turing: best alone
  seas-engine build tile.plan --variant tensorrt           # A100, H100: on that machine

\b
Variant rtx needs neither GPU nor driver (pip install tensorrt-rtx-cu13). The engines lie in
tile.plan/engines/<variant>-<version> and fit this bundle alone. An engine takes any number of pairs up
to its largest batch; four batches take about three times as long to build as one."""


@engine.command("build", epilog=BUILD_EXAMPLES)
@click.argument("bundle", type=BUNDLE)
@click.option("--variant", "--flavour", type=click.Choice(VARIANTS), default="rtx", help="TensorRT-RTX, or TensorRT for this GPU.")
@click.option(
    "--gpu",
    "gpus",
    callback=words,
    metavar="SM[,SM...]",
    show_default="Ampere and later; with tensorrt this GPU",
    help='Compute capabilities, as sm86,sm89; "all" for every known one.',
)
@click.option(
    "--batch",
    "batches",
    default="1,4,8,16",
    callback=_numbers,
    metavar="N[,N...]",
    help="Numbers of pairs to tune for.",
)
@click.option("--replace", is_flag=True, help="Build again what is there of this variant and version.")
def build_engines(
    *,
    bundle: Path,
    variant: Variant,
    gpus: list[str],
    batches: list[int],
    replace: bool,
) -> None:
    """Build TensorRT engines beside the core of BUNDLE."""
    with voice.loading("numpy", f"reading {bundle}"):
        from seas_runtime.backends.tensorrt import build
        from seas_runtime.doctor import describe_engines

    began = time.monotonic()
    engines = build.build(bundle, variant, gpus, batches, voice.Stages(), replace=replace)
    voice.tell(f"{engines.path}: {describe_engines(engines)}, {time.monotonic() - began:.0f} s", engines=engines.path)


@engine.command(epilog="Example: seas-engine doctor engines/bottle.plan")
@click.argument("bundle", type=BUNDLE, required=False)
def doctor(bundle: Path | None) -> None:
    """Say what works on this machine, which engines of BUNDLE fit it, and the hint for what does not."""
    with voice.loading("numpy", "looking at this machine"):
        from seas_runtime.doctor import describe_fit, describe_machine

    voice.tell_each(describe_machine(), "machine")
    if bundle is not None:
        from seas_runtime.bundle.reader import read_bundle

        voice.tell_each(describe_fit(read_bundle(bundle)), "bundle")
