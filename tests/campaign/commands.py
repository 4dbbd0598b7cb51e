"""What the server's forks run: the commands themselves, at their smallest sizes."""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click


def warm(kind: str) -> None:
    """Load what the commands of `kind` need, so that no fork has to."""
    import PIL.Image

    PIL.Image.init()
    import onnxruntime  # noqa: F401
    from onnxruntime.capi import onnxruntime_pybind11_state  # noqa: F401

    import seas_runtime.api
    import seas_runtime.backends.ort
    import seas_runtime.cli
    import seas_runtime.dataset.cli
    import seas_runtime.dataset.export
    import seas_runtime.dataset.sheet
    import seas_runtime.dataset.writer
    import seas_runtime.generate  # noqa: F401

    if kind == "train":
        _warm_training()


def _warm_training() -> None:
    import torch

    torch.set_num_threads(1)
    import seas_train.base.train
    import seas_train.cli
    import seas_train.data.check
    import seas_train.masks
    import seas_train.samples
    import seas_train.tune  # noqa: F401
    from seas_train.models import components
    from tests.smallest import GEOMETRY

    components.GEOMETRIES["tiny"] = GEOMETRY
    _remember_traces()


def _remember_traces() -> None:
    """Trace each graph once: PyTorch's exporter takes most of an export's time, and writes nothing."""
    from seas_export import to_onnx

    traced, trace = {}, to_onnx._trace

    @functools.wraps(trace)
    def remembered(wrapper: Any) -> Any:
        if wrapper.name not in traced:
            traced[wrapper.name] = trace(wrapper)
        return traced[wrapper.name]  # a fork changes its own copy

    to_onnx._trace = remembered


def load(names: Sequence[str]) -> None:
    """Load modules that a fork had to load, so that the next ones need not."""
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def trace(run: Path) -> None:
    """Trace the graphs of a run, for all exports of it to come, which are in half precision."""
    from seas_export import to_onnx
    from seas_export.composed import TRACED
    from seas_export.graphs import wrappers
    from seas_train import run_folder

    loaded = run_folder.load(run)
    to_onnx.round_to_half([loaded.model.unet, loaded.model.vae, run_folder.require_masks(loaded)])
    found = wrappers(loaded)
    for name in TRACED:
        to_onnx._trace(found[name])


def call(name: str, words: Sequence[str]) -> int:
    """Run a command as the shell would; its exit code."""
    command = _command(name)
    try:
        command(args=list(words), prog_name=name)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    return 0


def _command(name: str) -> Any:
    if name == "build":
        return _build
    if name == "load":
        return _load
    if name == "image":
        return _image
    if name == "seas-train":
        from seas_train.cli import main

        return main
    if name == "seas-export":
        from seas_export.cli import main as export

        return export
    if name == "seas-data":
        from seas_runtime.dataset.cli import data

        return data
    from seas_runtime.cli import generate
    from seas_runtime.engine_cli import engine

    return {"seas-gen": generate, "seas-engine": engine}[name]


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
def _build(bundle: Path) -> None:
    """`seas-engine build`, with files in place of what TensorRT would compile: minutes of no interest here."""
    from seas_runtime.backends.tensorrt import build, compiler

    compiled = bytes(range(256)) * 64
    build.find_unsupported = lambda _library, _source: []
    build.compile_graph = lambda *_arguments, **_named: memoryview(compiled)
    assert compiler is not None
    build.build(bundle, "rtx", ["sm89"], replace=True)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
def _load(run: Path) -> None:
    """Read a run folder as `seas-export` does."""
    from seas_train import run_folder

    run_folder.require_graphs(run_folder.load(run))


@click.command()
@click.argument("files", type=click.Path(path_type=Path), nargs=-1)
def _image(files: tuple[Path, ...]) -> None:
    """Read pictures and masks as training does; each that is refused is one line."""
    from seas_runtime.errors import SeasError
    from seas_train.data.images import read_mask, read_rgb

    for file in files:
        for read in (read_rgb, read_mask):
            try:
                read(file)
            except SeasError as error:
                if "\n" in error.format_message():
                    raise RuntimeError("more than one line") from error
