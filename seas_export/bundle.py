"""A run folder -> a sealed bundle, written beside its place and moved there whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError

from seas_export import cases, composed, conditioning, fp16_probe, fp16_ranges, parity, to_onnx
from seas_export import fp16 as half
from seas_export.cases import Case
from seas_export.composed import TRACED
from seas_export.graphs import Wrapper, wrappers
from seas_export.parity import Row
from seas_runtime.bundle.graphs import Graph, GraphName
from seas_runtime.bundle.manifest import COMPOSITE_ANOMALIES, Defaults, Facts, HalfPrecision, Manifest
from seas_runtime.bundle.reader import read_bundle, write_manifest
from seas_runtime.bundle.schema import WHOLE
from seas_runtime.errors import BundleError, DataError, OutputError, SettingsError
from seas_runtime.sampling.defaults import PAPER
from seas_runtime.staging import replaced, settle
from seas_runtime.versions import own_version
from seas_train import reference, run_folder
from seas_train.models import prediction
from seas_train.reference import SampleSettings
from seas_train.run_folder import Run

PACKAGES = ("torch", "diffusers", "transformers", "onnx", "onnxruntime")


@dataclass(frozen=True)
class ExportSettings:
    """How to store the weights, the defaults of generation that the bundle carries, and what pairs can start from.

    photographs: whether the normal images come along.
    composites: how many normal images with training anomalies placed on them come along, as latents of each type.
    composite_anomalies: how many of them are on one in the mean.
    """

    half: bool
    defaults: Defaults
    final: str = "zero"
    photographs: bool = False
    composites: int = 0
    composite_anomalies: float = COMPOSITE_ANOMALIES


def require_free(out: Path) -> None:
    """Refuse a place that is taken, and tidy what a killed export left beside it.

    Raises:
        OutputError: `out` exists.
    """
    settle(out)
    if out.exists():
        raise OutputError(f"{out}: exists already; remove it or choose another --out")


def made_before(run: Run, out: Path, settings: ExportSettings) -> Manifest | None:
    """The bundle in `out` where an export of this run with these settings made it, so that its engines can be built.

    Raises:
        DataError: as `export`.
    """
    if not out.is_dir():
        return None
    try:
        found = read_bundle(out).manifest
    except BundleError:
        return None
    told = Facts.model_validate(found.model_dump(include=set(Facts.model_fields)))
    return found if told == _facts(run, settings) and (found.half is not None) == settings.half else None


def export(run: Run, out: Path, settings: ExportSettings, progress: Callable[[str], None]) -> Manifest:
    """Export a run.

    Args:
        run: tuned and with a mask branch; with `settings.half` its weights are rounded in place.
        out: the bundle's folder, conventionally NAME.plan; must not exist.
        settings: see `ExportSettings`.
        progress: called with the name of each stage.

    Raises:
        DataError: the run has no mask branch, no pictures though they are asked for, weights that are not finite, or names and
            numbers that a bundle cannot have.
        BundleError: parity failed in fp32; a graph that is not faithful in fp16 computes in fp32 alone.
        OutputError: `out` exists or cannot be written. In every case no bundle is left behind.
    """
    require_free(out)
    facts = _facts(run, settings)
    modules = [run.model.unet, run.model.vae, run.model.text_encoder, run_folder.require_masks(run)]
    to_onnx.require_finite(modules)
    if settings.composites:
        run_folder.require_pictures(run)  # now, not after the graphs
    if settings.half:
        to_onnx.round_to_half([m for m in modules if m is not run.model.text_encoder])
    try:
        with replaced(out) as fresh:
            require_free(out)  # another export may just have ended
            manifest = _fill(run, facts, fresh, settings, progress)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot write {out}: {reason}; free space or choose another --out") from error
    return manifest


def _fill(run: Run, facts: Facts, folder: Path, settings: ExportSettings, progress: Callable[[str], None]) -> Manifest:
    found = wrappers(run)
    progress("reference")
    quick = list(cases.quick(run, found))
    if settings.half:
        for row in fp16_probe.unfaithful(found, quick, settings.defaults.threshold):
            progress(f"{row.graph} will hardly compute well in half precision ({row}), and then does so in fp32")
    with to_onnx.WeightStore(folder) as store:
        for name in TRACED:
            progress(name)
            to_onnx.export(found[name], folder, store, settings.half)
    for name in found:
        if name not in TRACED:
            composed.write(name, folder)
    conditioning.write(run, folder, settings.half, settings.composites, facts.patches or (), settings.composite_anomalies)
    for picture in facts.photographs or ():
        (folder / picture).parent.mkdir(exist_ok=True)
        shutil.copyfile(run.folder / picture, folder / picture)
    files: parity.Files = {name: {"fp32": f"{name}.onnx"} for name in found}
    precision = None
    if settings.half:
        precision = _write_half(folder, files, quick, progress)
    progress("parity")
    rows = _faithful(list(parity.compare(quick, folder, files, settings.defaults.threshold)), folder, files, progress)
    parity.require(rows)
    progress("seal")
    graphs = {"graphs": _graphs(found, files), "half": precision, "parity": parity.summary(rows)}
    return write_manifest(folder, {**facts.model_dump(), **graphs})


def _write_half(folder: Path, files: parity.Files, quick: list[Case], progress: Callable[[str], None]) -> HalfPrecision:
    """Write every graph's fp16 form, fp32 kept where the magnitudes met ask for it; adds to `files`.

    The other graphs are made of the three of `TRACED`, so these alone are measured.
    """
    progress("ranges")
    magnitudes: dict[GraphName, dict[str, float]] = {}
    for name in TRACED:
        feeds = [case.inputs[name] for case in quick if case.name != "random"]
        magnitudes[name] = fp16_ranges.largest(folder / files[name]["fp32"], feeds)
    places = {place for found in magnitudes.values() for place in fp16_ranges.overflowing(found)}
    progress("fp16")
    kept: set[str] = set()
    for name, by_precision in files.items():
        by_precision["fp16"] = f"{name}.fp16.onnx"
        kept |= half.convert(folder / by_precision["fp32"], folder / by_precision["fp16"], places)
    return HalfPrecision(
        headroom=fp16_ranges.HEADROOM,
        fp32_modules=tuple(sorted(kept)),
        largest={
            name: max(value for place, value in found.items() if place in places or place not in kept)
            for name, found in magnitudes.items()
        },
    )


def _faithful(rows: list[Row], folder: Path, files: parity.Files, progress: Callable[[str], None]) -> list[Row]:
    """Take the fp16 form away from graphs that are not faithful in it: they compute in fp32, which all have; the other rows."""
    for row in rows:
        if row.precision == "fp16" and not row.passed and "fp16" in files[row.graph]:
            (folder / files[row.graph].pop("fp16")).unlink()
            progress(f"{row.graph} computes in fp32: {row}")
    return [row for row in rows if row.precision in files[row.graph]]


def _graphs(found: dict[GraphName, Wrapper], files: parity.Files) -> dict[GraphName, Graph]:
    graphs: dict[GraphName, Graph] = {}
    for name, wrapper in found.items():
        inputs, outputs = wrapper.specs()
        graphs[name] = Graph(files=files[name], inputs=inputs, outputs=outputs)
    return graphs


def defaults_of(run: Run, asked: Mapping[str, Any]) -> Defaults:
    """What a bundle samples with where nobody says it: what was asked for, else as a student was made for, else the paper's.

    Args:
        run: to be exported.
        asked: fields of `Defaults`, None where nothing was.

    Raises:
        SettingsError: a student was not made for it, or more mask steps than steps.
    """
    usual = reference.usual(run)
    known = {
        "steps": usual.steps,
        "guidance": usual.guidance,
        "threshold": PAPER.threshold,
        "mask_steps": usual.mask_steps if run.look is None else 1,
    }
    found = {**known, **{name: value for name, value in asked.items() if value is not None}}
    steps, mask_steps = found["steps"], found["mask_steps"]
    if mask_steps > steps:
        raise SettingsError(f"--mask-steps {mask_steps} is more than --steps {steps}; choose at most as many")
    reference.fits(run, SampleSettings(steps, found["guidance"], interval=found.get("guidance_interval", WHOLE)))
    return Defaults.model_validate(found)


def _facts(run: Run, settings: ExportSettings) -> Facts:
    """What the manifest says of the run, checked before hours of work hang on it.

    Raises:
        DataError: a name or number that a bundle cannot have.
    """
    facts, student = run.facts, run.facts.student
    known = {name: calibration.model_dump() for name, calibration in facts.calibration.items()}
    photographs = (
        [f"{file.parent.name}/{file.name}" for file in run_folder.require_photographs(run)] if settings.photographs else None
    )
    fields: dict[str, Any] = {
        "product": facts.product,
        "defects": [{"name": name, "prompt": text, **known.get(name, {})} for name, text in facts.prompts.anomaly.items()],
        "normal_prompt": facts.prompts.normal,
        "geometry": _geometry(run),
        "schedule": _schedule(run, settings),
        "photographs": photographs,
        "composites": settings.composites or None,
        "composite_anomalies": settings.composite_anomalies if settings.composites else None,
        "patches": _patches(facts.defects, settings),
        "fitting": {"fit": facts.fit, "photograph": facts.photograph} if facts.photograph else None,
        "places": [place.model_dump() for place in facts.places] or None,
        "mask_source": None if run.look is None else "final",
        "mask_timestep": run.look,
        "student": student,
        "start": {"signal": facts.tune.signal, "noise": facts.tune.noise},
        "defaults": settings.defaults if run.look is None else settings.defaults.model_copy(update={"mask_steps": 1}),
        "provenance": _provenance(run, settings),
    }
    try:
        return Facts.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "manifest"
        raise DataError(
            f"the run cannot become a bundle: {place}: {first['msg']}; change that in the data set and tune again"
        ) from error


def _geometry(run: Run) -> dict[str, int]:
    model, prompt = run.model, run.embed([""])
    return {
        "image_size": model.image_size,
        "latent_channels": model.unet.config.in_channels,
        "latent_size": model.unet.config.sample_size,
        "prompt_length": prompt.shape[1],
        "prompt_width": prompt.shape[2],
    }


def _schedule(run: Run, settings: ExportSettings) -> dict[str, Any]:
    scheduler, student = run.model.scheduler, run.facts.student
    noise = scheduler.config
    return {
        "beta_start": noise.beta_start,
        "beta_end": noise.beta_end,
        "beta_schedule": noise.beta_schedule,
        "train_steps": noise.num_train_timesteps,
        "spacing": prediction.spacing(scheduler),
        "final": settings.final,
        "solver": "consistency" if student is not None and student.method == "consistency" else None,
        "prediction": "v_prediction" if noise.prediction_type == "v_prediction" else None,
        "zero_snr": prediction.zero_snr(scheduler) or None,
    }


def _provenance(run: Run, settings: ExportSettings) -> dict[str, Any]:
    facts = run.facts
    return {
        **facts.provenance,
        "weights": "float16" if settings.half else "float32",
        "tune": facts.tune.model_dump(mode="json"),
        "masks": facts.masks.model_dump(mode="json") if facts.masks else None,
        **({"distill": facts.distill.model_dump(mode="json")} if facts.distill else {}),
        **({"decoder": run.decoder.model_dump(mode="json")} if run.decoder else {}),
        "anomalies": len(facts.train),
        "normals": len(facts.normals),
        "versions": {"seas": own_version(), **{name: version(name) for name in PACKAGES}},
    }


def _patches(defects: Sequence[str], settings: ExportSettings) -> tuple[str, ...] | None:
    """Files of what composites change of photographs, where both come along."""
    if not (settings.photographs and settings.composites):
        return None
    return tuple(f"composites/{kind:02}-{number:03}.png" for kind in range(len(defects)) for number in range(settings.composites))
