"""Errors a user can fix: one line each, with the exit code of the house."""

from __future__ import annotations

import click

from seas_runtime.terminal import shown

INTERRUPTED = 130


class SeasError(click.ClickException):
    """Base of all errors that the commands report without a traceback: one line, whatever the names in it hold."""

    def __init__(self, message: str) -> None:
        super().__init__(shown(message))


class SettingsError(SeasError):
    """A setting, option or defect name that does not exist or does not fit (exit code 2)."""

    exit_code = 2


class TrainError(SeasError):
    """A training that cannot go on, its loss no number (exit code 1)."""


class DataError(SeasError):
    """A data set, base model or run folder that is missing, damaged, unsafe or of an unknown layout (exit code 3)."""

    exit_code = 3


class BundleError(SeasError):
    """A bundle that is missing, damaged, unsafe or of an unknown format (exit code 3)."""

    exit_code = 3


class BackendError(SeasError):
    """An inference engine that is not installed, does not fit this machine or fails (exit code 4)."""

    exit_code = 4


class DeviceMemoryError(BackendError):
    """Too little device memory for the rows asked for; fewer may do (exit code 4)."""


class OutputError(SeasError):
    """An output folder that cannot be written or belongs to something else (exit code 5)."""

    exit_code = 5


class GateError(SeasError):
    """Pairs that the quality gate refused in every attempt (exit code 6)."""

    exit_code = 6
