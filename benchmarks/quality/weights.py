"""Files of weights as they were published: a file's bytes are checked before anything of it is unpacked."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from seas_runtime.errors import DataError


@dataclass(frozen=True)
class Published:
    """A file of weights as it was published: its usual name, its sha256, where it comes from."""

    name: str
    sha256: str
    source: str


def read(path: Path, published: Published) -> Mapping[str, Tensor]:
    """Read a published file of weights; its bytes are checked before anything of it is unpacked.

    Raises:
        DataError: The file is missing or unreadable, or its sha256 is another.
    """
    try:
        found = sha256(path)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}), expected {published.name} from {published.source}; check the path"
        ) from None
    if found != published.sha256:
        raise DataError(
            f"{path}: has sha256 {found}, expected {published.sha256} of {published.name} from {published.source}; copy it again"
        )
    try:
        state: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise DataError(f"{path}: holds no weights ({error}), expected those of {published.name}") from None
    return state


def sha256(path: Path) -> str:
    """Of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
