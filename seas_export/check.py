"""`seas-export RUN --parity BUNDLE`: a sealed bundle against PyTorch at every step of a whole sampling run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from seas_export import cases, parity, to_onnx
from seas_export.graphs import wrappers
from seas_export.parity import Row
from seas_runtime.bundle.manifest import Manifest
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.bundle.schema import WHOLE
from seas_runtime.errors import BundleError
from seas_train import run_folder
from seas_train.reference import SampleSettings
from seas_train.run_folder import Run


def check(run: Run, path: Path, progress: Callable[[str], None]) -> list[Row]:
    """Compare every graph of a bundle with the run it was made from, with the bundle's own sampling defaults.

    Args:
        run: as it was exported; rounded in place to what the bundle stores.
        path: the bundle.
        progress: called with the name of each stage.

    Raises:
        BundleError: the bundle is damaged, or was not made from this run.
    """
    progress("bundle")
    manifest = read_bundle(path).manifest
    _require_same(run, manifest, path)
    if manifest.half is not None:
        to_onnx.round_to_half([run.model.unet, run.model.vae, run_folder.require_masks(run)])
    progress("reference")
    steps = list(cases.trajectory(run, wrappers(run), settings_of(manifest)))
    files: parity.Files = {name: dict(graph.files) for name, graph in manifest.graphs.items()}
    progress("parity")
    return list(parity.compare(steps, path, files, manifest.defaults.threshold))


def settings_of(manifest: Manifest) -> SampleSettings:
    """A bundle's own sampling defaults, for the reference sampler."""
    defaults = manifest.defaults
    return SampleSettings(
        defaults.steps,
        defaults.guidance,
        defaults.mask_steps,
        manifest.schedule.final,
        defaults.guidance_interval or WHOLE,
    )


def _require_same(run: Run, manifest: Manifest, path: Path) -> None:
    prompts = {defect.name: defect.prompt for defect in manifest.defects}
    if (run.facts.product, run.facts.prompts.anomaly) != (manifest.product, prompts):
        raise BundleError(
            f"{path}: makes {manifest.product} with {', '.join(prompts)}, but {run.folder} was trained on {run.facts.product} with "
            f"{', '.join(run.facts.defects)}; give the run that the bundle was exported from"
        )
