"""What `report` decides by itself: whether a product is seen in any pose, and how many steps fit the time there is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.quality import timing
from benchmarks.quality.metrics import efficientnet
from benchmarks.quality.pipeline import Effort
from benchmarks.quality.pose import ASYMMETRY, GRAIN, LOOKED_AT, Pose, grey
from benchmarks.quality.real import Real
from benchmarks.quality.timing import Speed
from seas_runtime.errors import DataError
from seas_runtime.files import write_atomic
from seas_train.data.images import read_mask, read_rgb
from seas_train.data.layouts import Record
from seas_train.output import require_same

CHOSEN = "chosen.json"
CELL = 8
"""Pixels of a latent cell."""
SEGMENTER_STEPS = (150, 400)
"""Fewest and most."""
SEGMENTING = {False: 0.35, True: 0.45}
"""Share of the time for segmenters, of one network and of several."""
SHORTEST = 100
"""Fewest where the generator took longer than it should."""
TOO_MUCH = 0.55
"""Where the fewest steps of all networks would take more of the time than this, the first one is trained alone."""
COUNT = 400
"""Pairs."""
SHARES = {"vae": 0.24, "unet": 0.52, "sharpen": 0.08, "tune": 0.04, "masks": 0.12}
"""Of the generator's time. The autoencoder begins with weights that have learned drawn images, the U-Net with none."""
MOST = {"vae": 6000, "unet": 20_000, "sharpen": 2000, "tune": 1000, "masks": 1500}
FEWEST = {"vae": 300, "unet": 300, "sharpen": 60, "tune": 60, "masks": 100}
TIMES = {"sharpen": 2.0, "tune": 1.2, "masks": 2.0}
"""Seconds of a step there, in steps of the autoencoder (sharpen, masks) or the U-Net (tune)."""
REST = 0.12
"""Share of the time for export, generation and judging."""
JUDGING = 0.03
"""Of that, for judging and writing the report."""


@dataclass(frozen=True)
class Choices:
    """What is trained and how long, and why, in sentences for the report."""

    turned: bool
    effort: Effort
    segmenter_steps: int
    networks: tuple[str, ...]
    reasons: tuple[str, ...]


def usual() -> tuple[str, ...]:
    """The segmenters that are trained unless others are asked for: the pretrained one too where its weights are installed."""
    return ("small", "efficientnet") if efficientnet.installed() else ("small",)


def choose(
    real: Real,
    minutes: float,
    side: int,
    seeds: int,
    folder: Path,
    networks: Sequence[str] = (),
    speed: Callable[[int, Sequence[str]], Speed] | None = None,
) -> Choices:
    """Decide, or read what was decided when the same report was begun in `folder`.

    Args:
        real: The product.
        minutes: That there are for everything.
        side: Of all images, pixels.
        seeds: Segmenters of each kind.
        folder: Of the report.
        networks: Segmenters that are asked for; none for those of `usual` that there is time for.
        speed: Measures this machine at a side; None for `timing.measure`.

    Raises:
        OutputError: It was begun for other images, minutes, networks or another side.
        DataError: What was decided cannot be read, or an image cannot.
    """
    asked: dict[str, Any] = {
        "few": [record.image.name for record in real.few],
        "normals": len(real.normals),
        "minutes": minutes,
        "side": side,
        "seeds": seeds,
        "networks": list(dict.fromkeys(networks or usual())),
    }
    path = folder / CHOSEN
    if path.is_file():
        saved = _read(path)
        require_same(path, saved["asked"], asked)
        found = saved["chosen"]
        plain = {name: tuple(found[name]) for name in ("networks", "reasons")}
        return Choices(**found | plain | {"effort": Effort(**found["effort"])})
    chosen = decide(_greys(real), real, minutes, side, seeds, (speed or timing.measure)(side, asked["networks"]), bool(networks))
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps({"asked": asked, "chosen": asdict(chosen)}, indent=1) + "\n")
    return chosen


def decide(
    greys: npt.NDArray[np.float64], real: Real, minutes: float, side: int, seeds: int, speed: Speed, keep: bool = False
) -> Choices:
    """Pose from the normal images (n, s, s), steps from the time: first of the segmenters, the generator has the rest.

    Args:
        greys: Grey normal images.
        real: The product.
        minutes: That there are.
        side: Of all images.
        seeds: Segmenters of each kind.
        speed: Of this machine, with the segmenters that are asked for.
        keep: Whether all of them are trained, however long that takes.
    """
    pose = Pose.of(greys)
    fewest, most = SEGMENTER_STEPS
    seconds = 60 * minutes
    said = list(_said(pose, real, side))
    if not keep and fewest * speed.segmenting(seeds) > TOO_MUCH * seconds and len(speed.segmenters) > 1:
        first, *others = speed.segmenters
        speed = replace(speed, segmenters={first: speed.segmenters[first]})
        said.append(f"There is no time to train {' and '.join(others)} too; --network {others[0]} or more --minutes do.")
    affordable = SEGMENTING[len(speed.segmenters) > 1] * seconds / speed.segmenting(seeds)
    steps = int(np.clip(affordable, fewest, most))
    segmented = steps * speed.segmenting(seeds)
    left = seconds * (1 - REST) - segmented
    per_step = {"vae": speed.vae, "unet": speed.unet}
    per_step |= {name: TIMES[name] * (speed.unet if name == "tune" else speed.vae) for name in TIMES}
    counts = {name: int(np.clip(share * left / per_step[name], FEWEST[name], MOST[name])) for name, share in SHARES.items()}
    align = min(1500, counts["unet"] // 6)
    effort = Effort(**counts, count=COUNT, solver=25, align=align, every=200)
    needed = sum(counts[name] * per_step[name] for name in counts) + segmented
    networks = tuple(speed.segmenters)
    said.append(_time(effort, f"{' and '.join(networks)} {steps}", seeds, minutes, needed / (1 - REST)))
    return Choices(pose.turned, effort, steps, networks, tuple(said))


def refit(folder: Path, spent: float, speed: Callable[[int, Sequence[str]], Mapping[str, float]] | None = None) -> tuple[int, str]:
    """Steps of the segmenters for the time that is left when the generator is done, and a sentence; once, then as it was decided.

    Args:
        folder: Of the report, begun by `choose`.
        spent: Seconds that everything before has taken.
        speed: Measures the seconds of a step of each network at a side; None for `timing.of_segmenters`.

    Raises:
        DataError: What was decided cannot be read.
    """
    saved, path = _read(folder / CHOSEN), folder / CHOSEN
    asked, found = saved["asked"], saved["chosen"]
    if "refitted" not in saved:
        measured = Speed(0, 0, (speed or timing.of_segmenters)(asked["side"], found["networks"]))
        left = 60 * asked["minutes"] * (1 - JUDGING) - spent
        steps = int(np.clip(left / measured.segmenting(asked["seeds"]), SHORTEST, SEGMENTER_STEPS[1]))
        taken = (spent + steps * measured.segmenting(asked["seeds"])) / 60
        said = (
            f"The generator and its pairs took {spent / 60:.0f} minutes, so segmenters have {steps} steps in place of "
            f"{found['segmenter_steps']}; about {taken:.0f} of the {asked['minutes']:.0f} minutes in all."
        )
        saved["refitted"] = [steps, said]
        write_atomic(path, json.dumps(saved, indent=1) + "\n")
    steps, said = saved["refitted"]
    return int(steps), str(said)


def _greys(real: Real) -> npt.NDArray[np.float64]:
    if not real.normals:
        raise DataError(f"{real.product.root}: found no normal images, expected some to learn from; add a folder train/good")
    return np.stack([grey(read_rgb(record.image)) for record in real.normals[:LOOKED_AT]])


def _said(pose: Pose, real: Real, side: int) -> Sequence[str]:
    if pose.turned:
        how = "seen in any pose, so everything learns from turned and flipped images too"
    else:
        how = "seen in a fixed pose, so nothing is turned"
    looked = (
        f"The product is {how}: turning changes its mean image by {pose.asymmetry:.2f} of the contrast (fixed from {ASYMMETRY}), "
        f"and {pose.grain:.2f} of its edges run one way (fixed from {GRAIN})."
    )
    small = [record.image.name for record in real.few if _width(record) * side < CELL]
    if not small:
        return (looked,)
    return (
        looked,
        f"{len(small)} of {len(real.few)} training anomalies are narrower than a latent cell ({CELL} pixels) at {side} pixels a "
        "side: a small model draws them coarsely.",
    )


def _width(record: Record) -> float:
    """Width of an anomaly, its area by its length, as a share of the image's side."""
    if record.mask is None:
        return 1.0
    mask = read_mask(record.mask, record.mask_kind)
    length = max(np.ptp(places) + 1 for places in np.nonzero(mask)) if mask.any() else 1
    return float(mask.sum() / length / max(mask.shape))


def _time(effort: Effort, trained: str, seeds: int, minutes: float, needed: float) -> str:
    parts = {
        "autoencoder": effort.vae,
        "U-Net": effort.unet,
        "sharpening": effort.sharpen,
        "fine-tuning": effort.tune,
        "masks": effort.masks,
    }
    steps = ", ".join(f"{name} {count}" for name, count in parts.items())
    return (
        f"Steps for {minutes:.0f} minutes at this machine's speed: {steps}; segmenters {trained}, {seeds} seeds; "
        f"about {needed / 60:.0f} minutes in all."
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        return {key: saved[key] for key in ("asked", "chosen", "refitted") if key != "refitted" or key in saved}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read ({error!r}), expected what an earlier report chose; remove it") from error
