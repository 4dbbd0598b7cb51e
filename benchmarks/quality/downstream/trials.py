"""Trainings of segmentation networks, each kept in files: the same call again goes on with those that are missing."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.downstream.fitting import Maps
from benchmarks.quality.downstream.segmentation import SegmenterSettings, Task, evaluate, segment
from benchmarks.quality.downstream.sources import Method, tasks
from benchmarks.quality.options import stem
from benchmarks.quality.real import Material, digest
from benchmarks.quality.weights import sha256
from seas_runtime.errors import DataError
from seas_runtime.files import write_atomic
from seas_train.output import require_same
from seas_train.pipeline.stages import Log

Row = dict[str, float]
"""Scores of one product by name, as `segmentation.Scores.row` gives them."""


@dataclass(frozen=True, order=True)
class Trial:
    """One training.

    Attributes:
        method: Name of the method.
        network: Name of the network.
        scope: "unified" over products, or "each".
        count: Pairs of each product.
        seed: Of everything random.
    """

    method: str
    network: str
    scope: str
    count: int
    seed: int

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{stem(self.method)}-{self.network}-{self.scope}-{self.count}-{self.seed}"


@dataclass(frozen=True)
class Result:
    """What a training reached: the scores of each product, and the seconds it took."""

    trial: Trial
    scores: dict[str, Row]
    seconds: float


def plan(
    methods: Sequence[Method], networks: Sequence[str], scopes: Sequence[str], counts: Sequence[int], seeds: int
) -> list[Trial]:
    """All trainings, seed by seed, so that an interrupted run has something of every method.

    The largest count is that of the tables and used for all; smaller ones show what more pairs bring, of given pairs alone.
    """
    most = max(counts)
    found = []
    for seed in range(seeds):
        for method in methods:
            for count in sorted(set(counts), reverse=True):
                if count == most or (method.pairs is not None and not method.real_share):
                    found += [Trial(method.name, net, scope, count, seed) for net in networks for scope in scopes]
    return found


def run(
    planned: Sequence[Trial],
    methods: Sequence[Method],
    materials: Mapping[str, Material],
    settings: SegmenterSettings,
    folder: Path,
    log: Log,
    weights: Mapping[str, Path] | None = None,
) -> list[Result]:
    """Run what is not done yet.

    Args:
        planned: What to run.
        methods: All that `planned` names.
        materials: Each product's images.
        settings: Of every training, but for its network, scope and weights.
        folder: Where results are kept, a JSON file and the maps for each training.
        log: Called with a line for each.
        weights: Files of weights by network.

    Raises:
        DataError, SettingsError, TrainError: as `downstream.segment` and `downstream.evaluate`.
        OutputError: `folder` holds a training of other data or settings.
    """
    named = {method.name: method for method in methods}
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    for index, trial in enumerate(planned, start=1):
        chosen = {"network": trial.network, "scope": trial.scope, "weights": (weights or {}).get(trial.network)}
        own = settings.model_copy(update=chosen)
        found = _kept(folder, trial, named[trial.method], materials, own)
        ap = np.mean([row["pixel_ap"] for row in found.scores.values()])
        log(
            f"[{index}/{len(planned)}] {trial.method}, {trial.network}, {trial.count} pairs, seed {trial.seed}: "
            f"pixel AP {100 * ap:.2f}, {found.seconds:.0f} s"
        )
        results.append(found)
    return results


def stated(settings: SegmenterSettings, results: Sequence[Result]) -> dict[str, Any]:
    """The settings of finished trainings for the facts of a document: the networks and scopes are those that were trained."""
    trained = {
        "networks": list(dict.fromkeys(result.trial.network for result in results)),
        "scopes": list(dict.fromkeys(result.trial.scope for result in results)),
    }
    return settings.model_dump(mode="json", exclude={"network", "scope", "weights"}) | trained


def read_maps(folder: Path, trial: Trial) -> dict[str, Maps]:
    """The maps (t, s, s) of every product's test images."""
    with np.load(folder / f"{trial.name}.npz") as kept:
        return {name: kept[name].astype(np.float32) for name in kept.files}


def _kept(folder: Path, trial: Trial, method: Method, materials: Mapping[str, Material], settings: SegmenterSettings) -> Result:
    path, file = folder / f"{trial.name}.json", folder / f"{trial.name}.npz"
    posed = tasks(method, materials, trial.count, trial.seed)
    asked = {
        **dataclasses.asdict(trial),
        "settings": settings.model_dump(mode="json") | {"weights": settings.weights and sha256(settings.weights)},
        "learned": {name: _learned(task) for name, task in posed.items()},
        "tested": {name: digest(task.test_images, task.test_masks) for name, task in posed.items()},
    }
    if path.is_file() and file.is_file():
        saved = _read(path)
        require_same(path, saved["asked"], asked)
        return Result(trial, saved["scores"], saved["seconds"])
    began = time.monotonic()
    maps = segment(posed, settings, trial.seed)
    scores = {name: found.row() for name, found in evaluate(posed, maps).items()}
    seconds = round(time.monotonic() - began, 1)
    partial = folder / f"{trial.name}.partial.npz"
    half: dict[str, Any] = {name: value.astype(np.float16) for name, value in maps.items()}
    np.savez_compressed(partial, **half)
    partial.replace(file)
    write_atomic(path, json.dumps({"asked": asked, "scores": scores, "seconds": seconds}, indent=1) + "\n")
    return Result(trial, scores, seconds)


def _learned(task: Task) -> str:
    arrays = [part for source in task.sources for part in (source.images, source.masks, np.array(source.weight))]
    return digest(*arrays, task.normals)


def _read(path: Path) -> dict[str, Any]:
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        return {key: saved[key] for key in ("asked", "scores", "seconds")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read ({error!r}), expected a finished training; remove it") from error


def of(results: Sequence[Result], **wanted: Any) -> Iterator[Result]:
    """Keep the results whose trial has these values, such as method="perlin" or count=100."""
    for result in results:
        if all(getattr(result.trial, key) == value for key, value in wanted.items()):
            yield result
