"""PyTorch modules -> ONNX graphs over one stored copy of the weights."""

from __future__ import annotations

import ast
import hashlib
import logging
import warnings
from collections import Counter
from pathlib import Path
from types import TracebackType

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import nn

from seas_export.graphs import Wrapper
from seas_runtime.bundle.graphs import GRAPH_OUTPUTS
from seas_runtime.bundle.manifest import WEIGHTS
from seas_runtime.errors import DataError

OPSET = 20
INLINE_BYTES = 1024  # smaller tensors stay inside the graph file
ALIGNMENT = 64
LARGEST_TRACED = 63  # diffusers' upsampling turns to another path at 64; a wider range is traced twice. No graph holds the limit
SCOPES = "pkg.torch.onnx.name_scopes"  # where the exporter writes the modules that lead to a node


class WeightStore:
    """The bundle's `weights.bin`: tensors by content, each stored once whichever graphs use it."""

    def __init__(self, folder: Path) -> None:
        self._stream = (folder / WEIGHTS).open("wb")
        self._known: dict[bytes, tuple[int, int]] = {}

    def __enter__(self) -> WeightStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stream.close()

    def add(self, array: NDArray[np.generic]) -> ir.ExternalTensor:
        """Store an array, or find it; returns the reference that a graph keeps."""
        data = np.ascontiguousarray(array).tobytes()
        key = hashlib.sha256(data).digest()
        if key not in self._known:
            self._stream.write(b"\0" * (-self._stream.tell() % ALIGNMENT))
            self._known[key] = (self._stream.tell(), len(data))
            self._stream.write(data)
        offset, length = self._known[key]
        return ir.ExternalTensor(WEIGHTS, offset, length, ir.DataType.from_numpy(array.dtype), shape=ir.Shape(array.shape), name="")


def round_to_half(modules: list[nn.Module]) -> None:
    """Round weights to half precision in place; they stay fp32 tensors, so every later copy is exact.

    Raises:
        DataError: a weight that is not finite, or too large for half precision.
    """
    for module in modules:
        for name, weight in module.named_parameters():
            rounded = weight.detach().half().float()
            if not torch.isfinite(rounded).all():
                raise DataError(
                    f"weight {name}: found {float(weight.detach().abs().max())}, which half precision cannot hold; "
                    "export with --fp32 or train again"
                )
            weight.data.copy_(rounded)


def require_finite(modules: list[nn.Module]) -> None:
    """Refuse weights that are not numbers.

    Raises:
        DataError: names the weight.
    """
    for module in modules:
        for name, weight in module.named_parameters():
            if not torch.isfinite(weight).all():
                raise DataError(f"weight {name} holds NaN or infinity; the training diverged, train again")


def export(wrapper: Wrapper, folder: Path, store: WeightStore, half: bool) -> str:
    """Trace one graph, fp32 arithmetic, batch "n" free, and write it below `folder`.

    Args:
        wrapper: the graph.
        folder: the bundle being written.
        store: its weights.
        half: weights that half precision holds exactly are stored so and cast at load.

    Returns:
        The file's name.
    """
    model = _trace(wrapper)
    _name_nodes(model)
    _externalise(model, store, half)
    _strip_trace(model)
    file = f"{wrapper.name}.onnx"
    ir.save(model, folder / file)
    return file


def _trace(wrapper: Wrapper) -> ir.Model:
    batch = torch.export.Dim("n", min=1, max=LARGEST_TRACED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch and onnxscript speak of their own internals
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            wrapper.module,
            tuple(wrapper.example.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(wrapper.example),
            output_names=list(GRAPH_OUTPUTS[wrapper.name]),
            dynamic_shapes=tuple({0: batch} for _ in wrapper.example),
            verbose=False,
        )
    if program is None:
        raise RuntimeError(f"torch.onnx.export gave no program for {wrapper.name}")
    return program.model


def _name_nodes(model: ir.Model) -> None:
    """Name every node after the module it comes from: "unet.mid_block.attentions.0.proj_in/Conv"."""
    seen: Counter[str] = Counter()
    for node in model.graph:
        scopes = ast.literal_eval(node.metadata_props.get(SCOPES, "['', '']"))
        name = f"{scopes[-2] if len(scopes) > 1 else ''}/{node.op_type}"
        seen[name] += 1
        node.name = name if seen[name] == 1 else f"{name}_{seen[name]}"


def _externalise(model: ir.Model, store: WeightStore, half: bool) -> None:
    graph = model.graph
    first = graph[0]
    for name, value in list(graph.initializers.items()):
        if value.const_value is None or value.const_value.nbytes < INLINE_BYTES:
            continue
        array = value.const_value.numpy()
        stored = _smallest(array) if half else array
        reference = store.add(stored)
        if stored.dtype == array.dtype:
            value.const_value = reference
            continue
        packed = ir.Value(name=f"{name}.half", type=ir.TensorType(reference.dtype), shape=reference.shape, const_value=reference)
        cast = ir.node("Cast", [packed], attributes={"to": ir.DataType.FLOAT.value}, name=f"{name}.cast")
        cast.outputs[0].shape, cast.outputs[0].type = value.shape, value.type
        graph.insert_before(first, cast)
        value.replace_all_uses_with(cast.outputs[0])
        graph.initializers.pop(name)
        cast.outputs[0].name = name
        graph.register_initializer(packed)


def _strip_trace(model: ir.Model) -> None:
    """Drop the exporter's stack traces: they are most of a graph file, and name the folders of the machine."""
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for output in node.outputs:
            output.metadata_props.clear()
    for value in [*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()]:
        value.metadata_props.clear()
    model.metadata_props.clear()
    model.graph.metadata_props.clear()


def _smallest(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """The array in half precision if nothing is lost, else as it is."""
    if array.dtype != np.float32:
        return array
    with np.errstate(over="ignore"):
        rounded = array.astype(np.float16)
    return rounded if np.array_equal(rounded.astype(np.float32), array) else array
