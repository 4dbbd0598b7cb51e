"""Where a base model comes from, and what is asked of it on the way."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from seas_runtime.errors import DataError
from seas_train.models.weights import PICKLES, SAFETENSORS

SUFFIXES = (SAFETENSORS, *PICKLES)
"""Of single files."""
EXPECTED = "give a base model's folder, a single file, a run, or a hub name"


@dataclass(frozen=True)
class Lora:
    """A file of LoRA weights, and how strongly they are added."""

    file: Path
    weight: float = 1.0

    def __str__(self) -> str:
        return f"{self.file.name}:{self.weight:g}"


@dataclass(frozen=True)
class Origin:
    """A base as it is asked for.

    Attributes:
        source: a folder in diffusers' layout, a run, a single file, or a hub name.
        variant: of the weights' files, such as fp16, where there are several.
        loras: merged into U-Net and text encoder, in this order.
        tokenizer: of a single file, which has none: a folder, or CLIP's own list of merges.
        prediction: what the U-Net predicts, where the configs do not say it or are wrong.
        size: side of the images in pixels, in place of the base's own.
        revision: branch, tag or commit of a base on a hub.
    """

    source: str
    variant: str | None = None
    loras: tuple[Lora, ...] = ()
    tokenizer: Path | None = None
    prediction: str | None = None
    size: int | None = None
    revision: str | None = None

    @staticmethod
    def of(source: str | Path | Origin) -> Origin:
        """The plain origin of a folder, file or name; an origin as it is."""
        return source if isinstance(source, Origin) else Origin(str(source))

    def require_found(self) -> None:
        """Refuse a path where nothing lies, before anything heavy is loaded; what may be a hub's name passes.

        Raises:
            DataError: the source is a path, or lies in a folder that there is, and nothing is there.
        """
        here = self.path.parent
        if self.path.exists() or not (self.source.startswith((".", "/", "~")) or (here != Path() and here.is_dir())):
            return
        names = [entry.name for entry in here.iterdir()] if here.is_dir() else []
        near = get_close_matches(self.path.name, names, 1)
        meant = f" (did you mean {here / near[0]}?)" if near else ""
        raise DataError(f"{self.source}: no such folder or file{meant}; {EXPECTED}")

    @property
    def path(self) -> Path:
        """The source as a path, whether there is something or not."""
        return Path(self.source)

    @property
    def is_folder(self) -> bool:
        """Whether the source is a folder, not a file or a hub name."""
        return self.path.is_dir()

    @property
    def version(self) -> dict[str, str]:
        """What a library's reader is told of the revision; a folder has none."""
        return {} if self.is_folder or self.revision is None else {"revision": self.revision}

    @property
    def is_file(self) -> bool:
        """Whether the source is a single file, there or not."""
        return not self.is_folder and (self.path.is_file() or self.path.suffix in SUFFIXES)

    @property
    def is_run(self) -> bool:
        """Whether the source is a run of `seas-train tune`."""
        return (self.path / "run.json").is_file()

    @property
    def fit(self) -> str | None:
        """How a small base, or a run, was shown its photographs (`--fit`); None where nobody knows."""
        for name in ("run.json", "base.json"):
            with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):  # what is damaged, the readers tell
                facts = json.loads((self.path / name).read_text(encoding="utf-8"))
                return str((facts if name == "run.json" else facts["settings"])["fit"])
        return None

    @property
    def name(self) -> str:
        """What a run calls its base: a hub name as it is, a folder or file by its own name, not by where it lies."""
        return self.path.resolve().name if self.path.exists() else self.source

    @property
    def asked(self) -> dict[str, Any]:
        """What was asked for beside the source, None where nothing was: kept in the run."""
        return {
            "base_revision": self.revision,
            "base_variant": self.variant,
            "base_lora": [str(lora) for lora in self.loras] or None,
            "base_prediction": self.prediction,
            "base_size": self.size,
        }
