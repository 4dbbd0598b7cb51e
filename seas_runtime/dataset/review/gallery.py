"""Everything a page shows of one OUT, and what it may change. It knows nothing of HTTP."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seas_runtime.dataset.decisions import VERDICTS, Verdict
from seas_runtime.dataset.review.album import Album
from seas_runtime.dataset.review.figures import figures
from seas_runtime.dataset.review.log import DecisionLog, Decisions
from seas_runtime.dataset.review.pairs import Pairs
from seas_runtime.dataset.review.pictures import mask_png
from seas_runtime.dataset.review.survey import Measured, Survey
from seas_runtime.dataset.review.training import Real, read_training
from seas_runtime.errors import DataError, OutputError, SettingsError

MOST_ROWS = 5000
Row = list[Any]


class StaleError(OutputError):
    """A mask that somebody else has changed since the page loaded it."""


class Gallery:
    """One OUT, with its decisions and, if given, the real anomalies to compare with.

    Args:
        out: the folder.
        decisions: its decisions; those of a `DecisionLog` may be changed.
        training: the product's folder with real anomalies.

    Raises:
        DataError: either folder is not what it should be.
    """

    def __init__(self, out: Path, decisions: Decisions, training: Path | None = None) -> None:
        self.pairs = Pairs(out)
        self.decisions = decisions
        root, self.reals = _reals(training, self.pairs.product)
        self.album = Album(self.pairs, decisions, root, self.reals)
        self.survey = Survey(len(self.reals), self.album.real_scene, self._unmeasured, self.album.scene, self.album.is_busy)
        self._era = secrets.token_hex(4)
        self._surveyed: tuple[int, ...] = ()

    def describe(self) -> dict[str, Any]:
        """The folder as a whole, ready for JSON; "era" is another for every gallery, so no page mixes two."""
        return {
            "product": self.pairs.product or self.pairs.out.resolve().name,
            "readOnly": not isinstance(self.decisions, DecisionLog),
            "era": self._era,
            "reals": [[real.defect, real.mask is not None] for real in self.reals],
        }

    def page(self, first: int, count: int) -> dict[str, Any]:
        """Pairs number `first` and on, ready for JSON.

        "rows" are (index, type's number, area in pixels, agreement or None, attempt), each followed by what `change`
        says after the index.
        """
        generation, revision = self.pairs.generation, self.decisions.revision
        pairs = self.pairs.slice(first, min(count, MOST_ROWS))
        types = {name: number for number, name in enumerate(self.pairs.types)}
        rows = [[p.index, types[p.defect], p.area, p.agreement, p.attempt, *self.change(p.index)[1:]] for p in pairs]
        found = {"generation": generation, "revision": revision, "total": len(self.pairs)}
        return found | {"types": list(types), "rows": rows}

    def changes(self, revision: int, surveyed: int) -> dict[str, Any]:
        """What is new since a revision of the decisions and a number of measured pairs.

        "changes" are rows of (index, number of the verdict, whether the mask is mended, revision of the mask), "survey"
        rows of (index, marked share of the picture, marked pixels, real anomaly it is like, likeness, whether a copy is
        suspected).

        Raises:
            DataError: what is new cannot be read.
        """
        self.pairs.refresh()
        self.decisions.refresh()
        now = self.decisions.revision
        return {
            "generation": self.pairs.generation,
            "total": len(self.pairs),
            "planned": self.pairs.planned,
            "revision": now,
            "changes": [self.change(index) for index in self.decisions.changed_since(revision)],
            "survey": self.survey_rows(surveyed, MOST_ROWS),
        }

    def survey_rows(self, first: int, most: int | None = None) -> list[Row]:
        """Rows of "survey" from number `first` on, `most` or all."""
        return [_survey_row(index, found, placed=self.pairs.placed) for index, found in self.survey.since(first, most)]

    def change(self, index: int) -> Row:
        """What was decided on a pair, as a row of "changes"."""
        decision = self.decisions.of(index)
        verdict = VERDICTS.index(decision.decision)
        return [index, verdict, decision.mask is not None, self.decisions.mask_revision(index)]

    def figures(self, defect: str | None, verdict: Verdict | None) -> dict[str, Any]:
        """Heat maps and areas of the pairs of one type and one verdict, None for all, against real ones of the type."""
        real, done = self.survey.snapshot()
        chosen = [pair.index for pair in self.pairs.slice(0, len(self.pairs)) if defect in {None, pair.defect}]
        kept = (index for index in chosen if verdict in {None, self.decisions.of(index).decision})
        generated = [done[index] for index in kept if index in done]
        return figures(generated, [one for one in real.values() if defect in {None, one.defect}])

    def counts(self) -> dict[str, int]:
        """How many pairs have each verdict, and "mended" masks."""
        found = dict.fromkeys((*VERDICTS, "mended"), 0)
        for pair in self.pairs.slice(0, len(self.pairs)):
            decision = self.decisions.of(pair.index)
            found[decision.decision] += 1
            found["mended"] += decision.mask is not None
        return found

    def decide(self, verdicts: Sequence[tuple[int, Verdict]]) -> list[Row]:
        """Note decisions on pairs that are there; their rows of "changes".

        Raises:
            DataError: there is no such pair.
            OutputError: they cannot be written.
        """
        log = self._log()
        for index, _ in verdicts:
            self.pairs.of(index)
        log.decide(verdicts)
        return [self.change(index) for index, _ in verdicts]

    def mend(self, index: int, bits: bytes, base: int) -> Row:
        """Take a pair's mended mask; its row of "changes".

        Args:
            index: the pair.
            bits: eight pixels a byte, the first one highest, by rows without gaps.
            base: revision of the mask that was edited.

        Raises:
            DataError: there is no such pair, or as many bits as its picture has pixels are not given.
            StaleError: the mask has another revision by now.
            OutputError: it cannot be written.
        """
        log = self._log()
        height, width = self.album.size(index)
        if len(bits) != (height * width + 7) // 8:
            raise DataError(f"pair {index}: {len(bits)} bytes found, a bit for each of {width} x {height} pixels expected")
        pixels = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=height * width)
        with log.alone():
            self._require_fresh(index, base)
            log.mend(index, mask_png(pixels.reshape(height, width).astype(np.bool_)))
            return self.change(index)

    def restore(self, index: int, base: int) -> Row:
        """Let the generated mask of a pair stand again; its row of "changes".

        Raises:
            DataError: there is no such pair.
            StaleError: the mask has another revision by now.
            OutputError: it cannot be written.
        """
        log = self._log()
        self.pairs.of(index)
        with log.alone():
            self._require_fresh(index, base)
            log.restore(index)
            return self.change(index)

    def _log(self) -> DecisionLog:
        if not isinstance(self.decisions, DecisionLog):
            raise SettingsError("this page only looks (--read-only); open it without that to decide")
        return self.decisions

    def _require_fresh(self, index: int, base: int) -> None:
        if self.decisions.mask_revision(index) != base:
            raise StaleError(f"pair {index}: its mask was changed elsewhere meanwhile; look at it and edit again")

    def _unmeasured(self) -> list[tuple[int, object]]:
        """All pairs with what their measures depend on, unless nothing has changed."""
        version = (self.pairs.generation, len(self.pairs), self.decisions.revision)
        if version == self._surveyed:
            return []
        self._surveyed = version
        pairs, generation = self.pairs.slice(0, version[1]), version[0]
        return [(pair.index, (generation, self.decisions.mask_revision(pair.index))) for pair in pairs]


def _reals(training: Path | None, product: str) -> tuple[Path, list[Real]]:
    return (Path(), []) if training is None else read_training(training, product)


def _survey_row(index: int, found: Measured, *, placed: bool) -> Row:
    """Of a pair whose anomaly was placed no copy is suspected: it is one by design."""
    near = found.nearest
    share = float(f"{found.area:.4g}")
    return [
        index,
        share,
        found.pixels,
        *([near.real, round(near.likeness, 4), near.copy and not placed] if near else [None, None, False]),
    ]
