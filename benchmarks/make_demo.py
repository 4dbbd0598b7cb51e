"""Make the demo engine from nothing: draw data, train a base, fine-tune, learn masks, export.

    python benchmarks/make_demo.py --work out/demo --out out/demo/bottle.plan

Every stage resumes: run the same command again after an interruption. The base learns from bottles of *other* production
lines (variety > 0); fine-tuning sees only the few-shot set of the house bottle.
"""

from __future__ import annotations

from pathlib import Path

import click

from seas_export import bundle
from seas_runtime.bundle.manifest import Defaults
from seas_train import masks, run_folder, tune
from seas_train.base import train as base
from seas_train.config import BaseSettings, MaskSettings, TuneSettings, resolve
from seas_train.data import demo, layouts

PROVENANCE: dict[str, object] = {
    "quality": "a demonstration; trained in hours on two CPU cores",
    "data": "bottle, drawn by seas-train demo-data",
    "licence": "procedural images, drawn by this project, Apache-2.0",
}
PRODUCT = "bottle"
BASE_SETS = {"near": 0.12, "varied": 0.3}  # name -> variety; the house bottle is 0
BASE = resolve(BaseSettings, "demo", None, {"vae_precision": "bf16", "checkpoint_every": 200})
TUNE = resolve(TuneSettings, "demo", None, {"init_product": PRODUCT, "augment": False, "checkpoint_every": 100})
MASKS = resolve(MaskSettings, "demo", None, {"checkpoint_every": 100})
DEFAULTS = Defaults(steps=25, guidance=10.0, threshold=0.4, mask_steps=3)  # looked for between 3 and 12, and 0.1 and 0.5


def draw_data(work: Path) -> None:
    """Draw the base's data and the few-shot data set, where they are missing."""
    for seed, (name, variety) in enumerate(BASE_SETS.items(), start=11):
        if not (work / name).exists():
            demo.write(work / name, normals=600, per_defect=1000, test_normals=0, seed=seed, variety=variety)
    if not (work / "few").exists():
        demo.write(work / "few", normals=60, per_defect=45, test_normals=20, seed=1)


def few_shot(work: Path) -> tuple[layouts.Split, tuple[layouts.Record, ...]]:
    """The few-shot data set as `tune` divides it, and its normals."""
    product = layouts.read(work / "few" / PRODUCT)
    split = layouts.split(product, TUNE.train_share, TUNE.split, TUNE.seed, TUNE.shots)
    return split, layouts.pick_normals(product, TUNE.normals, TUNE.seed)


def train(work: Path) -> None:
    """Train what is not trained yet."""
    if not (work / "base" / "base.json").exists():
        base.train([work / name / PRODUCT for name in BASE_SETS], work / "base", BASE, PROVENANCE)
    product = layouts.read(work / "few" / PRODUCT)
    if not (work / "run" / "run.json").exists():
        tune.train(product, str(work / "base"), work / "run", TUNE, PROVENANCE)
    if run_folder.load_facts(work / "run").masks is None:
        masks.train(work / "run", product, MASKS)


@click.command(help=__doc__)
@click.option("--work", type=click.Path(path_type=Path), default=Path("out/demo"), show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/demo/bottle.plan"), show_default=True)
def main(work: Path, out: Path) -> None:
    """Run all stages that are not done yet."""
    work.mkdir(parents=True, exist_ok=True)
    draw_data(work)
    train(work)
    settings = bundle.ExportSettings(half=True, defaults=DEFAULTS)
    manifest = bundle.export(run_folder.load(work / "run"), out, settings, lambda stage: click.echo(stage, err=True))
    click.echo(f"{out}: digest {manifest.digest}")


if __name__ == "__main__":
    main()
