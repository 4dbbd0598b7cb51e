"""What lies in a run's folder, in words: the summary, what is wrong with the masks, and what a person does next."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from seas_runtime.dataset.records import Journal, Line
from seas_runtime.dataset.repeats import repeats
from seas_runtime.dataset.series import NORMALS, PAIRS
from seas_runtime.errors import GateError
from seas_runtime.files import beside
from seas_runtime.settings import Settings

SHOWN = 20
MOST_REFUSED = 0.1
"""Share of the pairs; where more are refused, it is no chance."""
ENOUGH = 4
"""Pairs of a type from which on equal masks are no chance."""
ADVICE = (
    "train masks longer (seas-train masks --steps-per-type), take another --threshold, --min-area, --min-agreement or --seed, "
    "or give training more anomalies"
)


@dataclass(frozen=True)
class Summary:
    """What lies in `out` after a run.

    types: pairs of each type; retries: attempts beyond the first; refused: pairs given up; made: new pairs and normal images;
    repeated: indices of pairs with the very mask of an earlier one, by type; tiles: pictures are parts of photographs.
    """

    out: Path
    settings: Settings
    types: Counter[str]
    retries: int
    refused: list[Line]
    made: int
    seconds: float
    normals: int = 0
    repeated: dict[str, list[int]] = field(default_factory=dict)
    tiles: bool = False

    def line(self) -> str:
        """The run in one line."""
        pairs, normals = f"{self.types.total()} pairs", f"{self.normals} normal images"
        each = ", ".join(f"{name} {self.types[name]}" for name in self.settings.defects)
        new = "none was left to make"
        if self.made:
            what = "images" if self.normals else "pairs"
            new = f"{self.made} made in {self.seconds:.1f} s, {self.made / self.seconds:.2f} {what}/s"
        if not self.settings.count:
            return f"{normals} in {self.out}; {new}"
        again = sorted(index for indices in self.repeated.values() for index in indices)
        repeated = f"; masks that repeat another's to the pixel: {len(again)} (pairs {_named(again)})" if again else ""
        if again and self.settings.mask == "composite":
            repeated += ", for the engine has few composites (seas-export --composites N)"
        both = f"{pairs} and {normals}" if self.normals else pairs
        return f"{both} in {self.out} ({each}); {new}; {self.retries} retries{repeated}"

    def facts(self) -> dict[str, object]:
        """The run as `--json` tells it."""
        counts = {"pairs": self.types.total(), "types": dict(self.types), "normals": self.normals, "made": self.made}
        return {"out": self.out, "backend": self.settings.backend, **counts, "retries": self.retries, "refused": len(self.refused)}

    def next(self) -> str:
        """What a person does next; parts of photographs are put back into them before the export."""
        out, into = (shlex.quote(str(folder)) for folder in (self.out, beside(self.out, "-coco")))
        if not self.tiles:
            return f"next: seas-data review {out}, then seas-data export {out} --to coco --into {into}"
        whole = shlex.quote(str(beside(self.out, "-whole")))
        placed = f"seas-data place {out} --on PHOTOGRAPHS --into {whole}"
        return f"next: seas-data review {out}, then {placed}, then seas-data export {whole} --to coco --into {into}"

    def alike(self) -> list[str]:
        """Defect types of which all masks are one."""
        return [name for name, again in self.repeated.items() if ENOUGH <= self.types[name] == len(again) + 1]

    def raise_if_poor(self) -> None:
        """End with the gate's exit code where pairs were given up, or all masks of a type are one.

        Raises:
            GateError: names them and says what to do.
        """
        if not self.refused and not self.alike():
            return
        told = [*self._told_of_refused(), *(f"all {self.types[name]} masks of {name} are the same" for name in self.alike())]
        poor = bool(self.alike()) or len(self.refused) > MOST_REFUSED * (len(self.refused) + self.types.total())
        advice = (
            f"So many are no chance: {ADVICE}" if poor else "Change --threshold, --min-area, --max-area, --min-agreement or --seed"
        )
        raise GateError(f"{self.out}: {'; '.join(told)}. {advice}, with another --out")

    def _told_of_refused(self) -> list[str]:
        if not self.refused:
            return []
        counts = Counter(line["verdict"] for line in self.refused)
        reasons = ", ".join(f"{verdict}: {number}" for verdict, number in counts.items())
        indices = _named([line["index"] for line in self.refused])
        written = "the others are written"
        return [f"the quality gate refused all {self.settings.retries + 1} masks of pairs {indices} ({reasons}); {written}"]


def summarise(out: Path, settings: Settings, made: int, seconds: float, *, tiles: bool = False) -> Summary:
    """Look at what lies in `out`; `made` pairs and normal images of it are new and took so many seconds.

    `tiles`: pictures are parts of photographs, which they can be put back into.

    Raises:
        OutputError: a mask is gone or damaged.
    """
    types: Counter[str] = Counter()
    retries = 0
    for line in Journal(out / PAIRS.metadata):
        types[line["defect"]] += 1
        retries += line["attempt"]
    refused = list(Journal(out / PAIRS.refused))
    retries += sum(line["attempt"] for line in refused)
    normals = len(Journal(out / NORMALS.metadata).read())
    packed = settings.per_tar > 0  # no masks lie there to be compared
    repeated = {} if packed else repeats(out, Journal(out / PAIRS.metadata))
    return Summary(out, settings, types, retries, refused, made, seconds, normals, repeated, tiles)


def agreements(out: Path) -> dict[str, float]:
    """The agreement of each pair's masks by the name of its image, where its line says it."""
    return {line["file_name"]: line["agreement"] for line in Journal(out / PAIRS.metadata) if "agreement" in line}


def _named(indices: Sequence[int]) -> str:
    more = f" and {len(indices) - SHOWN} more" if len(indices) > SHOWN else ""
    return ", ".join(map(str, indices[:SHOWN])) + more
