"""Tables of steps and a comparison to the bit, for the kernels' twins, their C++ on the host, and a GPU."""

import numpy as np

from seas_runtime.bundle.manifest import Schedule
from seas_runtime.sampling.solver import solver_table, step_table

DTYPES = [np.float16, np.float32]
BITS = {np.dtype(np.float16): np.uint16, np.dtype(np.float32): np.uint32, np.dtype(np.uint8): np.uint8}


def table_of(steps, guidance, final="zero"):
    schedule = Schedule(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        train_steps=1000,
        spacing="linspace",
        final=final,
    )
    table = solver_table(schedule, steps)
    return step_table(table, guidance), table.timesteps


def same_bits(found, expected):
    assert found.dtype == expected.dtype
    if found.dtype.kind == "f":
        assert np.array_equal(np.isnan(found), np.isnan(expected))
        found, expected = (np.where(np.isnan(values), 0, values).astype(values.dtype) for values in (found, expected))
    kind = BITS[found.dtype]
    assert np.array_equal(found.view(kind), expected.view(kind))
