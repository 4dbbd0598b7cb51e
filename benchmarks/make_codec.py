"""Make the autoencoder that comes along with `seas-train base`, from images that this project draws.

    python -m benchmarks.make_codec --work out/codec

An hour and a half on two CPU cores; resumes. Bottles of many lines are drawn as for the demo engine, the autoencoder of the preset
demo learns them from random weights, and its weights go into `seas_train/base/codec.safetensors` in half precision.
"""

from __future__ import annotations

from pathlib import Path

import click
from diffusers import AutoencoderKL

from benchmarks.make_demo import base_command, drawn_stage
from benchmarks.stages import here, interruptible
from seas_train.base import codec
from seas_train.pipeline.stages import Stage, Stages

ALONE = ("--vae-start", "random", "--steps", "1", "--align-steps", "0", "--sharpen-steps", "0")
"""No U-Net to speak of."""


@click.command(help=__doc__)
@click.option("--work", type=click.Path(path_type=Path), default=Path("out/codec"), show_default=True)
def main(work: Path) -> None:
    """Run all stages that are not done yet, and store the weights."""
    runner, base = Stages(work, lambda line: click.echo(line, err=True), here), work / "base"
    with interruptible():
        for name in ("near", "varied"):
            runner.run(drawn_stage(name, work / name))
        runner.run(Stage("base", base_command(work, base, *ALONE), base / "base.json", whole=True))
    codec.save(AutoencoderKL.from_pretrained(base / "vae", use_safetensors=True), codec.FILE)
    click.echo(codec.FILE)


if __name__ == "__main__":
    main()
