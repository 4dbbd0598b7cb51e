"""How good the pairs of the demo engine are, judged by what any number of procedural pairs can tell.

    python -m benchmarks.demo_quality --work out/demo --engine engines/bottle.plan

WORK is the folder of make_demo.py, whose few-shot data set the engine learned from. Every step is kept in WORK/quality, and the
same command continues there. Saves demo_quality.md, .json and .jpg.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.common import executable
from benchmarks.demo import figures, oracle, report
from benchmarks.demo.oracle import Oracle, Pieces
from benchmarks.make_demo import PRODUCT
from benchmarks.quality.downstream import segmentation
from benchmarks.quality.downstream.comparators import COMPARATORS
from benchmarks.quality.downstream.fitting import Images, Masks, predict
from benchmarks.quality.downstream.segmentation import SegmenterSettings, Source
from benchmarks.quality.metrics.segmentation import score_pixels
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.files import write_atomic
from seas_train.data import demo, layouts
from seas_train.data.dataset import ImageSet
from seas_train.data.layouts import Record

DEFECTS = tuple(demo.PRODUCTS[PRODUCT].defects)
SIZE = 128
ORACLE_SEED, FRESH_SEED = 71, 72  # neither draws what make_demo.py draws
ORACLE_PIECES, ORACLE_STEPS = 3000, 800
FRESH, WHOLE = 300, 200  # held-out anomalies and whole pieces
BLENDS = 300
BLENDED = {"real + cut-and-paste": "crop-paste", "real + Perlin": "perlin"}  # method -> comparator
METHODS = ("real", *BLENDED, "real + generated")
SEGMENTER = SegmenterSettings()


@dataclass(frozen=True)
class Few:
    """What a user has: a few anomalies with masks, and normals; images uint8 (n, H, W, 3), masks bool (n, H, W)."""

    anomalies: Pieces
    normals: Images


def read_few(work: Path) -> Few:
    """The training part of the few-shot data set, as the engine's fine-tuning saw it."""
    product = layouts.read(work / "few" / PRODUCT)
    split, normals = layouts.split(product), layouts.pick_normals(product)
    images, masks = _arrays(split.train)
    types = np.array([1 + DEFECTS.index(str(record.defect)) for record in split.train], np.uint8)
    return Few(Pieces(images, masks, types), _arrays(normals)[0])


def read_pairs(out: Path) -> Pieces:
    """What `seas-gen` wrote below `out`, in order."""
    lines = [json.loads(line) for line in (out / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]
    ordered = sorted(lines, key=lambda line: line["index"])
    records = [Record(out / x["file_name"], out / x["mask_file_name"], x["defect"]) for x in ordered]
    images, masks = _arrays(records)
    return Pieces(images, masks, np.array([1 + DEFECTS.index(str(r.defect)) for r in records], np.uint8))


def _arrays(records: list[Record] | tuple[Record, ...]) -> tuple[Images, Masks]:
    loaded = ImageSet(records, SIZE)
    pairs = [loaded[i] for i in range(len(loaded))]
    images = np.stack([((image.permute(1, 2, 0) + 1) * 127.5).round().byte().numpy() for image, _ in pairs])
    return images, np.stack([mask[0].bool().numpy() for _, mask in pairs])


def fresh_pieces() -> tuple[Pieces, Pieces]:
    """Held-out anomalies, types in turn, and whole pieces."""
    anomalies = oracle.draw_pieces(PRODUCT, [DEFECTS[i % len(DEFECTS)] for i in range(FRESH)], SIZE, FRESH_SEED)
    return anomalies, oracle.draw_pieces(PRODUCT, [None] * WHOLE, SIZE, FRESH_SEED + 1000)


def key_of(*things: Pieces | Images | str) -> str:
    """A name for what a kept result came from, so that another engine, data set or setting never finds it."""
    digest = hashlib.sha256()
    for thing in things:
        if isinstance(thing, Pieces):
            parts = [thing.images.tobytes(), thing.masks.tobytes(), thing.types.tobytes()]
        else:
            parts = [thing.encode() if isinstance(thing, str) else thing.tobytes()]
        for part in parts:
            digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:12]


def get_oracle(folder: Path, fresh: Pieces) -> Oracle:
    """Train the judge, or read it where that is done; `fresh` pieces show how pieces are drawn now."""
    path = folder / f"oracle-{key_of(fresh, f'{ORACLE_PIECES} {ORACLE_STEPS} {ORACLE_SEED}')}.safetensors"
    if not path.exists():
        kinds = (None, *DEFECTS)
        pieces = oracle.draw_pieces(PRODUCT, [kinds[i % len(kinds)] for i in range(ORACLE_PIECES)], SIZE, ORACLE_SEED)
        oracle.train(DEFECTS, pieces, ORACLE_STEPS, ORACLE_SEED).save(path)
    return Oracle.load(DEFECTS, path)


def generate(engine: Path, out: Path, count: int) -> None:
    """Generate pairs as they come: no second attempt, so that pairs without a mask are missing and can be counted."""
    command = [executable("seas-gen"), "--engine", str(engine), "--out", str(out), "--count", str(count)]
    done = subprocess.run([*command, "--retries", "0", "--max-area", "1"], check=False)
    if done.returncode not in (0, 6):  # 6: some masks are empty
        raise click.ClickException(f"seas-gen ended with exit code {done.returncode}")


def segmenter_scores(
    folder: Path, method: str, seed: int, sources: Callable[[], list[Source]], few: Few, test: Pieces, pairs: str
) -> Any:
    """Pixel AP and IoU of one segmenter on held-out anomalies; kept in a file named after all it came from.

    `pairs` says which generated pairs the method learns from, if any.
    """
    key = key_of(few.anomalies, few.normals, test, repr(SEGMENTER), f"{BLENDS} {pairs}")
    path = folder / f"{method.replace(' ', '')}-{seed}-{key}.json"
    if not path.exists():
        network = segmentation.train(sources(), few.normals, SEGMENTER, seed)
        maps = predict(network, test.images)
        scores = score_pixels(maps, test.masks)
        write_atomic(path, json.dumps({"ap": scores.ap, "iou": scores.iou_half}) + "\n")
    return json.loads(path.read_text(encoding="utf-8"))


def sources_of(method: str, few: Few, generated: Callable[[], Pieces], seed: int) -> list[Source]:
    """What a segmenter of this method learns from; half of the anomalies of a batch are the few real ones."""
    real = Source(few.anomalies.images, few.anomalies.masks)
    if method == METHODS[0]:
        return [real]
    if method in BLENDED:
        blend = COMPARATORS[BLENDED[method]]
        return [real, Source(*blend(few.normals, few.anomalies.images, few.anomalies.masks, BLENDS, seed))]
    pairs = generated()
    return [real, Source(pairs.images, pairs.masks)]


@click.command(help=__doc__)
@click.option("--work", type=click.Path(path_type=Path, exists=True), default=Path("out/demo"), show_default=True)
@click.option("--engine", type=click.Path(path_type=Path), default=Path("engines/bottle.plan"), show_default=True)
@click.option("--count", default=600, show_default=True, help="Pairs to generate.")
@click.option("--seeds", default=3, show_default=True, help="Segmenters of each kind.")
@click.option(
    "--method", "methods", multiple=True, type=click.Choice(METHODS), help="Train these segmenters only, and write no table."
)
def main(work: Path, engine: Path, count: int, seeds: int, methods: tuple[str, ...]) -> None:
    """Run what is not done yet."""
    folder = work / "quality"
    folder.mkdir(exist_ok=True)
    few, (test, whole) = read_few(work), fresh_pieces()
    judge = get_oracle(folder, test)
    digest = read_bundle(engine).manifest.digest

    def generated() -> Pieces:
        out = folder / f"pairs-{digest[:12]}-{count}"
        generate(engine, out, count)
        return read_pairs(out)

    scores: dict[str, list[Any]] = {}
    for seed in range(seeds):
        for method in methods or METHODS:
            click.echo(f"segmenter: {method}, seed {seed}")
            sources = partial(sources_of, method, few, generated, seed)
            made = f"{digest} {count}" if method == METHODS[-1] else "none"
            scores.setdefault(method, []).append(segmenter_scores(folder, method, seed, sources, few, test, made))
    if not methods:
        pairs = generated()
        found = figures.measure(judge, pairs, test, whole, few.anomalies)
        found["empty"] = 1 - len(pairs.images) / count
        report.save(engine, found, scores, pairs, judge)


if __name__ == "__main__":
    main()
