"""Which part of an array job this process is, from what the scheduler says in the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from seas_runtime.errors import SettingsError


@dataclass(frozen=True)
class Scheduler:
    """The variables in which a scheduler numbers the tasks of an array.

    Attributes:
        name: Of the scheduler.
        task: This task's number.
        count: How many tasks there are; None where it does not say.
        first: The smallest number, 0 where it does not say.
        last: The greatest number, which with the first and the step gives the count.
        step: Between numbers, 1 where it does not say.
    """

    name: str
    task: str
    count: str | None = None
    first: str | None = None
    last: str | None = None
    step: str | None = None


SCHEDULERS = (
    Scheduler(
        "Slurm",
        "SLURM_ARRAY_TASK_ID",
        "SLURM_ARRAY_TASK_COUNT",
        "SLURM_ARRAY_TASK_MIN",
        "SLURM_ARRAY_TASK_MAX",
        "SLURM_ARRAY_TASK_STEP",
    ),
    Scheduler("Grid Engine", "SGE_TASK_ID", None, "SGE_TASK_FIRST", "SGE_TASK_LAST", "SGE_TASK_STEPSIZE"),
    Scheduler("PBS", "PBS_ARRAY_INDEX"),
    Scheduler("Torque", "PBS_ARRAYID"),
    Scheduler("Kubernetes", "JOB_COMPLETION_INDEX"),
)
AUTO = "auto"


def part_of(text: str, environment: Mapping[str, str]) -> tuple[int, int]:
    """Part k of n, from "auto", or "auto/n" where the scheduler does not say how many there are.

    Raises:
        SettingsError: no scheduler's variables are there, they do not say how many tasks there are and neither does `text`, or
            they number this task beyond that.
    """
    said = next((s for s in SCHEDULERS if environment.get(s.task, "undefined") not in ("", "undefined")), None)
    if said is None:
        known = ", ".join(scheduler.task for scheduler in SCHEDULERS)
        raise SettingsError(f"--shard {text}: found no array job, expected one of {known} in the environment; give k/n")
    first, step = _number(said, said.first, environment, 0), _number(said, said.step, environment, 1)
    count = _count(said, text, environment, first, step)
    task = _number(said, said.task, environment, 0)
    part, odd = divmod(task - first, step)
    if odd or not 0 <= part < count:
        raise SettingsError(
            f"--shard {text}: {said.task} {task} found, {count} tasks numbered from {first} in steps of {step} expected; "
            f"number the array without gaps, from 0 where {said.name} does not say where it begins"
        )
    return part, count


def _count(said: Scheduler, text: str, environment: Mapping[str, str], first: int, step: int) -> int:
    _, slash, given = text.partition("/")
    if slash:
        if not given.isdecimal() or not int(given):
            raise SettingsError(f"--shard {text} found, auto/n with a number of tasks n expected, as in auto/8")
        return int(given)
    if said.count is not None:
        return _number(said, said.count, environment, 0)
    if said.last is not None:
        return (_number(said, said.last, environment, first) - first) // step + 1
    raise SettingsError(f"--shard {text}: {said.name} does not say how many tasks its array has; give it, as in auto/8")


def _number(said: Scheduler, name: str | None, environment: Mapping[str, str], usual: int) -> int:
    text = environment.get(name, "") if name else ""
    if not text:
        return usual
    if not text.isascii() or not text.isdecimal():
        raise SettingsError(f"{name}={text[:40]!r} found, a whole number expected from {said.name}; give --shard k/n")
    return int(text)
