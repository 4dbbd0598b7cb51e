"""Make the demo engine from nothing: draw data, train a base, fine-tune, learn masks, export.

    python -m benchmarks.make_demo --work out/demo --out out/demo/bottle.plan

Every stage resumes: run the same command again after an interruption. The base learns from bottles of *other* production
lines (variety > 0); fine-tuning sees only the few-shot set of the house bottle.
"""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.stages import here, interruptible
from seas_train.pipeline.stages import Stage, Stages
from seas_train.training.compute import has_bf16

PRODUCT = "bottle"
LICENCE = "procedural images, drawn by this project, Apache-2.0"
DRAWN: dict[str, dict[str, float]] = {  # name -> counts, seed and variety; the house bottle is of variety 0
    "near": {"normals": 600, "per-defect": 1000, "test-normals": 0, "seed": 11, "variety": 0.12},
    "varied": {"normals": 600, "per-defect": 1000, "test-normals": 0, "seed": 12, "variety": 0.3},
    "few": {"normals": 60, "per-defect": 45, "test-normals": 20, "seed": 1},
}
DEFAULTS = ("--steps", "25", "--guidance", "10", "--threshold", "0.4", "--mask-steps", "3")
"""Of the engine; guidance was looked for between 3 and 12, the threshold between 0.1 and 0.5."""


def stages(work: Path, out: Path) -> list[Stage]:
    """Every stage, in order.

    Args:
        work: Folder of everything that is made; WORK/few/bottle is the few-shot data set.
        out: The engine's folder.
    """
    base, precision = work / "base", "bf16" if has_bf16() else "fp32"
    return [
        *(drawn_stage(name, work / name) for name in DRAWN),
        Stage("base", base_command(work, base, "--vae-precision", precision), base / "base.json", whole=True),
        *engine_stages(work / "few" / PRODUCT, base, work / "run", out, "--fp16"),
    ]


def base_command(work: Path, out: Path, *words: str) -> tuple[str, ...]:
    """The training of a base on the drawn bottles of other lines."""
    learned = [str(work / name / PRODUCT) for name in ("near", "varied")]
    common = ("--preset", "demo", "--checkpoint-every", "200", "--licence", LICENCE)
    return ("seas-train", "base", *learned, "--out", str(out), *common, *words)


def engine_stages(few: Path, base: Path, run: Path, out: Path, *words: str) -> list[Stage]:
    """From a base to an engine of the house bottle, exported with these words."""
    demo = ("--preset", "demo", "--checkpoint-every", "100")
    gentle = ("--init-product", PRODUCT, "--no-augment", "--licence", LICENCE)
    tune = ("seas-train", "tune", str(few), "--base", str(base), "--out", str(run), *demo, *gentle)
    return [
        Stage("tune", tune, run / "run.json", whole=True),
        Stage("masks", ("seas-train", "masks", str(run), str(few), *demo), run / "rmp" / "config.json"),
        Stage("export", ("seas-export", str(run), "--out", str(out), *DEFAULTS, *words), out, whole=True),
    ]


def drawn_stage(name: str, out: Path) -> Stage:
    """Draw one of `DRAWN`."""
    counts = [word for key, value in DRAWN[name].items() for word in (f"--{key}", str(value))]
    return Stage(f"draw {name}", ("seas-train", "demo-data", str(out), "--product", PRODUCT, *counts), out, whole=True)


@click.command(help=__doc__)
@click.option("--work", type=click.Path(path_type=Path), default=Path("out/demo"), show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/demo/bottle.plan"), show_default=True)
def main(work: Path, out: Path) -> None:
    """Run all stages that are not done yet."""
    runner = Stages(work, lambda line: click.echo(line, err=True), here)
    with interruptible():
        for stage in stages(work, out):
            runner.run(stage)
    click.echo(out)


if __name__ == "__main__":
    main()
