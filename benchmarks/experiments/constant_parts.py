"""What a U-Net step would save if parts of it were computed once: the guidance prefix, keys and values, time embeddings.

    python -m benchmarks.experiments.constant_parts engines/bottle.plan

The parts are cut out of the graph by what they depend on, and timed alone: an upper bound on what an export without them
could gain. `prefix`: what does not depend on the prompt, so that both halves of the guidance share it; it costs its time on
2n rows less that on n. `prompt`: what depends on the prompt alone, the same at every step. `time`: what depends on the timestep
alone. Saves results/constant_parts.json.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import onnx
import onnxruntime
from onnx.utils import Extractor

from benchmarks.experiments import turns
from seas_runtime.bundle.reader import Bundle, read_bundle

Sources = dict[str, frozenset[str]]
PARTS: dict[str, tuple[str, ...]] = {"prefix": ("sample", "timestep"), "prompt": ("prompt",), "time": ("timestep",)}


def sources(model: onnx.ModelProto) -> Sources:
    """The graph inputs that each tensor depends on."""
    found = {value.name: frozenset([value.name]) for value in model.graph.input}
    for node in model.graph.node:
        union = frozenset().union(*(found.get(name, frozenset()) for name in node.input))
        found.update(dict.fromkeys(node.output, union))
    return found


def frontier(model: onnx.ModelProto, allowed: tuple[str, ...]) -> list[str]:
    """Floating tensors that depend on some of `allowed` and nothing else, and that other nodes read."""
    known = onnx.shape_inference.infer_shapes(model).graph.value_info
    floats = {value.name for value in known if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    reached = sources(model)
    inside = {name for name, roots in reached.items() if roots and roots <= set(allowed)} & floats
    crossing = (
        name
        for node in model.graph.node
        if not all(reached[output] <= set(allowed) for output in node.output)
        for name in node.input
        if name in inside
    )
    return list(dict.fromkeys(crossing))


def session(model: onnx.ModelProto, outputs: list[str], folder: Path) -> onnxruntime.InferenceSession:
    """The subgraph that makes `outputs`, in ONNX Runtime with one thread."""
    needed = set().union(*(sources(model)[name] for name in outputs))
    part = Extractor(model).extract_model(sorted(needed), outputs)
    onnx.save(part, folder / "part.onnx")
    return turns.one_thread(folder / "part.onnx")


def measure(bundle: Bundle, pairs: int, rounds: int) -> dict[str, Any]:
    """Seconds of the whole step and of its parts, on 2n rows and on n."""
    model = onnx.load(bundle.graph_path("unet"))
    model = onnx.shape_inference.infer_shapes(model)
    whole = [value.name for value in model.graph.output]
    feeds = turns.random_feeds(bundle, "unet", pairs)
    half = {name: value[:pairs] for name, value in feeds.items()}
    calls = {}
    with TemporaryDirectory() as folder:
        for name, outputs in {"step": whole, **{part: frontier(model, roots) for part, roots in PARTS.items()}}.items():
            engine = session(model, outputs, Path(folder))
            inputs = [value.name for value in engine.get_inputs()]
            click.echo(f"{name}: {len(outputs)} tensors, of {', '.join(inputs)}")
            for rows, given in (("2n", feeds), ("n", half)):
                fed = {key: np.ascontiguousarray(given[key]) for key in inputs}
                calls[f"{name} {rows}"] = lambda engine=engine, outputs=outputs, fed=fed: engine.run(outputs, fed)
        table = turns.take_turns(calls, rounds)
    saved = {
        "guidance prefix shared": table["prefix 2n"]["share"] - table["prefix n"]["share"],
        "prompt keys and values once": table["prompt 2n"]["share"],
        "time embeddings once": table["time 2n"]["share"],
    }
    return {"seconds": table, "largest_saving_of_a_step": saved}


@click.command(help=__doc__)
@turns.BUNDLE
@turns.PAIRS
@turns.ROUNDS
def main(*, bundle: Path, pairs: int, rounds: int) -> None:
    """Measure and save."""
    found = measure(read_bundle(bundle), pairs, rounds)
    turns.show(found["seconds"])
    click.echo(found["largest_saving_of_a_step"])
    command = f"python -m benchmarks.experiments.constant_parts {bundle.name} --pairs {pairs} --rounds {rounds}"
    turns.save("constant_parts", command, {"pairs": pairs, "rounds": rounds, "threads": 1, **found})


if __name__ == "__main__":
    main()
