"""Bundles and machines in plain lines of text, for `seas-engine`."""

from __future__ import annotations

import json
from collections.abc import Iterator

from seas_runtime.backends import backend_module
from seas_runtime.backends.registry import BACKENDS, PACKAGES
from seas_runtime.backends.tensorrt.engine_set import EngineSet, find_engines
from seas_runtime.backends.tensorrt.library import VARIANTS, Variant, load
from seas_runtime.bundle.reader import Bundle
from seas_runtime.device import current_gpu, driver_version
from seas_runtime.errors import BackendError, SeasError
from seas_runtime.versions import package_version, run_versions


def describe_bundle(bundle: Bundle) -> Iterator[str]:
    """What a bundle makes, how, where it comes from, and the engines beside it."""
    manifest = bundle.manifest
    geometry, start, defaults = manifest.geometry, manifest.start, manifest.defaults
    yield f"{bundle.path}: format {manifest.format}, product {manifest.product}"
    yield f"digest      {manifest.digest}"
    yield f"size        {sum(entry.bytes for entry in manifest.files.values()) / 1e6:.1f} MB"
    for defect in manifest.defects:
        masks = _pairs(defect.model_dump(exclude={"name", "prompt"}))
        yield f"defect      {defect.name}: {defect.prompt!r}{f'; masks: {masks}' if masks else ''}"
    yield f"images      {geometry.image_size} x {geometry.image_size}, RGB"
    yield f"latents     {geometry.latent_channels} x {geometry.latent_size} x {geometry.latent_size}"
    crowd = f" (anomalies on one: {manifest.composite_anomalies or 1:g} in the mean)"
    composites = f", {manifest.composites} composites of each type{crowd}" if manifest.composites else ""
    yield f"normals     {len(bundle.conditioning.mean)}, {len(manifest.photographs or ()) or 'no'} photographs{composites}"
    if (fitting := manifest.fitting) is not None:
        yield f"fit         {fitting.fit}, of photographs of {fitting.photograph[0]} x {fitting.photograph[1]}"
    yield f"schedule    {_pairs(manifest.schedule.model_dump())}"
    yield f"start       {_pairs(start.model_dump())}"
    yield f"defaults    {_pairs(defaults.model_dump())}"
    if manifest.student is not None:
        yield f"student     {_pairs(manifest.student.model_dump())}"
    yield f"masks       {'of the last steps' if manifest.look is None else f'of the finished picture, at timestep {manifest.look}'}"
    for name, graph in manifest.graphs.items():
        yield f"graph       {name}: {', '.join(sorted(graph.files))}"
    for found in find_engines(bundle):
        fit = describe_engines(found.engines) if found.engines else f"unfit: {found.unfit}"
        yield f"engines     {found.path.name}: {fit}"
    for key, value in manifest.provenance.items():
        yield f"provenance  {key}: {value if isinstance(value, str) else json.dumps(value)}"


def describe_engines(engines: EngineSet) -> str:
    """An engine set in one line: GPUs, precisions, batches, size."""
    facts = engines.facts
    gpus = " ".join((*facts.gpus, f"({facts.device})")) if facts.device else " ".join(facts.gpus)
    precisions = " ".join(sorted({engine.precision for engine in facts.graphs.values()}))
    batches = " ".join(map(str, facts.batches))
    return f"{gpus}, {precisions}, batches {batches}, {engines.bytes / 1e6:.1f} MB"


def describe_machine() -> Iterator[str]:
    """GPU, driver and packages; whether each backend can run and engines can be built here, else the hint."""
    for name, version in run_versions().items():
        yield f"{name:<14}{version}"
    gpu, driver = current_gpu(), driver_version()
    yield f"{'gpu':<14}{f'{gpu.capability}, {gpu.name}' if gpu else 'none, or no NVIDIA driver'}"
    yield f"{'driver':<14}{f'CUDA {driver[0]}.{driver[1]}' if driver else 'none'}"
    for package in PACKAGES:
        yield f"{'package':<14}{package} {package_version(package)}"
    for name in BACKENDS:
        yield f"{name:<14}{backend_module(name).missing(name) or 'ready'}"
    for variant in VARIANTS:
        yield f"{'build':<14}{variant}: {_builder(variant)}"


def describe_fit(bundle: Bundle) -> Iterator[str]:
    """Which engines lie beside a bundle, which of them fit this machine, and the hint where none do."""
    from seas_runtime.backends.tensorrt.backend import fitting_engines  # noqa: PLC0415  # the table of backends knows it

    engines = find_engines(bundle)
    for found in engines:
        fit = describe_engines(found.engines) if found.engines else f"unfit: {found.unfit}"
        yield f"{'engines':<14}{found.path.name}: {fit}"
    if not engines:
        yield f"{'engines':<14}none in {bundle.path}"
    gpu = current_gpu()
    for variant in VARIANTS:
        if gpu is None or backend_module(variant).missing(variant):
            continue  # which describe_machine says
        try:
            fits = f"{fitting_engines(bundle, load(variant), gpu).path.name} fits"
        except SeasError as error:
            fits = error.message
        yield f"{'fit':<14}{variant}: {fits}"


def _builder(variant: Variant) -> str:
    """Whether engines of a variant can be built here."""
    try:
        title = load(variant).title
    except BackendError as error:
        return error.message
    if variant == "rtx":
        return f"{title}, needs no GPU"
    return f"{title}, for this GPU" if current_gpu() else f"{title}, only on the GPU that runs the engines"


def _pairs(values: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
