"""MNN's form of a bundle's graphs: converted from the ONNX files on first use and kept in the user's cache.

They lie in `~/.cache/seas/mnn-<version>/<digest>/<graph>-<sha256>.mnn` (`XDG_CACHE_HOME` is heeded), in fp32: 7 MB of a tiny
bundle for cpu+mnn and 28 MB for mnn; 0.4 GB of one of Stable Diffusion's size for cpu+mnn, whose U-Net is too large for
MNN's format. The digest says which bundle a file was made from, the sha256 that it is whole; one that is not is made again.
Deleting the folder costs a conversion, no more.

MNN's storage of weights in fp16 would halve this. It also rounds what the bundle has in fp32, and the U-Net then misses the
bound of fp32 graphs (relative L2 2e-4 to 4e-4 against 6e-5, 1e-4 allowed).
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from seas_runtime.backends.cache import cache_root
from seas_runtime.bundle.graphs import GraphName
from seas_runtime.bundle.onnx_inline import MAX_BYTES, external_bytes, write_inline
from seas_runtime.bundle.reader import Bundle
from seas_runtime.bundle.verified import verify_again
from seas_runtime.errors import BackendError
from seas_runtime.files import TEMPORARY_SUFFIX

# The converter as a function: MNN's command line for it installs a package with pip and reports each use to its makers.
# A process of its own, since it prints, and since what it cannot read can end the process.
_CONVERT = "import sys, _tools; _tools.mnnconvert(sys.argv[1:])"
_OPTIONS = ("mnnconvert", "-f", "ONNX", "--bizCode", "seas")
_COMPLAINTS = ("not support", "failed", "error")


def cache_folder(version: str, digest: str) -> Path | None:
    """Where the models of one MNN version and bundle are kept; None for a user without a home."""
    root = cache_root()
    return root and root / f"mnn-{version}" / digest


@contextmanager
def model_file(bundle: Bundle, graph: GraphName, version: str, check: Callable[[Path], None]) -> Iterator[Path]:
    """A graph of a bundle as an MNN file, to be loaded inside the block.

    Args:
        bundle: a verified bundle.
        graph: which of its graphs.
        version: of MNN, part of the file's place.
        check: called with a new file; what it raises keeps the file out of the cache.

    Where the cache cannot be written, the file is made for this block alone.

    Raises:
        BackendError: the converter does not take the graph, or there is no room.
        BundleError: the bundle has changed since it was read.

    What remains: the converter opens graph and weights by their paths, hashed once more right before; and MNN a kept file by its
    path, hashed right before. Who may write to the folders can replace a file within that moment, and a kept file with its hash at
    any time: `--expect` lets "auto" take no backend that keeps files.
    """
    folder = cache_folder(version, bundle.manifest.digest)
    with ExitStack() as stack:
        try:
            model = _find(folder, graph) or _make(bundle, graph, folder, check, stack)
        except OSError as error:
            raise BackendError(
                f"{graph}: MNN's form of it cannot be written: {error.strerror or error}; "
                f"make room in {folder or tempfile.gettempdir()}, or use --backend cpu"
            ) from error
        yield model


def _find(folder: Path | None, graph: GraphName) -> Path | None:
    """The kept file of a graph; what is damaged is deleted."""
    with suppress(OSError):
        for file in sorted(folder.glob(f"{graph}-*.mnn")) if folder is not None else ():
            if file.stem == f"{graph}-{_sha256(file)}":
                return file
            file.unlink()
    return None


def _make(bundle: Bundle, graph: GraphName, folder: Path | None, check: Callable[[Path], None], stack: ExitStack) -> Path:
    """Convert and check a graph, into the cache if it can be written, else for as long as `stack` is open."""
    scratch = _scratch(folder)
    verify_again(bundle, [(graph, "fp32")])  # the converter opens paths
    model = _convert(bundle.graph_path(graph), Path(stack.enter_context(scratch)))
    check(model)
    if folder is None or model.parent.parent != folder:
        return model
    return model.rename(folder / f"{graph}-{_sha256(model)}.mnn")


def _scratch(folder: Path | None) -> tempfile.TemporaryDirectory[str]:
    """Inside the cache, from where a file can be renamed into place."""
    if folder is not None:
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return tempfile.TemporaryDirectory(prefix=".", suffix=TEMPORARY_SUFFIX, dir=folder)
    return tempfile.TemporaryDirectory(prefix="seas-mnn-")


def _convert(source: Path, scratch: Path) -> Path:
    """Convert an ONNX file; MNN's converter takes external weights only in fp32."""
    model = scratch / "model.mnn"
    try:
        half, other = external_bytes(source.read_bytes())
        if 2 * half + other > MAX_BYTES:
            raise BackendError(
                f"{source.name}: {(2 * half + other) / 1e9:.1f} GB of fp32 weights found, at most 2.1 fit into MNN's "
                "format; use --backend cpu+mnn"
            )
        if half:
            write_inline(source, scratch / "model.onnx")
            source = scratch / "model.onnx"
    except ValueError as error:
        raise BackendError(f"{source.name}: {error}; use --backend cpu") from error
    files = ("--modelFile", str(source.absolute()), "--MNNModel", str(model.absolute()))
    done = subprocess.run(  # noqa: S603  # our own interpreter, and paths that we chose
        [sys.executable, "-c", _CONVERT, *_OPTIONS, *files],
        cwd=scratch,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if not model.is_file() or not model.stat().st_size:
        raise BackendError(
            f"{source.name}: MNN cannot convert it: {_complaint(done.stdout)}; use --backend cpu, or another MNN version"
        )
    return model


def _complaint(printed: str) -> str:
    """The first line of the converter's output that sounds like a reason."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    reasons = [line for line in lines if any(word in line.lower() for word in _COMPLAINTS)]
    return (reasons or lines or ["it says nothing"])[0].rpartition("] ")[2][:200]


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
