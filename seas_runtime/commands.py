"""What commands share: how they end and speak, what their help looks like, --version, types of options."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from seas_runtime import voice
from seas_runtime.errors import INTERRUPTED, OutputError

_STDOUT, _STDERR = 1, 2
_CONTEXT = {"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100}
_MANNER = "seas_runtime.voice"
_SAID = "What is said"


class Ending:
    """Beside `click.Command` or `click.Group`, and before it: ends where click would end in another way."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """See `click.Command.make_context`, which reads the command line."""
        try:
            return super().make_context(*args, **kwargs)  # type: ignore[misc]  # of the class beside this one
        except KeyboardInterrupt:
            click.echo("Interrupted: nothing was begun.", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None

    def invoke(self, ctx: click.Context) -> Any:
        """See `click.Command.invoke`; what writes bit by bit says for itself in what state an interrupt leaves it."""
        with interrupt(lambda: "nothing unfinished was left behind"):
            return super().invoke(ctx)  # type: ignore[misc]  # of the class beside this one

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


@contextmanager
def interrupt(left: Callable[[], str]) -> Iterator[None]:
    """Let a function say in what state an interrupt leaves things, and end with its exit code."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"Interrupted: {left()}.", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None


def words(_ctx: click.Context, _param: click.Parameter, value: str | None) -> list[str]:
    """An option's words with commas between, as a callback."""
    return [word.strip() for word in value.split(",")] if value else []


def interval_of(value: Any) -> tuple[float, float]:
    """A part of the noise schedule: "A:B", or (A, B) as it is.

    Raises:
        click.BadParameter: it is neither, or empty, or not inside 0 to 1.
    """
    try:
        low, high = map(float, value.split(":") if isinstance(value, str) else value)
    except (TypeError, ValueError):
        low = high = -1.0
    if not 0 <= low < high <= 1:
        raise click.BadParameter(f"{value!r} found, A:B with 0 <= A < B <= 1 expected, as in 0.1:0.8")
    return low, high


def _show_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        from seas_runtime.versions import own_version  # noqa: PLC0415  # every command would wait for it

        click.echo(f"seas {own_version()}")
        ctx.exit()


VERSION = click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version.",
)


def _note_manner(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta.setdefault(_MANNER, {})[str(param.name)] = True


def _manner(name: str, flag: str, text: str) -> click.Option:
    return click.Option([flag, name], is_flag=True, expose_value=False, callback=_note_manner, show_default=False, help=text)


class Command(Ending, click.Command):
    """A command with --quiet, --verbose and --json, and its options under headings.

    Args:
        headings: names of parameters by the heading that their options are shown under; all others come first, as "Options".
    """

    def __init__(self, *args: Any, headings: Mapping[str, Collection[str]] | None = None, **given: Any) -> None:
        manner = [
            _manner("quiet", "--quiet", "Say nothing but warnings and errors; --json is still obeyed."),
            _manner("verbose", "--verbose", "Say more: each stage, what auto chose and why."),
            _manner("as_json", "--json", "Tell the result as one JSON object on standard output."),
        ]
        given["params"] = [*(given.get("params") or ()), *manner]
        given["context_settings"] = {**_CONTEXT, **(given.get("context_settings") or {})}
        super().__init__(*args, **given)
        self.headings = {**(headings or {}), _SAID: ("quiet", "verbose", "as_json", "version")}

    def invoke(self, ctx: click.Context) -> Any:
        """See `click.Command.invoke`.

        Raises:
            UsageError: --quiet and --verbose.
        """
        asked = ctx.meta.pop(_MANNER, {})
        if asked.get("quiet") and asked.get("verbose"):
            raise click.UsageError("--quiet and --verbose found, one of them expected; leave one out")
        with voice.speaking(voice.Manner(**asked), ctx.command_path):
            return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See `click.Command.format_options`: under headings, in their order."""
        shown: dict[str, list[tuple[str, str]]] = {"Options": [], **{heading: [] for heading in self.headings}}
        of = {name: heading for heading, names in self.headings.items() for name in names}
        of |= {str(param.name): _SAID for param in self.get_params(ctx) if set(param.opts) & set(ctx.help_option_names)}
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx)) is not None:
                shown[of.get(str(param.name), "Options")].append(record)
        for heading, records in shown.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


class Recorded(Command):
    """A command that remembers the words it was called with, in `meta["words"]` of its context."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See `click.Command.parse_args`."""
        ctx.meta["words"] = list(args)
        return super().parse_args(ctx, args)


class Group(Ending, click.Group):
    """Commands of this kind."""

    command_class = Command

    def __init__(self, *args: Any, **given: Any) -> None:
        given["context_settings"] = {**_CONTEXT, **(given.get("context_settings") or {})}
        super().__init__(*args, **given)


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
