"""Parts of a folder or of a hub's model as the libraries read them: safetensors first, every error in one line."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from huggingface_hub.errors import LocalEntryNotFoundError

from seas_runtime.errors import DataError
from seas_runtime.terminal import shown
from seas_train.models.origin import EXPECTED, Origin
from seas_train.models.weights import SAFETENSORS, of_variant, variants

_NO_SUCH_FILE = "does not appear to have a file named"  # as diffusers and transformers say of a model on a hub


def read(reader: Callable[..., Any], origin: Origin, part: str, **how: Any) -> Any:
    """What a library's `reader` makes of a part of a model.

    Raises:
        DataError: it cannot be read, or the hub name is not to be had.
    """
    try:
        return reader(origin.source, subfolder=part, local_files_only=origin.is_folder, **origin.version, **how)
    except Exception as error:  # the libraries raise anything of a file that is not what it should be
        if not origin.is_folder and _unreached(error):
            said = "no such folder here, and no hub has been reached for a model of that name"
            raise DataError(f"{origin.source}: {said}; {EXPECTED}") from error
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        hint = (
            "Make the base again with `seas-train base`, or give a whole Stable Diffusion v1-4 folder."
            if origin.is_folder
            else "Without a network give a local folder: one from `seas-train base`, or a copy of the hub model."
        )
        raise DataError(f"cannot load a base model from {origin.source} ({reason}). {hint}") from error


def _unreached(error: BaseException | None) -> bool:
    """Whether the reason of an error is that the hub did not answer, and nothing was kept of an earlier answer."""
    while error is not None and not isinstance(error, LocalEntryNotFoundError):
        error = error.__cause__ or error.__context__
    return error is not None


def weights(reader: Callable[..., Any], origin: Origin, part: str, **how: Any) -> Any:
    """As `read`, of a network: its safetensors; where there are none, its pickled weights, with a word on that.

    Raises:
        DataError: as `read`.
    """
    how["variant"] = variant_of(origin, part)
    files = of_variant(origin.path / part, how["variant"]) if origin.is_folder else []
    if files and not any(file.suffix == SAFETENSORS for file in files):
        return _unpickled(reader, origin, part, **how)
    try:
        return read(reader, origin, part, use_safetensors=True, **how)
    except DataError as error:
        if origin.is_folder or _NO_SUCH_FILE not in str(error):
            raise
    return _unpickled(reader, origin, part, **how)


def variant_of(origin: Origin, part: str) -> str | None:
    """The variant of a part's weights that is read: plain ones where a folder has no other."""
    folder = origin.path / part
    return origin.variant if not folder.is_dir() or origin.variant in variants(folder)[1] else None


def _unpickled(reader: Callable[..., Any], origin: Origin, part: str, **how: Any) -> Any:
    said = f"{origin.source}: {part} has no safetensors; its pickled weights are read with PyTorch's restricted reader"
    logging.getLogger(__name__).warning(shown(f"Warning: {said}"))
    try:
        return read(reader, origin, part, use_safetensors=False, **how)
    except DataError:
        raise
    except Exception as error:  # a spoiled pickle can raise anything
        reason = type(error).__name__
        raise DataError(f"{origin.source}: the weights of {part} are damaged ({reason}); copy the model again") from error
