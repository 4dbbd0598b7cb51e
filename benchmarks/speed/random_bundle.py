"""A run of random weights and a bundle of it: the graphs, sizes and speed of real ones, without training.

The bundle is not compared with PyTorch and has fp32 graphs alone, over weights stored in fp16: made for timing, in a tenth of
the time of an export.
"""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.export_sd14 import make_run
from seas_runtime.bundle.graphs import GraphName

TEACHER: Mapping[str, tuple[GraphName, int]] = {"unet": ("unet", 2), "mask": ("mask_branch", 1), "decode": ("decoder", 1)}
STUDENT: Mapping[str, tuple[GraphName, int]] = {"call": ("unet", 1), "finish": ("finish", 1)}
"""Graph and rows of what is asked for a pair, of a bundle of guided steps or of a student that looks once."""


def prepare(work: Path, preset: str, backends: Iterable[str], student: bool = False, decoder: str = "own") -> None:
    """Make what is missing below `work`: `run`, PRESET.plan, and what the backends keep in the user's cache.

    Args:
        work: a folder of these alone.
        preset: sizes, see `make_run`.
        backends: of the runtime.
        student: as in `make_run`.
        decoder: as in `make_run`.
    """
    work.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, maxtasksperchild=1) as pool:  # a process for each, whose memory goes with it
        if not (work / "run" / "rmp").exists():
            pool.apply(make_run, (work, preset, student, decoder))
        if not (work / f"{preset}.plan").exists():
            pool.apply(make_bundle, (work, preset))
        for backend in backends:
            pool.apply(open_once, (work / f"{preset}.plan", backend))


def make_bundle(work: Path, preset: str) -> None:
    """Export the graphs that the sampler runs."""
    from seas_export import bundle, conditioning, graphs, to_onnx
    from seas_export.parity import Files
    from seas_runtime.bundle.graphs import SAMPLED
    from seas_runtime.bundle.reader import write_manifest
    from seas_train import run_folder

    run = run_folder.load(work / "run")
    to_onnx.round_to_half([run.model.unet, run.model.vae, run_folder.require_masks(run)])
    sampled = SAMPLED["steps" if run.look is None else "final"]
    found = {name: wrapper for name, wrapper in graphs.wrappers(run).items() if name in sampled}
    partial = work / f"{preset}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    with to_onnx.WeightStore(partial) as store:
        files: Files = {name: {"fp32": to_onnx.export(wrapper, partial, store, half=True)} for name, wrapper in found.items()}
    conditioning.write(run, partial, half=True)
    facts = bundle._facts(run, bundle.ExportSettings(half=True, defaults=bundle.defaults_of(run, {})))
    write_manifest(partial, {**facts.model_dump(), "graphs": bundle._graphs(found, files), "half": None, "parity": {}})
    partial.rename(work / f"{preset}.plan")


def open_once(plan: Path, backend: str) -> None:
    """Open a bundle, so that what has to be converted is."""
    from seas_runtime.backends import open_backend
    from seas_runtime.bundle.reader import read_bundle

    open_backend(backend, read_bundle(plan))


def gigaflops(work: Path) -> dict[str, float]:
    """GFLOP per pair of a guided U-Net step, a mask and an image: two for each multiply-add of convolutions and products.

    Of a student that looks once: of a U-Net call, and of the end of a pair, which makes image and mask.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from seas_export import graphs
    from seas_train import run_folder

    found, run = {}, run_folder.load(work / "run")
    wrappers = graphs.wrappers(run)
    requests = TEACHER if run.look is None else STUDENT
    for request, (name, rows) in requests.items():
        wrapper = wrappers[name]  # with examples of two rows
        with FakeTensorMode(allow_non_fake_inputs=True) as fake, torch.no_grad():
            inputs = [fake.from_tensor(value) for value in wrapper.example.values()]
            with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # the CPU's fused one is not counted
                wrapper.module(*inputs)
        found[request] = counter.get_total_flops() * rows / 2 / 1e9
    return found
