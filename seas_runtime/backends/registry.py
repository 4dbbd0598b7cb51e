"""What is said of each backend before it is loaded. A new one is an entry here and a module beside this one."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PLAIN = re.compile(r"[\w-]+")


def install(*requirements: str) -> str:
    """The command that installs packages, quoted for every shell where it has to be."""
    return " ".join(("pip install", *(name if _PLAIN.fullmatch(name) else f'"{name}"' for name in requirements)))


@dataclass(frozen=True)
class BackendSpec:
    """A backend as command line, doctor and "auto" know it.

    Attributes:
        name: what `--backend` and `run.json` call it.
        module: of this package, see `BackendModule`.
        requires: the packages it needs, as pip takes them; pyproject.toml has an extra with the same.
        conflicts: a package that has to go first.
        of_core: it reads nothing but the bundle's core. Engines lie beside that, MNN's models in a cache: whoever can write there
            can swap one and its hash. So "auto" takes no other where a digest is asked for (--expect); by name they are used.
        for_large: its place is that of large models. For a small one "auto" takes it last: it starts later and is no faster, or by
            6 % at most (`benchmarks/README.md`).
        rounds: never taken by "auto": it rounds to two or three digits, and pairs are others than every other backend's.
    """

    name: str
    module: str
    requires: tuple[str, ...]
    conflicts: str = ""
    of_core: bool = False
    for_large: bool = False
    rounds: bool = False

    @property
    def packages(self) -> tuple[str, ...]:
        """Names of the packages, without versions and extras."""
        return tuple(match[0] for match in map(_PLAIN.match, self.requires) if match)

    @property
    def hint(self) -> str:
        """The command that makes it work as far as packages go."""
        command = install(*self.requires)
        return f"pip uninstall -y {self.conflicts} && {command}" if self.conflicts else command


CUDA = ("cuda-core>=1.2,<2", "cuda-bindings>=13,<14", "nvidia-cuda-nvrtc>=13,<14")

# "auto" takes the first that works.
BACKENDS = {
    spec.name: spec
    for spec in (
        BackendSpec("tensorrt", "tensorrt.backend", ("tensorrt>=11,<12", *CUDA)),
        BackendSpec("rtx", "tensorrt.backend", ("tensorrt-rtx-cu13>=1.7,<2", *CUDA)),
        BackendSpec("cuda", "ort", ("onnxruntime-gpu[cuda,cudnn]",), conflicts="onnxruntime", of_core=True),
        BackendSpec("openvino+mnn", "mixed", ("openvino", "MNN"), for_large=True),
        BackendSpec("openvino", "openvino", ("openvino",), for_large=True, of_core=True),
        BackendSpec("cpu+mnn", "mixed", ("onnxruntime", "MNN"), for_large=True),
        BackendSpec("cpu", "ort", ("onnxruntime",), of_core=True),
        BackendSpec("mnn", "mnn", ("MNN",)),
        BackendSpec("openvino-bf16", "openvino", ("openvino",), of_core=True, rounds=True),
    )
}
OF_CORE = tuple(spec.name for spec in BACKENDS.values() if spec.of_core)
PACKAGES = tuple(dict.fromkeys(package for spec in BACKENDS.values() for package in spec.packages))
