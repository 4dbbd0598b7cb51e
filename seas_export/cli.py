"""`seas-export`: run folder -> bundle."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click


@click.command(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="NAME.plan", help="The bundle's folder.")
@click.option(
    "--fp16/--fp32", "half", default=False, help="Store the weights in half or in full precision; CPU graphs compute in fp32."
)
@click.option("--steps", type=click.IntRange(1, 999), default=25, help="Default solver steps of the bundle.")
@click.option(
    "--guidance", type=click.FloatRange(1, 100), default=8.0,
    help="Default guidance scale of the bundle: 8 for MVTec AD, 5 for MVTec 3D AD, 2 for VisA.",
)  # fmt: skip
@click.option(
    "--threshold", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.2, help="Default mask threshold."
)
@click.option("--mask-steps", type=click.IntRange(1), default=3, help="Default number of last steps that vote on the mask.")
@click.option(
    "--final", type=click.Choice(["zero", "published"]), default="zero", help="Where the solver ends: sigma 0, or t = 0."
)
@click.version_option(package_name="seas")
def main(
    run: Path, out: Path, half: bool, steps: int, guidance: float, threshold: float, mask_steps: int, final: str
) -> None:
    r"""Export the run folder RUN as a bundle of ONNX graphs for seas-gen.

    Every output of every graph is compared with PyTorch before the bundle is sealed; a difference beyond the bound
    leaves no bundle.

    \b
    Example:
        seas-export runs/bottle --out engines/bottle.plan --fp16 --guidance 8
    """
    import diffusers
    import transformers

    from seas_export import bundle
    from seas_runtime.errors import SettingsError
    from seas_runtime.manifest import Defaults

    if mask_steps > steps:
        raise SettingsError(f"--mask-steps {mask_steps} is more than --steps {steps}; choose at most as many")
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    began = time.monotonic()
    settings = bundle.ExportSettings(
        half, Defaults(steps=steps, guidance=guidance, threshold=threshold, mask_steps=mask_steps), final
    )

    def progress(stage: str) -> None:
        if sys.stderr.isatty():
            click.echo(f"{time.monotonic() - began:6.1f} s  {stage}", err=True)

    manifest = bundle.export(run, out, settings, progress)
    size = sum(entry.bytes for entry in manifest.files.values())
    click.echo(f"{out}: {size / 1e6:.1f} MB, {time.monotonic() - began:.0f} s, digest {manifest.digest}")
