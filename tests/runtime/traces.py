"""A program in a process of its own, in an empty home: which files it leaves there, and whom it calls."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

# Python's own sockets, whichever thread opens them; what is written in C is seen by strace, and by the files it leaves.
GUARD = """
import os, sys

def guard(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect", "socket.sendto"):
        with open(os.environ["SEEN"], "a") as stream:
            stream.write(f"{event} {arguments[1:]}\\n")

sys.addaudithook(guard)
"""
NETWORK = ("AF_INET", "AF_INET6", "listen(")
# What urllib3, of diffusers and transformers, does when it is imported: whether the kernel knows IPv6 is seen by binding to ::1.
PROBE = (r"\d+ +socket\(AF_INET6, SOCK_STREAM\|SOCK_CLOEXEC, IPPROTO_IP\) = \d+", r'\d+ +bind\(\d+, .*htons\(0\).*"::1".*')


def strace(log):
    """The words that trace a program's network calls; none where there is no strace, or it may not trace."""
    words = ["strace", "-f", "-qq", "-e", "trace=network", "-o", str(log)]
    if shutil.which("strace") is None or subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        return []
    return words


def run(tmp_path, code, *words, timeout=120, probes=False):
    """Run code where the user has an empty home; gives the files in it, and the network calls, with `probes` all but `PROBE`."""
    home, seen, log = tmp_path / "home", tmp_path / "seen", tmp_path / "strace"
    home.mkdir()
    seen.touch()
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "SYSTEMROOT")}
    given = {**kept, "HOME": str(home), "USERPROFILE": str(home), "SEEN": str(seen)}
    given["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path.cwd()), kept.get("PYTHONPATH"))))
    command = [*strace(log), sys.executable, "-c", GUARD + code, *map(str, words)]
    done = subprocess.run(command, env=given, capture_output=True, text=True, check=False, timeout=timeout)
    assert done.returncode == 0, done.stderr
    calls = seen.read_text().splitlines()
    if log.exists():
        found = [line for line in log.read_text().splitlines() if any(name in line for name in NETWORK)]
        calls += [] if probes and is_probe(found) else found
    return sorted(str(file.relative_to(home)) for file in home.rglob("*") if file.is_file()), calls


def is_probe(lines):
    """Whether these lines of strace are `PROBE` and nothing else: a connection or a second socket is no part of it."""
    return len(lines) == len(PROBE) and all(re.fullmatch(form, line) for form, line in zip(PROBE, lines, strict=True))
