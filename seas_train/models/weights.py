"""Files of weights before they are read: whole, cut off, or something else under that name."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

SAFETENSORS = ".safetensors"
PICKLES = (".bin", ".ckpt", ".pt", ".pth")
HEADER_LENGTH = 8
LARGEST_HEADER = 100_000_000
OLD_PICKLE = b"\x80"  # what torch.save wrote before it wrote zip files
LFS = b"version https://git-lfs"
STEM = re.compile(r"(diffusion_)?(pytorch_)?model\b")
_VARIANT = re.compile(r"[a-z_]+(?:\.([A-Za-z0-9_]+))?(?:-\d+-of-\d+)?\.[a-z]+")
AGAIN = "copy or download it again, whole"


def fault(path: Path) -> str | None:
    """What is wrong with a file of weights, and what to do; None where it is whole as far as its ends tell."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            start = stream.read(64)
    except OSError as error:
        return f"cannot be read ({error.strerror or error}); {AGAIN}"
    if said := _other(start):
        return said
    if path.suffix == SAFETENSORS:
        return _safetensors(path, size)
    if zipfile.is_zipfile(path) or (start.startswith(OLD_PICKLE) and not start.startswith(b"PK")):
        return None
    return f"found {size} bytes that are no weights of PyTorch, or not all of them; {AGAIN}"


def _other(start: bytes) -> str | None:
    """What stands in the place of weights, by how it starts."""
    if not start:
        return f"found an empty file; {AGAIN}"
    if start.startswith(LFS):
        return "found a pointer of git-lfs in the place of weights; run `git lfs pull` in that folder"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "found a web page in the place of weights; download the file itself, signed in where the model asks for it"
    return None


def _safetensors(path: Path, size: int) -> str | None:
    try:
        shapes = _header(path)
        expected = max((entry["data_offsets"][1] for entry in shapes.values()), default=0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return f"found {size} bytes without a header of safetensors; {AGAIN}"
    with path.open("rb") as stream:
        expected += HEADER_LENGTH + int.from_bytes(stream.read(HEADER_LENGTH), "little")
    return None if size == expected else f"found {size} bytes, expected {expected}; {AGAIN}"


def _header(path: Path) -> dict[str, dict[str, list[int]]]:
    """Entries of a safetensors file by tensor, without its metadata.

    Raises:
        ValueError: there is no such header.
    """
    return {name: entry for name, entry in _whole_header(path).items() if name != "__metadata__"}


def _whole_header(path: Path) -> dict[str, dict[str, list[int]]]:
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(HEADER_LENGTH), "little")
        if not 2 <= length <= LARGEST_HEADER:
            raise ValueError(f"a header of {length} bytes")
        found = json.loads(stream.read(length).decode("utf-8"))
    if not isinstance(found, dict):
        raise ValueError("a header that is no JSON object")
    return found


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor of a whole safetensors file."""
    return {name: tuple(entry["shape"]) for name, entry in _header(path).items()}


def metadata(path: Path) -> dict[str, str]:
    """What a whole safetensors file says of itself."""
    return {str(key): str(value) for key, value in _whole_header(path).get("__metadata__", {}).items()}


def first_fault(folder: Path, variant: str | None = None) -> str | None:
    """The first file of the weights that are read of a part's folder that is not whole, or a shard that is missing.

    Args:
        folder: of the part.
        variant: of the weights, such as fp16.

    Returns:
        "FILE: what is wrong; what to do", None where nothing is.
    """
    files = of_variant(folder, variant)
    kind = min((file.suffix for file in files), key=(SAFETENSORS, *PICKLES).index, default="")  # what is read of several
    for file in files:
        if file.suffix == kind and (wrong := fault(file)):
            return f"{file}: {wrong}"
    for index in sorted(folder.glob(f"*{kind}.index{f'.{variant}' if variant else ''}.json")):
        try:
            named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
            return f"{index}: found no list of shards; {AGAIN}"
        if missing := sorted(name for name in named if not (folder / str(name)).is_file()):
            return f"{index}: found no {missing[0]}, one of {len(named)} shards; {AGAIN}"
    return None


def of_variant(folder: Path, variant: str | None) -> list[Path]:
    """Files of a part's weights in a folder: those of a variant, such as fp16, or plain ones."""
    return sorted(file for file, found in _named(folder) if found == variant)


def variants(folder: Path) -> tuple[bool, list[str]]:
    """Whether there are plain weights in a part's folder, and which variants, such as fp16."""
    found = {variant for _, variant in _named(folder)}
    return None in found, sorted(variant for variant in found if variant is not None)


def _named(folder: Path) -> list[tuple[Path, str | None]]:
    """Files of weights, and the variant that each is called after."""
    files = [file for file in folder.iterdir() if file.suffix in (SAFETENSORS, *PICKLES) and STEM.match(file.name)]
    return [(file, match[1]) for file in files if (match := _VARIANT.fullmatch(file.name))]
