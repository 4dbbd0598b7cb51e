"""ONNX Runtime on the CPU, for what export measures."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import onnxruntime as ort

WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"


def open_graph(graph: Path | ir.Model, folder: Path) -> ort.InferenceSession:
    """Open an ONNX file, or a graph in memory whose external weights lie in `folder`."""
    options = ort.SessionOptions()
    if isinstance(graph, Path):
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    options.add_session_config_entry(WEIGHTS_FOLDER, str(folder))
    data = ir.to_proto(graph).SerializeToString()
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
