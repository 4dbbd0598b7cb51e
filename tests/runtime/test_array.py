"""Parts of array jobs, from the variables as each scheduler's documents give them."""

import pytest

from seas_runtime.array import part_of
from seas_runtime.errors import SettingsError


def slurm(task, count, first, last, step=None):
    names = ("ID", "COUNT", "MIN", "MAX", "STEP")
    values = (task, count, first, last, step)
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in zip(names, values, strict=True) if value is not None}


@pytest.mark.parametrize(
    ("text", "environment", "part"),
    [
        ("auto", slurm(0, 4, 0, 3), (0, 4)),  # sbatch --array=0-3
        ("auto", slurm(3, 4, 0, 3), (3, 4)),
        ("auto", slurm(12, 3, 10, 12), (2, 3)),  # --array=10-12
        ("auto", slurm(9, 4, 1, 13, 4), (2, 4)),  # --array=1-13:4
        ("auto", {"SGE_TASK_ID": "5", "SGE_TASK_FIRST": "1", "SGE_TASK_LAST": "9", "SGE_TASK_STEPSIZE": "2"}, (2, 5)),  # -t 1-9:2
        ("auto/8", {"JOB_COMPLETION_INDEX": "7"}, (7, 8)),
        ("auto/8", {"PBS_ARRAY_INDEX": "0"}, (0, 8)),
        ("auto/8", {"PBS_ARRAYID": "3"}, (3, 8)),
        ("auto/4", slurm(1, 2, 0, 1) | {"PATH": "/bin"}, (1, 4)),  # two of the four for now
        ("auto/2", {"SGE_TASK_ID": "undefined", "JOB_COMPLETION_INDEX": "1"}, (1, 2)),  # no array of Grid Engine's
    ],
)
def test_a_task_knows_its_part(text, environment, part):
    assert part_of(text, environment) == part


@pytest.mark.parametrize(
    ("text", "environment", "reason"),
    [
        ("auto", {}, "found no array job, expected one of SLURM_ARRAY_TASK_ID"),
        ("auto", {"SLURM_ARRAY_TASK_ID": ""}, "found no array job"),
        ("auto", {"JOB_COMPLETION_INDEX": "1"}, "Kubernetes does not say how many tasks its array has; give it, as in auto/8"),
        ("auto/8", {"PBS_ARRAY_INDEX": "8"}, "PBS_ARRAY_INDEX 8 found, 8 tasks numbered from 0 in steps of 1 expected"),
        ("auto", slurm(7, 3, 0, 7), "number the array without gaps"),  # --array=0,3,7
        ("auto", slurm(4, 2, 1, 5, 4), "SLURM_ARRAY_TASK_ID 4 found"),
        ("auto/0", {"JOB_COMPLETION_INDEX": "0"}, "auto/n with a number of tasks n expected"),
        ("auto/x", {"JOB_COMPLETION_INDEX": "0"}, "auto/n with a number of tasks n expected"),
        ("auto/2", {"JOB_COMPLETION_INDEX": "-1"}, "JOB_COMPLETION_INDEX='-1' found, a whole number expected"),
        ("auto/2", {"JOB_COMPLETION_INDEX": "1\u0663"}, "a whole number expected"),
    ],
)
def test_what_is_no_part_is_told(text, environment, reason):
    with pytest.raises(SettingsError) as caught:
        part_of(text, environment)
    assert reason in caught.value.message
