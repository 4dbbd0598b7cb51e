"""Which graphs will hardly compute well in half precision: seconds in PyTorch, before minutes of tracing.

Every operator's output is rounded to fp16, as a GPU with fp32 accumulators does, but for numbers so large that their modules
stay in fp32 in any case (`fp16_ranges`). The U-Net is not asked: sines of its timesteps stay in fp32 too, which no operator shows.
Parity of the written graphs has the last word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from seas_export import parity
from seas_export.cases import Case
from seas_export.fp16_ranges import LIMIT
from seas_export.graphs import Wrapper
from seas_export.parity import Row
from seas_runtime.bundle.graphs import GraphName


class _Rounding(TorchDispatchMode):
    """Rounds what operators give; views stay views."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if any(returned.alias_info is not None for returned in func._schema.returns):
            return made
        return tree_map(_rounded, made)


def _rounded(value: Any) -> Any:
    if not isinstance(value, Tensor) or value.dtype != torch.float32:
        return value
    return torch.where(value.abs() <= LIMIT, value.half().float(), value)


def unfaithful(wrappers: Mapping[GraphName, Wrapper], cases: Iterable[Case], threshold: float) -> Iterator[Row]:
    """The worst row of each graph but the U-Net that goes beyond the bounds of parity.

    Args:
        wrappers: graphs, with weights that half precision holds.
        cases: inputs, and what PyTorch makes of them.
        threshold: probability from which a pixel is anomalous.
    """
    known = list(cases)
    for name, wrapper in wrappers.items():
        if name == "unet":
            continue
        rows: list[Row] = []
        for case in known:
            if name in case.inputs:
                with _Rounding():
                    found = wrapper.run(case.inputs[name])
                rows += parity.rows_of(case, name, "fp16", found, threshold)
        if failed := [row for row in rows if not row.passed]:
            yield max(failed, key=lambda row: row.relative_l2)
