"""What an ONNX graph of a bundle may hold: what our export writes, so nothing that an engine could be led astray by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from seas_runtime.bundle.graphs import Graph, TensorSpec
from seas_runtime.bundle.manifest import FileEntry
from seas_runtime.bundle.onnx_wire import Value, external_tensors, graph_values, survey
from seas_runtime.bundle.schema import core_name
from seas_runtime.errors import BundleError

DOMAINS = frozenset({"", "ai.onnx"})
_WRITTEN = (  # found in the graphs of engines/bottle.plan
    "Add Cast Concat Conv Cos Div Gelu Gemm InstanceNormalization LayerNormalization MatMul Mul Relu Reshape Resize Shape Sigmoid "
    "Sin Slice Softmax Split Transpose Unsqueeze"
)
# Written for the same layers by other versions of PyTorch's exporter, or for other sizes. None of them makes a tensor whose size
# is a value of another one, as Expand, Pad, Tile, Range or ConstantOfShape do: those stay out. So does all control flow.
_ALIKE = (
    "AveragePool BatchNormalization Clip Constant Erf Exp Flatten Gather GroupNormalization Identity LeakyRelu Log Max Min Neg "
    "Pow Reciprocal ReduceMax ReduceMean ReduceSum Sqrt Squeeze Sub Sum Tanh Where Equal"
)
OPERATORS = frozenset(f"{_WRITTEN} {_ALIKE}".split())
_ALIGNMENT = 4096  # of tensors in a file of weights; more than this is not left over at its end


def verify_graph(folder: Path, file: str, data: bytes, graph: Graph, files: Mapping[str, FileEntry]) -> dict[str, int]:
    """Check one ONNX file against the manifest.

    Args:
        folder: the bundle, for the error.
        file: the file's name in it.
        data: its bytes.
        graph: what the manifest says of it.
        files: the core files.

    Returns:
        For each file that external data lie in, the byte where the last of them ends.

    Raises:
        BundleError: no ONNX file; external data that are no core file; an operator, a domain or a part that our export does
            not write; names, dtypes or shapes that are not the manifest's.
    """
    name = f"{folder}: {file}"
    try:
        seen = survey(data)
        tensors = external_tensors(data) if seen.kinds["entry"] else []
        inputs, outputs = graph_values(data)
    except ValueError as error:
        raise BundleError(f"{name} is not an ONNX file as seas-export writes it ({error}); export the bundle again") from error
    for location in sorted(seen.locations):
        if not _is_core(location, files) or "/" in file:
            raise BundleError(f"{name} points at {location!r}, no core file; do not use this bundle")
    strange = [f"operator {found!r}" for found in sorted(seen.operators - OPERATORS)]
    strange += [f"domain {found!r}" for found in sorted(seen.domains - DOMAINS)]
    strange += [f"a {kind}" for kind in ("function", "training", "sparse", "stray") if seen.kinds[kind]]
    if seen.kinds["graph"] != 1:
        strange.append(f"{seen.kinds['graph']} graphs")
    if strange:
        raise BundleError(f"{name} holds {', '.join(strange[:5])}, which seas-export does not write; do not use this bundle")
    _check_values(name, graph, inputs, outputs)
    ends: dict[str, int] = {}
    for tensor in tensors:
        end = tensor.offset + tensor.length
        if tensor.location not in seen.locations or end > files[tensor.location].bytes:
            raise BundleError(f"{name}: the weights of {tensor.name!r} end after their file; export the bundle again")
        ends[tensor.location] = max(ends.get(tensor.location, 0), end)
    return ends


def verify_ends(folder: Path, ends: Mapping[str, int], files: Mapping[str, FileEntry]) -> None:
    """Check that files of weights end where the graphs' weights do.

    Raises:
        BundleError: one is longer.
    """
    for name, end in ends.items():
        if files[name].bytes > end + _ALIGNMENT:
            raise BundleError(f"{folder}: {name} has {files[name].bytes} bytes, the graphs use {end}; export the bundle again")


def _is_core(location: str, files: Mapping[str, FileEntry]) -> bool:
    try:
        return core_name(location) in files
    except ValueError:
        return False


def _check_values(name: str, graph: Graph, inputs: tuple[Value, ...], outputs: tuple[Value, ...]) -> None:
    for specs, values in ((graph.inputs, inputs), (graph.outputs, outputs)):
        names = tuple(value.name for value in values)
        if names != tuple(spec.name for spec in specs):
            raise BundleError(f"{name} has tensors {names}, which the manifest does not say")
        for spec, value in zip(specs, values, strict=True):
            if not _agrees(spec, value):
                found, wanted = f"{value.dtype} {value.shape}", f"{spec.dtype} {spec.shape}"
                raise BundleError(f"{name}: {spec.name} is {found}, the manifest says {wanted}; export the bundle again")


def _agrees(spec: TensorSpec, value: Value) -> bool:
    """Numbers must be equal; where the file names a dimension it is free, so a symbol must stand."""
    if spec.dtype != value.dtype or len(spec.shape) != len(value.shape):
        return False
    return all(
        want == got if isinstance(got, int) else got is None or isinstance(want, str)
        for want, got in zip(spec.shape, value.shape, strict=True)
    )
