"""Which steps the memory table measures, and what becomes of one that the machine does not hold."""

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from benchmarks import common, memory


@pytest.mark.parametrize("has_bf16", [True, False])
def test_bf16_is_measured_where_the_processor_has_it(has_bf16, monkeypatch):
    monkeypatch.setattr(memory, "has_bf16", lambda: has_bf16)
    found = memory.cases("tiny", "cpu")
    assert ("bf16" in {case.precision for case in found.values()}) == has_bf16
    assert ("bf16" in found) == has_bf16
    assert "tune --memory 12" in found
    assert found["masks --memory 12, masks --memory 8"].settings[0] == ("cache_latents", True)


def test_a_gpu_is_measured_in_every_way():
    named = {name for names in memory.cases("tiny", "auto") for name in names.split(", ")}
    assert {"tune --memory 16", "bf16", "masks --memory 8"} <= named


def test_a_row_that_is_killed_is_told_and_stops_nothing():
    with pytest.raises(MemoryError, match="_exit was killed"):
        common.alone(os._exit, 9)
    lines = memory.table({"fp32": {"precision": "fp32", "device": "cpu"}}, "tiny").splitlines()
    assert lines[-1] == "| fp32 | fp32 | cpu | | | more than there is |"


def test_a_process_of_its_own_ends_with_the_one_that_asked(tmp_path):
    """The asker is killed, and can tell nobody."""
    file = tmp_path / "pid"
    asker = multiprocessing.get_context("spawn").Process(target=common.alone, args=(_sleep, file))
    asker.start()
    while not (file.exists() and file.read_text()):
        time.sleep(0.05)
    worker = Path("/proc", file.read_text())
    assert worker.exists()
    asker.kill()
    asker.join()
    for _ in range(200):
        if not worker.exists():
            break
        time.sleep(0.1)
    assert not worker.exists()


def _sleep(file):
    file.write_text(str(os.getpid()))
    time.sleep(600)
