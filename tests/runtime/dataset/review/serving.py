"""`seas-data review` in a process of its own."""

import signal
import subprocess
import sys
from functools import partial

RUN = "from seas_runtime.dataset.review.cli import review; review(prog_name='review')"


def start(*words):
    """The command in a process of its own, and the address it prints."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, *map(str, words), "--no-browser"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    lines = []
    while not (lines and lines[-1].startswith("http")):
        lines.append(process.stdout.readline())
        assert lines[-1], lines
    return process, lines[-1].strip()


def end(process):
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=30)
    return process.returncode, said
