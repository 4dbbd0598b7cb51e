"""A command in a process of its own hears each interrupt once, whoever of the two it was sent to."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seas_runtime.errors import BackendError
from seas_train.pipeline.child import executable

ROOT = Path(__file__).parents[3]
CHILD = """
import os, signal, sys, time
heard = []
def note(number, _frame):
    heard.append(number)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, note)
print('ready', flush=True)
end = time.monotonic() + 30
while not heard and time.monotonic() < end:
    time.sleep(0.01)
time.sleep(0.3)  # a second one would come by now
open(sys.argv[1], 'w').write(','.join(map(str, heard)))
sys.exit(130)
"""
PARENT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from seas_train.pipeline import child
child.executable = lambda name: sys.executable
sys.exit(child.apart(['python', '-c', *sys.argv[1:]]).status)
"""


@pytest.mark.parametrize(("send", "number"), [(os.kill, signal.SIGINT), (os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)])
def test_a_signal_is_passed_on_once_and_its_end_is_waited_for(tmp_path, send, number):
    command = [sys.executable, "-c", PARENT, CHILD, str(tmp_path / "heard")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        send(process.pid, number)
        assert process.wait(timeout=30) == 130
    assert (tmp_path / "heard").read_text(encoding="utf-8") == str(int(number))


def state(pid):
    """A process's letter in Linux: T where it is stopped."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]


def awaited(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="needs Linux's /proc")
def test_it_pauses_and_goes_on_with_us(tmp_path):
    told = CHILD.replace("'ready'", "os.getpid()")
    command = [sys.executable, "-c", PARENT, told, str(tmp_path / "heard")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.send_signal(signal.SIGTSTP)
        awaited(lambda: state(process.pid) == state(pid) == "T")
        process.send_signal(signal.SIGCONT)
        awaited(lambda: state(pid) != "T")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130


def test_a_program_that_is_not_there_is_named_with_what_installs_it():
    with pytest.raises(BackendError, match="seas-nothing is not installed; run pip install"):
        executable("seas-nothing")
