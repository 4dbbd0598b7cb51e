"""`seas-data`. Each command's module is loaded when the command is asked for."""

from __future__ import annotations

from importlib import import_module

import click

from seas_runtime.commands import VERSION, Group

COMMANDS = {
    "import": "seas_runtime.dataset.importers.cli:import_source",
    "export": "seas_runtime.dataset.exporters.cli:export",
    "place": "seas_runtime.dataset.placing.cli:place",
    "review": "seas_runtime.dataset.review.cli:review",
    "status": "seas_runtime.dataset.shards_cli:status",
    "merge": "seas_runtime.dataset.shards_cli:merge",
}
"""Name of a command -> "module:function". The modules load nothing but click before they run."""


EXAMPLES = """\b
Examples:
  seas-data import photos/valve --into data/valve --dry-run
  seas-data review out/valve
  seas-data export out/valve --to coco --into out/valve-coco"""


class _LazyGroup(Group):
    """Commands by the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, function = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), function)
        return command


@click.group(cls=_LazyGroup, epilog=EXAMPLES)
@VERSION
def data() -> None:
    """Bring annotated photographs in; look at pairs and decide on them, join, place and export them."""
