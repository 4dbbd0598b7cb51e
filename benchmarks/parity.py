"""Whole pairs of a bundle against the PyTorch sampler: PSNR of images, IoU of masks.

    python -m benchmarks.parity --run RUN --bundle NAME.plan --backend cpu --count 12

Both start from the same latents, normal images and noise. PyTorch runs twice: with the weights as the bundle stores them (the error
of the runtime), and with the run's own fp32 weights (what storing them in fp16 changes as well). Saves parity_PRODUCT.md and .json.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

import seas_runtime
from benchmarks import common
from benchmarks.export_sd14 import parity_table
from benchmarks.quality.metrics.segmentation import overlaps
from seas_export.check import settings_of
from seas_export.to_onnx import round_to_half
from seas_runtime import Options, Pair
from seas_runtime.bundle.reader import Bundle, read_bundle
from seas_runtime.sampling.noise import POSTERIOR, START
from seas_runtime.sampling.pairs import draw_pair, fresh_noise
from seas_runtime.settings import recipe
from seas_train import reference, run_folder
from seas_train.run_folder import Run

GOAL = {"psnr": 45.0, "iou": 0.99}


def of_bundle(bundle: Bundle, backend: str, options: Options) -> list[Pair]:
    """The bundle's pairs, with its own defaults, every mask kept."""
    with seas_runtime.open(bundle, backend) as generator:
        return [pair for pairs in generator.batches(*generator.recipe(options)) for pair in pairs]


def of_pytorch(trained: Run, bundle: Bundle, options: Options) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Images (n, H, W, 3) and masks (n, H, W) of the same pairs from the reference sampler."""
    conditioning, defaults = bundle.conditioning, bundle.manifest.defaults
    plan, _ = recipe(bundle.manifest, options)
    drawn = [draw_pair(plan, i, 0, len(conditioning.mean)) for i in range(plan.count)]
    mean, std = (np.stack([part[pair.normal] for pair in drawn]) for part in (conditioning.mean, conditioning.std))
    posterior, noise = (np.stack([pair.stream.normals(key, mean.shape[1:]) for pair in drawn]) for key in (POSTERIOR, START))
    fresh = torch.from_numpy(fresh_noise(drawn, defaults.steps, mean.shape[1:]))
    settings = settings_of(bundle.manifest)
    defects = [pair.defect for pair in drawn]
    found = reference.sample(trained, defects, torch.from_numpy(mean + std * posterior), torch.from_numpy(noise), settings, fresh)
    images = ((found.images.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return images, (found.probability[:, 0] >= defaults.threshold).numpy()


def compare(pairs: list[Pair], images: NDArray[np.uint8], masks: NDArray[np.bool_]) -> dict[str, Any]:
    """PSNR in dB and IoU of each pair, images (n, H, W, 3) and masks (n, H, W), with median and worst."""
    psnr = []
    for pair, image in zip(pairs, images, strict=True):
        error = float(np.mean((pair.image.astype(np.float64) - image) ** 2))
        psnr.append(99.0 if error == 0 else 10 * float(np.log10(255**2 / error)))
    iou = overlaps(np.stack([pair.mask > 0 for pair in pairs]), masks).tolist()
    return {
        "psnr": {"median": statistics.median(psnr), "worst": min(psnr), "all": psnr},
        "iou": {"median": statistics.median(iou), "worst": min(iou), "all": iou},
    }


def table(facts: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = [f"# Pairs of {facts['product']} against PyTorch", ""]
    lines += ["| backend | PyTorch weights | PSNR median, dB | worst | mask IoU median | worst |", "|---|---|---:|---:|---:|---:|"]
    for backend, by_weights in facts["figures"].items():
        for weights, found in by_weights.items():
            psnr, iou = found["psnr"], found["iou"]
            lines.append(
                f"| {backend} | {weights} | {psnr['median']:.1f} | {psnr['worst']:.1f} | {iou['median']:.4f} | {iou['worst']:.4f} |"
            )
    lines += ["", f"{facts['pairs']} pairs. Goal, same weights: PSNR {GOAL['psnr']} dB and IoU {GOAL['iou']} in the median.", ""]
    lines += parity_table(facts["graphs"])
    lines += ["", "Graphs on random inputs and three timesteps, as measured at export.", ""]
    lines += common.listed(facts, "half", "machine", "versions", "commit", "command")
    return "\n".join([*lines, ""])


@click.command(help=__doc__)
@click.option("--run", "folder", type=click.Path(path_type=Path), required=True, help="The run that the bundle was exported from.")
@click.option("--bundle", "path", type=click.Path(path_type=Path), required=True)
@click.option("--backend", "backends", multiple=True, default=("cpu",), show_default=True)
@click.option("--count", type=click.IntRange(1), default=12, show_default=True)
@click.option("--results", type=click.Path(path_type=Path), default=common.RESULTS)
def main(*, folder: Path, path: Path, backends: tuple[str, ...], count: int, results: Path) -> None:
    """Measure, then save the table."""
    bundle = read_bundle(path)
    options = Options(count=count, max_area=1.0, retries=0)
    truth = {"fp32": of_pytorch(run_folder.load(folder), bundle, options)}
    rounded = run_folder.load(folder)
    round_to_half([rounded.model.unet, rounded.model.vae, run_folder.require_masks(rounded)])
    truth["as stored"] = of_pytorch(rounded, bundle, options)
    figures: dict[str, Any] = {}
    for backend in backends:
        pairs = of_bundle(bundle, backend, options)
        figures[backend] = {weights: compare(pairs, *truth[weights]) for weights in ("as stored", "fp32")}
    facts = {
        "product": bundle.manifest.product,
        "pairs": count,
        "figures": figures,
        "graphs": bundle.manifest.parity,
        "half": bundle.manifest.half.model_dump(mode="json") if bundle.manifest.half else None,
        **common.machine(),
        "command": f"python -m benchmarks.parity --run RUN --bundle BUNDLE --count {count} "
        + " ".join(f"--backend {name}" for name in backends),
    }
    common.save(results / f"parity_{bundle.manifest.product}", facts, table(facts))
    click.echo(table(facts))


if __name__ == "__main__":
    main()
