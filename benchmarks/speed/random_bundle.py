"""A run of random weights and a bundle of it: the graphs, sizes and speed of real ones, without training.

The bundle is not compared with PyTorch and has fp32 graphs alone, over weights stored in fp16: made for timing, in a tenth of
the time of an export.
"""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from benchmarks.export_sd14 import make_run
from seas_runtime.bundle.graphs import GraphName
from seas_runtime.sampling.defaults import PAPER


def prepare(work: Path, preset: str, backends: Iterable[str]) -> None:
    """Make what is missing below `work`: `run`, PRESET.plan, and what the backends keep in the user's cache."""
    work.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, maxtasksperchild=1) as pool:  # a process for each, whose memory goes with it
        if not (work / "run" / "rmp").exists():
            pool.apply(make_run, (work, preset))
        if not (work / f"{preset}.plan").exists():
            pool.apply(make_bundle, (work, preset))
        for backend in backends:
            pool.apply(open_once, (work / f"{preset}.plan", backend))


def make_bundle(work: Path, preset: str) -> None:
    """Export the graphs that the sampler runs."""
    from seas_export import bundle, conditioning, graphs, to_onnx
    from seas_export.parity import Files
    from seas_runtime.bundle.graphs import REQUIRED_GRAPHS
    from seas_runtime.bundle.manifest import Defaults
    from seas_runtime.bundle.reader import write_manifest
    from seas_train import run_folder

    run = run_folder.load(work / "run")
    to_onnx.round_to_half([run.model.unet, run.model.vae, run_folder.require_masks(run)])
    defaults = Defaults(**asdict(PAPER))
    found = {name: wrapper for name, wrapper in graphs.wrappers(run).items() if name in REQUIRED_GRAPHS}
    partial = work / f"{preset}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    with to_onnx.WeightStore(partial) as store:
        files: Files = {name: {"fp32": to_onnx.export(wrapper, partial, store, half=True)} for name, wrapper in found.items()}
    conditioning.write(run, partial, half=True)
    facts = bundle._facts(run, bundle.ExportSettings(half=True, defaults=defaults))
    write_manifest(partial, {**facts.model_dump(), "graphs": bundle._graphs(found, files), "half": None, "parity": {}})
    partial.rename(work / f"{preset}.plan")


def open_once(plan: Path, backend: str) -> None:
    """Open a bundle, so that what has to be converted is."""
    from seas_runtime.backends import open_backend
    from seas_runtime.bundle.reader import read_bundle

    open_backend(backend, read_bundle(plan))


def gigaflops(work: Path) -> dict[str, float]:
    """GFLOP per pair of a guided U-Net step, a mask and an image: two for each multiply-add of convolutions and products."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from seas_export import graphs
    from seas_train import run_folder

    found, wrappers = {}, graphs.wrappers(run_folder.load(work / "run"))
    requests: tuple[tuple[str, GraphName, int], ...] = (("unet", "unet", 1), ("mask", "mask_branch", 2), ("decode", "decoder", 2))
    for request, name, pairs in requests:
        wrapper = wrappers[name]  # with examples of two rows
        with FakeTensorMode(allow_non_fake_inputs=True) as fake, torch.no_grad():
            inputs = [fake.from_tensor(value) for value in wrapper.example.values()]
            with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # the CPU's fused one is not counted
                wrapper.module(*inputs)
        found[request] = counter.get_total_flops() / pairs / 1e9
    return found
