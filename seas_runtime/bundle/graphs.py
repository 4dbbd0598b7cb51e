"""The graphs of a bundle: their names, their tensors, and which of them a sampler runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from seas_runtime.bundle.schema import CorePath, Dimension, Model

GraphName = Literal["unet", "vae_decoder", "mask_head", "decoder", "mask_branch", "finish"]
MaskSource = Literal["steps", "final"]
Precision = Literal["fp32", "fp16"]

# The tensors of each graph, in order.
GRAPH_INPUTS: dict[GraphName, tuple[str, ...]] = {
    "unet": ("sample", "timestep", "prompt"),
    "vae_decoder": ("latent",),
    "mask_head": ("up2", "up3", "feature1", "feature2", "feature3"),
    "decoder": ("latent",),
    "mask_branch": ("latent", "up2", "up3"),
    "finish": ("latent", "up2", "up3"),
}
GRAPH_OUTPUTS: dict[GraphName, tuple[str, ...]] = {
    "unet": ("noise", "up2", "up3"),
    "vae_decoder": ("image", "feature1", "feature2", "feature3"),
    "mask_head": ("probability",),
    "decoder": ("image",),
    "mask_branch": ("probability",),
    "finish": ("image", "probability"),
}
# What the sampler runs: masks of the last steps' latents, or one of the finished picture, whose decoder alone makes normal images.
SAMPLED: dict[MaskSource, tuple[GraphName, ...]] = {
    "steps": ("unet", "decoder", "mask_branch"),
    "final": ("unet", "decoder", "finish"),
}
REQUIRED_GRAPHS = SAMPLED["steps"]


class TensorSpec(Model):
    """A graph's input or output; a text in the shape is a free dimension, "n" the batch."""

    name: str
    dtype: Literal["float32", "float16", "int64"]
    shape: tuple[Dimension, ...]


class Graph(Model):
    """One ONNX graph: its file in each precision, its tensors in order."""

    files: Annotated[dict[Precision, CorePath], Field(min_length=1)]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def check_tensors(graphs: Mapping[GraphName, Graph], known: Mapping[str, tuple[int | str, ...]]) -> None:
    """Compare every graph's tensors with shapes by name, and tensors of one other name with each other.

    Raises:
        ValueError: a tensor is missing, is called otherwise, or has another shape or dtype.
    """
    seen = dict(known)
    for name, graph in graphs.items():
        for specs, wanted in ((graph.inputs, GRAPH_INPUTS[name]), (graph.outputs, GRAPH_OUTPUTS[name])):
            if (found := tuple(spec.name for spec in specs)) != wanted:
                raise ValueError(f"graphs.{name}: tensors {found} found, {wanted} expected")
            for spec in specs:
                if spec.shape != seen.setdefault(spec.name, spec.shape):
                    raise ValueError(f"graphs.{name}.{spec.name}: shape {spec.shape}, but {seen[spec.name]} expected")
                if (spec.dtype == "int64") != (spec.name == "timestep"):
                    raise ValueError(f"graphs.{name}.{spec.name}: dtype {spec.dtype} does not fit")
