"""A process that has loaded what commands need, and runs each command in a fork of itself: in milliseconds, not in ten seconds.

    python -m tests.campaign.server runtime|train

It reads a line of JSON a request, several commands that run at the same time, and answers with a line: how each ended. Nothing that
starts a pool of threads has run before a fork.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from tests.campaign import commands, shim

LONGEST = 120.0
MOST_NAMES = 1000  # what a pipe holds


def serve(kind: str) -> None:
    """Answer until standard input ends."""
    commands.warm(kind)
    answers, sys.stdout = sys.stdout, sys.stderr
    answers.write(json.dumps({"threads": len(list(Path("/proc/self/task").iterdir()))}) + "\n")
    answers.flush()
    for line in sys.stdin:
        requests = json.loads(line)
        if isinstance(requests, dict):  # of this process itself
            commands.trace(Path(requests["trace"]))
            requests = []
        begun = [_Child(request) for request in requests]
        answers.write(json.dumps([child.end() for child in begun]) + "\n")
        answers.flush()


class _Child:
    """One command in a process of its own."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.fault = shim.Fault(**request["fault"])
        self.said = tempfile.TemporaryFile()  # noqa: SIM115  # closed in `end`
        self.reads, self.writes = os.pipe()
        self.began = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            self._run(request)

    def _run(self, request: dict[str, Any]) -> None:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(self.said.fileno(), 1)
        os.dup2(self.said.fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        code, known = 1, set(sys.modules)
        try:
            shim.arm(Path(request["root"]), self.fault)
            code = commands.call(request["command"], request["words"])
        except BaseException:  # noqa: BLE001  # as the interpreter itself would end
            traceback.print_exc()
        finally:
            count = shim.counted()
            sys.stdout.flush()
            sys.stderr.flush()
            more = [name for name in sys.modules if name not in known]
            os.write(self.writes, json.dumps({"changes": count, "loaded": more[:MOST_NAMES]}).encode())
            os._exit(code)

    def end(self) -> dict[str, Any]:
        """Wait for it, or kill it at its time."""
        os.close(self.writes)
        limit = self.fault.after or LONGEST
        ended = self._within(limit - (time.monotonic() - self.began))
        if not ended:
            os.kill(self.pid, signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)
        seconds = time.monotonic() - self.began
        with os.fdopen(self.reads, "rb") as stream:
            told = json.loads(stream.read() or '{"changes": 0, "loaded": []}')
        commands.load(told["loaded"])
        self.said.seek(0)
        text = self.said.read(1 << 20).decode(errors="replace")
        self.said.close()
        return {
            "code": os.waitstatus_to_exitcode(status),
            "overdue": not ended and not self.fault.after,
            "changes": told["changes"],
            "seconds": seconds,
            "mebibytes": usage.ru_maxrss / 1024,
            "said": text,
        }

    def _within(self, seconds: float) -> bool:
        descriptor = os.pidfd_open(self.pid)
        try:
            return bool(select.select([descriptor], [], [], max(0.0, seconds))[0])
        finally:
            os.close(descriptor)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    serve(sys.argv[1])
