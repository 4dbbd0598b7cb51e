"""Graphs that are made of traced ones: a trace is nearly all of an export's time beside its checks, and needs none twice.

`decoder` is `vae_decoder` without its features; `mask_branch` and `finish` are `vae_decoder` and `mask_head` in a row, the former
without what only the image needs. Parity holds them against modules of their own (`seas_export.graphs`).
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import ModelProto
from onnx.compose import add_prefix, merge_graphs
from onnx.utils import Extractor

from seas_runtime.bundle.graphs import GRAPH_INPUTS, GRAPH_OUTPUTS, GraphName

TRACED: tuple[GraphName, ...] = ("unet", "vae_decoder", "mask_head")
"""Of these all others are made."""
_FEATURES = [(name, name) for name in GRAPH_OUTPUTS["vae_decoder"] if name in GRAPH_INPUTS["mask_head"]]


def write(name: GraphName, folder: Path) -> None:
    """Make the graph `name` of those of `TRACED` that lie in `folder`, in fp32 arithmetic and over the same weights."""
    model = _load("vae_decoder", folder)
    inputs, outputs = (list(table[name]) for table in (GRAPH_INPUTS, GRAPH_OUTPUTS))
    if "probability" in outputs:
        head = add_prefix(_load("mask_head", folder), "head.", rename_nodes=False, rename_inputs=False, rename_outputs=False)
        model.graph.CopyFrom(merge_graphs(model.graph, head.graph, _FEATURES, outputs=outputs, name=name))
    else:
        model = Extractor(model).extract_model(inputs, outputs)
    onnx.save(model, folder / f"{name}.onnx")


def _load(name: GraphName, folder: Path) -> ModelProto:
    return onnx.load(folder / f"{name}.onnx", load_external_data=False)
