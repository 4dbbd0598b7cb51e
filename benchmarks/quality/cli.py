"""`seas-quality`."""

from __future__ import annotations

import os
from typing import Any

import click

from benchmarks.quality.commands import judge, train
from benchmarks.quality.commands.decompose import decompose
from benchmarks.stages import interruptible
from seas_runtime.errors import SettingsError
from seas_runtime.versions import extra

EXAMPLES = """\b
Examples:
  seas-quality generation out/tile --data data/tile
  seas-quality downstream --data data/tile --pairs ours=out/tile --comparator perlin
  seas-quality replaced --data data/tile --pairs out/tile
  seas-quality unsupervised --data data/tile --pairs out/tile
  seas-quality report --data data/tile
  seas-quality ablate --data data/tile --work out/ablate --table 4
  seas-quality decompose --data data/tile --pairs out/tile --work out/decompose

Real anomalies are divided as seas-train tune divides them: tests see none that anything has learned from.
The same command again continues an interrupted one.

\b
Exit codes: 0 done, 1 training failed, 2 usage, 3 bad data or weights, 5 output problem, 130 interrupted."""


CONTEXT = {"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100}
EXTRAS = ("cpu", "train", "export", "quality", "judge")
"""Of this project, that a judge needs."""
OWN = ("benchmarks", "seas_runtime", "seas_train", "seas_export")


class Group(click.Group):
    """Commands that remember their words, and end an interrupt with one line and the exit code of the house."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words for the documents."""
        ctx.meta["words"] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        try:
            with interruptible():
                return super().invoke(ctx)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] in OWN:
                raise
            raise SettingsError(
                f"{error.name} is not installed; run {extra('cpu', 'train', 'export', 'quality', 'judge')}"
            ) from error


@click.group(cls=Group, epilog=EXAMPLES, context_settings=CONTEXT)
def main() -> None:
    """Judge image-mask pairs, of any generator, after the SeaS paper; benchmarks/README.md says where this differs from it."""


for command in (judge.generation, judge.downstream, judge.replaced, judge.unsupervised, train.report, train.ablate, decompose):
    main.add_command(command)
