"""The commands of the whole road: what each stage is called with, where it writes, and which of them are done."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from seas_train.data.source import Source
from seas_train.models.origin import Origin
from seas_train.options import NOT_STATED
from seas_train.pipeline.sections import Sections
from seas_train.pipeline.stages import TIMES, Stage, Stages


@dataclass(frozen=True)
class Order:
    """One product's road, as it is asked for.

    Attributes:
        source: its data set.
        base: the base model.
        out: the bundle.
        work: folder of everything in between.
        licence: of the images.
        sections: settings of the stages.
    """

    source: Source
    base: Origin
    out: Path
    work: Path
    licence: str
    sections: Sections

    @property
    def tuned(self) -> Path:
        """The run folder that `tune` makes."""
        return self.work / "run"

    @property
    def student(self) -> Path | None:
        """The run folder that `distill` makes, where one is asked for."""
        return self.work / "student" if self.sections.distill is not None else None

    @property
    def run(self) -> Path:
        """The run folder that is exported."""
        return self.student or self.tuned

    @property
    def pairs(self) -> Path:
        """The first pairs."""
        return self.work / "pairs"

    @property
    def report(self) -> Path:
        """The page."""
        return self.work / "report.html"

    def stages(self) -> tuple[Stage, ...]:
        """All stages, in their order."""
        run, words = str(self.run), self.sections.words
        data = tuple(_words_of_source(self.source))
        licence = () if self.licence == NOT_STATED else ("--licence", self.licence)
        tune = ("seas-train", "tune", *data, *_words_of_base(self.base), "--out", str(self.tuned), *licence, *words["tune"])
        stages = [Stage("tune", tune, self.tuned / "run.json")]
        if self.student is not None:
            distill = ("seas-train", "distill", str(self.tuned), *data, "--out", str(self.student), *words["distill"])
            stages.append(Stage("distill", distill, self.student / "run.json"))
        masks = ("seas-train", "masks", run, *words["masks"])  # the run knows where its images lie
        pictures = ("seas-gen", "--engine", str(self.out), "--out", str(self.pairs), *words["gen"], "--sheet")
        if self.student is not None:
            masks = ("seas-train", "masks", run, *data, *words["masks"])  # a student does not
        return (
            *stages,
            Stage("masks", masks, self.run / "rmp" / "config.json"),
            Stage("export", ("seas-export", run, "--out", str(self.out), *words["export"]), self.out / "manifest.json", whole=True),
            Stage("gen", pictures, self.pairs / "run.json"),
            Stage("report", self._report(), self.report),
        )

    def _report(self) -> tuple[str, ...]:
        runs = dict.fromkeys((str(self.tuned), str(self.run)))
        more = ("--engine", str(self.out), "--pairs", str(self.pairs), "--times", str(self.work / TIMES))
        return ("seas-train", "report", *runs, *more, "--out", str(self.report))


def dry_run(order: Order, stages: Stages) -> Iterator[str]:
    """Each stage's command as it can be typed, and whether it is done; nothing is written."""
    for stage in order.stages():
        yield f"# {stage.name}: {'already done' if stages.done(stage) else 'to do'}"
        yield shlex.join(stage.command)
    yield "# nothing was made or written; --estimate times a step of each training"


def _words_of_source(source: Source) -> Iterator[str]:
    if source.data is not None:
        yield str(source.data)
    if source.layout != "auto":
        yield from ("--layout", source.layout)
    for name, folder in source.folders.items():
        yield from (f"--{name}", str(folder))
    if source.name is not None:
        yield from ("--name", source.name)


def _words_of_base(base: Origin) -> Iterator[str]:
    yield from ("--base", base.source)
    named = {"revision": base.revision, "variant": base.variant, "tokenizer": base.tokenizer, "prediction": base.prediction}
    for name, value in {**named, "size": base.size}.items():
        if value is not None:
            yield from (f"--{name}", str(value))
    for lora in base.loras:
        yield from ("--lora", f"{lora.file}:{lora.weight!r}")
