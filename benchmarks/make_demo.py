"""Make the demo engine from nothing: draw data, train a base, fine-tune, learn masks, export.

    python benchmarks/make_demo.py --work out/demo

Every stage resumes: run the same command again after an interruption. The base learns from bottles of *other* production
lines (variety > 0); fine-tuning sees only the few-shot set of the house bottle.
"""

from __future__ import annotations

from pathlib import Path

import click

from seas_train import base
from seas_train.config import BaseSettings
from seas_train.data import demo

LICENCE = "procedural images, drawn by this project, Apache-2.0"
BASE_SETS = {"wild": 1.0, "varied": 0.5, "near": 0.25}  # name -> variety
BASE = BaseSettings(defects=True, vae_steps=2200, steps=4200, checkpoint_every=100)


def draw_data(work: Path) -> None:
    """Draw the base's data and the few-shot data set, where they are missing."""
    for seed, (name, variety) in enumerate(BASE_SETS.items(), start=11):
        if not (work / name).exists():
            _draw(work / name, normals=400, per_defect=130, seed=seed, variety=variety)
    if not (work / "few").exists():
        _draw(work / "few", normals=60, per_defect=45, seed=1, variety=0.0)


def _draw(out: Path, normals: int, per_defect: int, seed: int, variety: float) -> None:
    partial = out.with_name(out.name + ".partial")
    demo.write(partial, "bottle", 128, normals, per_defect, test_normals=20, seed=seed, variety=variety)
    partial.rename(out)


@click.command(help=__doc__)
@click.option("--work", type=click.Path(path_type=Path), default=Path("out/demo"), show_default=True)
def main(work: Path) -> None:
    """Run all stages that are not done yet."""
    work.mkdir(parents=True, exist_ok=True)
    draw_data(work)
    if not (work / "base" / "base.json").exists():
        base.train([work / name / "bottle" for name in BASE_SETS], work / "base", BASE, {"licence": LICENCE})


if __name__ == "__main__":
    main()
