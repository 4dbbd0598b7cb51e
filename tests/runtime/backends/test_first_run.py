"""A graph that never ends, ends the command: in one line, with the exit code of an engine that fails."""

import subprocess
import sys
import threading
import time

import pytest

from seas_runtime.backends import BatchBackend
from seas_runtime.backends.first_run import LIMIT, Guarded, GuardedBatches, guard
from seas_runtime.cli import generate


class Slow:
    """A backend whose runs take as long as it is told, one for each."""

    name, workers = "slow", 3

    def __init__(self, *seconds):
        self.seconds = list(seconds)

    def run(self, graph, feeds, outputs):
        time.sleep(self.seconds.pop(0))
        return {"graph": graph, "feeds": feeds, "outputs": outputs}

    def describe(self):
        return {"name": "slow"}


class Looping(Slow):
    def sample_batch(self, job):
        return self.run("all", job, ())


CHILD = """
import time
from seas_runtime.backends.first_run import guard
from tests.runtime.backends.test_first_run import {kind}
opened = guard({kind}({seconds}), 0.3)
for _ in range(2):
    opened.{call}
print("over")
"""


def child(kind, seconds, call):
    code = CHILD.format(kind=kind, seconds=seconds, call=call)
    return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("kind", "call", "what"),
    [("Slow", "run('unet', {}, ())", "the first run of unet"), ("Looping", "sample_batch(None)", "the first batch")],
)
def test_a_first_run_without_an_end_ends_the_process(kind, call, what):
    ended = child(kind, "60", call)
    assert (ended.returncode, ended.stdout) == (4, "")
    assert ended.stderr.startswith(f"Error: {what} is not over after 0.3 s; give --first-run-limit")
    assert ended.stderr.count("\n") == 1


def test_later_runs_may_take_longer():
    ended = child("Slow", "0, 0.6", "run('unet', {}, ())")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "over\n", "")


def test_a_guarded_backend_is_the_backend():
    guarded = guard(Slow(0), 5)
    assert type(guarded) is Guarded
    assert not isinstance(guarded, BatchBackend)
    assert (guarded.name, guarded.workers, guarded.describe()) == ("slow", 3, {"name": "slow"})
    assert guarded.run("unet", 1, ("noise",)) == {"graph": "unet", "feeds": 1, "outputs": ("noise",)}
    assert isinstance(guard(Looping(), 5), GuardedBatches)
    assert isinstance(guard(Looping(), 5), BatchBackend)


def test_no_limit_changes_nothing_and_none_stays_behind():
    slow = Slow(0, 0)
    assert guard(slow, 0) is slow
    before = threading.active_count()
    guard(slow, 600).run("unet", {}, ())
    assert threading.active_count() <= before + 1  # a timer that was called off may take a moment


def test_the_command_has_the_limit():
    (option,) = [option for option in generate.params if option.name == "first_run_limit"]
    assert option.default == LIMIT
