"""Bundles and machines in plain lines of text, for `seas-engine`."""

from __future__ import annotations

import json
from collections.abc import Iterator

from seas_runtime.backends import BACKENDS
from seas_runtime.bundle import Bundle
from seas_runtime.errors import BackendError
from seas_runtime.versions import run_versions


def describe_bundle(bundle: Bundle) -> Iterator[str]:
    """What a bundle makes, how, and where it comes from."""
    manifest = bundle.manifest
    geometry, start, defaults = manifest.geometry, manifest.start, manifest.defaults
    yield f"{bundle.path}: format {manifest.format}, product {manifest.product}"
    yield f"digest      {manifest.digest}"
    yield f"size        {sum(entry.bytes for entry in manifest.files.values()) / 1e6:.1f} MB"
    for defect in manifest.defects:
        yield f"defect      {defect.name}: {defect.prompt!r}"
    yield f"images      {geometry.image_size} x {geometry.image_size}, RGB"
    yield f"latents     {geometry.latent_channels} x {geometry.latent_size} x {geometry.latent_size}"
    yield f"normals     {len(bundle.conditioning.mean)}"
    yield f"schedule    {_pairs(manifest.schedule.model_dump())}"
    yield f"start       {_pairs(start.model_dump())}"
    yield f"defaults    {_pairs(defaults.model_dump())}"
    for name, graph in manifest.graphs.items():
        yield f"graph       {name}: {', '.join(sorted(graph.files))}"
    for key, value in manifest.provenance.items():
        yield f"provenance  {key}: {value if isinstance(value, str) else json.dumps(value)}"


def describe_machine() -> Iterator[str]:
    """Versions, and for each backend whether it can run here."""
    from seas_runtime.backends.ort import load_onnxruntime, missing_provider  # noqa: PLC0415  # optional

    for name, version in run_versions().items():
        yield f"{name:<12}{version}"
    try:
        yield f"{'onnxruntime':<12}{load_onnxruntime().__version__}"
        for name in BACKENDS:
            yield f"{name:<12}{missing_provider(name) or 'provider installed'}"
    except BackendError as error:
        yield f"{'onnxruntime':<12}{error.message}"


def _pairs(values: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
