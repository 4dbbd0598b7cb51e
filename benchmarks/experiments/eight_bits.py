"""Arithmetic in 8 bits on a CPU: what it saves of each graph, and what it costs the pairs.

    python -m benchmarks.experiments.eight_bits engines/bottle.plan --preset demo

ONNX Runtime quantises every graph (static, convolutions and products, each channel's weights by themselves; 7 bits of weights
where the processor has no VNNI, whose sums would overflow), with ranges of what the graph meets in pairs of the bundle. Then
graphs take turns on ONNX Runtime and OpenVINO, one thread, and pairs are made with some graphs in 8 bits, the others in fp32.
Saves the preset's part of results/eight_bits.json.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from benchmarks.experiments import turns
from benchmarks.quality.metrics.segmentation import overlaps
from seas_runtime import Generator, Pair
from seas_runtime.backends import Backend
from seas_runtime.backends.ort import OrtBackend
from seas_runtime.backends.workers import CoreSplit
from seas_runtime.bundle.graphs import GRAPH_OUTPUTS, GraphName
from seas_runtime.bundle.onnx_inline import write_inline
from seas_runtime.bundle.reader import Bundle, read_bundle

ONE = CoreSplit(workers=1, threads=1)
OPERATORS = ["Conv", "MatMul", "Gemm"]
RANGED, EVERY = 8, 5
"""Pairs whose calls give the ranges, and which of the calls are taken."""
Feeds = dict[str, NDArray[Any]]


class Heard:
    """A backend that keeps what every few calls of each graph were given."""

    def __init__(self, backend: Backend) -> None:
        self.name, self.workers, self.describe, self._backend = backend.name, backend.workers, backend.describe, backend
        self.calls: dict[GraphName, int] = defaultdict(int)
        self.feeds: dict[GraphName, list[Feeds]] = defaultdict(list)

    def run(self, graph: GraphName, feeds: Mapping[str, NDArray[Any]], outputs: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
        """Run one graph; feeds and results (rows, ...) as the manifest says."""
        if self.calls[graph] % EVERY == 0 or graph != "unet":
            self.feeds[graph].append({name: np.array(value) for name, value in feeds.items()})
        self.calls[graph] += 1
        return self._backend.run(graph, feeds, outputs)


class Mixed:
    """A backend with other sessions for some graphs."""

    def __init__(self, backend: Backend, sessions: Mapping[GraphName, onnxruntime.InferenceSession]) -> None:
        self.name, self.workers, self.describe, self._backend = backend.name, backend.workers, backend.describe, backend
        self.sessions = sessions

    def run(self, graph: GraphName, feeds: Mapping[str, NDArray[Any]], outputs: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
        """Run one graph; feeds and results (rows, ...) as the manifest says."""
        if graph not in self.sessions:
            return self._backend.run(graph, feeds, outputs)
        return dict(zip(outputs, self.sessions[graph].run(list(outputs), dict(feeds)), strict=True))


class Reader(CalibrationDataReader):  # type: ignore[misc]  # untyped
    """Feeds one after another, as the quantiser asks for them."""

    def __init__(self, feeds: Sequence[Feeds]) -> None:
        self.rest: Iterator[Feeds] = iter(feeds)

    def get_next(self) -> Feeds | None:
        """The next, None after the last."""
        return next(self.rest, None)


def has_vnni() -> bool:
    """Whether the processor adds products of bytes without overflow, as Linux tells it."""
    path = Path("/proc/cpuinfo")
    return path.exists() and "vnni" in path.read_text(encoding="utf-8")


def quantise(bundle: Bundle, graph: GraphName, feeds: Sequence[Feeds], folder: Path) -> tuple[Path, Path]:
    """Files of a graph in fp32 and in 8 bits."""
    single, ready, small = (folder / f"{graph}.{word}.onnx" for word in ("fp32", "ready", "int8"))
    write_inline(bundle.graph_path(graph, "fp32"), single)
    quant_pre_process(str(single), str(ready), skip_symbolic_shape=True)
    quantize_static(
        str(ready),
        str(small),
        Reader(feeds),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=OPERATORS,
        per_channel=True,
        reduce_range=not has_vnni(),
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return single, small


def session(path: Path) -> onnxruntime.InferenceSession:
    """A graph on one thread of ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def times(graph: GraphName, files: tuple[Path, Path], feeds: Feeds, rounds: int) -> dict[str, dict[str, float]]:
    """Seconds of a graph in fp32 and in 8 bits on both engines."""
    import openvino

    core, calls = openvino.Core(), {}
    for precision, path in zip(("fp32", "int8"), files, strict=True):
        opened = session(path)
        compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"})
        calls[f"cpu {precision}"] = lambda opened=opened: opened.run(list(GRAPH_OUTPUTS[graph]), feeds)
        calls[f"openvino {precision}"] = lambda compiled=compiled: compiled(feeds)
    return turns.take_turns(calls, rounds)


def compared(made: Sequence[Pair], expected: Sequence[Pair]) -> dict[str, float]:
    """PSNR of images, dB, and IoU of masks: median and worst of the pairs."""
    wrong = [np.square(a.image.astype(float) - b.image).mean() for a, b in zip(made, expected, strict=True)]
    psnr = 10 * np.log10(255**2 / np.maximum(wrong, 1e-9))
    found, true = (np.stack([pair.mask > 0 for pair in pairs]) for pairs in (made, expected))
    iou = overlaps(found, true)
    known = {"psnr": (np.median(psnr), psnr.min()), "iou": (np.median(iou), iou.min())}
    return {f"{word}{name}": float(value) for name, both in known.items() for word, value in zip(("", "worst_"), both, strict=True)}


@click.command(help=__doc__)
@turns.BUNDLE
@click.option("--preset", required=True, help="What the sizes are called in the file.")
@click.option("--count", type=click.IntRange(1), default=24, show_default=True, help="Pairs that are compared.")
@turns.PAIRS
@turns.ROUNDS
def main(*, bundle: Path, preset: str, count: int, pairs: int, rounds: int) -> None:
    """Measure and save."""
    read = read_bundle(bundle)
    plain = OrtBackend(read, "cpu", ONE)
    heard = Heard(plain)
    options: dict[str, Any] = {"batch": pairs, "max_area": 1.0, "min_agreement": 0.0, "retries": 0}
    list(Generator(read, heard).pairs(count=RANGED, seed=1, **options))
    expected = list(Generator(read, plain).pairs(count=count, **options))
    content: dict[str, Any] = {"vnni": has_vnni(), "pairs": count, "graphs": {}, "made": {}}
    with TemporaryDirectory() as folder:
        small: dict[GraphName, onnxruntime.InferenceSession] = {}
        for graph, feeds in heard.feeds.items():
            files = quantise(read, graph, feeds, Path(folder))
            small[graph] = session(files[1])
            content["graphs"][graph] = times(graph, files, feeds[-1], rounds)
            click.echo(graph)
            turns.show(content["graphs"][graph])
        for chosen in ([graph] for graph in small), [list(small)]:
            for graphs in chosen:
                generator = Generator(read, Mixed(plain, {graph: small[graph] for graph in graphs}))
                content["made"][", ".join(graphs)] = compared(list(generator.pairs(count=count, **options)), expected)
        turns.show(content["made"])
    turns.save("eight_bits", f"python -m benchmarks.experiments.eight_bits {bundle.name} --preset {preset}", content, preset)


if __name__ == "__main__":
    main()
