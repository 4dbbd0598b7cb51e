"""`seas-data`. Each command's module is loaded when the command is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from seas_runtime.commands import VERSION, Ending
from seas_runtime.errors import INTERRUPTED

COMMANDS = {
    "import": "seas_runtime.dataset.importers.cli:import_source",
    "export": "seas_runtime.dataset.exporters.cli:export",
    "place": "seas_runtime.dataset.placing.cli:place",
    "review": "seas_runtime.dataset.review.cli:review",
    "status": "seas_runtime.dataset.shards_cli:status",
    "merge": "seas_runtime.dataset.shards_cli:merge",
}
"""Name of a command -> "module:function". The modules load nothing but click before they run."""


class _LazyGroup(Ending, click.Group):
    """Commands by the table above; an interrupt ends with the exit code of the house."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, function = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), function)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Interrupted: nothing unfinished was left behind.", err=True)
            ctx.exit(INTERRUPTED)


@click.group(cls=_LazyGroup, context_settings={"show_default": True, "max_content_width": 100})
@VERSION
def data() -> None:
    """Bring annotated photographs in; look at pairs and decide on them, join, place and export them."""
