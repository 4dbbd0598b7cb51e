"""Errors a user can mend: one line each, with the exit code of the house."""

from __future__ import annotations

import click


class TrainError(click.ClickException):
    """Base of all errors that `seas-train` reports without a traceback."""


class SettingsError(TrainError):
    """A setting, option or defect name that does not exist or does not fit (exit code 2)."""

    exit_code = 2


class DataError(TrainError):
    """A missing or unusable data set, base model or run folder (exit code 3)."""

    exit_code = 3


class OutputError(TrainError):
    """An output folder that cannot be written or belongs to something else (exit code 5)."""

    exit_code = 5
