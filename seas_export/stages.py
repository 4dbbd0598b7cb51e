"""The stages of an export and of a comparison, as a person is told of them."""

from __future__ import annotations

from seas_runtime.bundle.graphs import GRAPH_OUTPUTS

_WORDS = {
    "run": "reading the run",
    "normal images": "encoding normal images",
    "mask norms": "measuring the mask branch's norms",
    "bundle": "reading the bundle",
    "reference": "computing with PyTorch, to compare with",
    "ranges": "measuring how large numbers become, for half precision",
    "fp16": "writing graphs in half precision",
    "parity": "comparing graphs with PyTorch",
    "seal": "sealing the bundle",
}


def told(stage: str) -> str:
    """What a stage does, in words; a line that is none is left as it is."""
    return _WORDS.get(stage, f"exporting {stage}" if stage in GRAPH_OUTPUTS else stage)
