"""How every command ends: an interrupt with the exit code of the house, a standard output that takes no more in one line."""

from __future__ import annotations

import os
from typing import Any

import click

from seas_runtime.errors import INTERRUPTED, OutputError

_STDOUT, _STDERR = 1, 2


class Ending:
    """Beside `click.Command` or `click.Group`, and before it: ends where click would end in another way."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """See `click.Command.make_context`, which reads the command line."""
        try:
            return super().make_context(*args, **kwargs)  # type: ignore[misc]  # of the class beside this one
        except KeyboardInterrupt:
            click.echo("Interrupted: nothing was begun.", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """See `click.Command.main`."""
        try:
            return super().main(*args, **kwargs)  # type: ignore[misc]  # of the class beside this one
        except KeyboardInterrupt:
            click.echo("Interrupted: nothing was begun.", err=True)
            raise SystemExit(INTERRUPTED) from None
        except OSError as error:
            if not _is_of_echo(error):
                raise
            problem = OutputError(f"standard output: {error.strerror or error}; what was written to files is kept")
            _forget(_STDOUT)
            try:
                problem.show()
            except OSError:
                _forget(_STDERR)
            raise SystemExit(problem.exit_code) from None


class Command(Ending, click.Command):
    """A command that ends so."""


def _is_of_echo(error: OSError) -> bool:
    """Whether it was raised where text is shown, and nowhere else."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code is click.echo.__code__


def _forget(stream: int) -> None:
    """Let what a stream still holds go nowhere, so that Python does not try again at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream)
    os.close(null)
