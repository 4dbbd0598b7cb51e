"""No run tells anybody of itself: no network, and nothing in the user's home but what is documented."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seas_runtime import telemetry
from tests.runtime.building import BOTTLE

# Python's own sockets, whichever thread opens them; what is written in C is seen by strace, and by the files it leaves.
GUARD = """
import os, sys

def guard(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect", "socket.sendto"):
        with open(os.environ["SEEN"], "a") as stream:
            stream.write(f"{event} {arguments[1:]}\\n")

sys.addaudithook(guard)
"""
GENERATE = "from seas_runtime.cli import generate; generate()"
DOCTOR = "from seas_runtime.cli import engine; engine(['doctor'])"
NETWORK = ("AF_INET", "AF_INET6")


def strace(log):
    """The words that trace a program's network calls; none where there is no strace, or it may not trace."""
    words = ["strace", "-f", "-qq", "-e", "trace=network", "-o", str(log)]
    if shutil.which("strace") is None or subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        return []
    return words


def run(tmp_path, code, *words):
    """Run code where the user has an empty home; gives the files in it, and the network calls."""
    home, seen, log = tmp_path / "home", tmp_path / "seen", tmp_path / "strace"
    home.mkdir()
    seen.touch()
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "SYSTEMROOT")}
    given = {**kept, "HOME": str(home), "USERPROFILE": str(home), "SEEN": str(seen)}
    given["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path.cwd()), kept.get("PYTHONPATH"))))
    command = [*strace(log), sys.executable, "-c", GUARD + code, *map(str, words)]
    done = subprocess.run(command, env=given, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    calls = seen.read_text().splitlines()
    if log.exists():
        calls += [line for line in log.read_text().splitlines() if any(name in line for name in NETWORK)]
    return sorted(str(file.relative_to(home)) for file in home.rglob("*") if file.is_file()), calls


@pytest.mark.parametrize("backend", ["cpu", "openvino"])
def test_generating_leaves_no_trace(pristine, tmp_path, backend):
    words = ("--engine", pristine, "--count", 1, "--backend", backend, "--out", tmp_path / "out")
    assert run(tmp_path, GENERATE, *words) == ([], [])


def test_a_converted_model_is_all_that_is_kept(tmp_path):
    words = ("--engine", BOTTLE, "--count", 1, "--steps", 1, "--backend", "cpu+mnn", "--out", tmp_path / "out")
    files, calls = run(tmp_path, GENERATE, *words)
    assert calls == []
    assert {str(Path(file).parent.parent.parent) for file in files} == {".cache/seas"}
    assert {Path(file).suffix for file in files} == {".mnn"}


def test_the_doctor_leaves_no_trace(tmp_path):
    assert run(tmp_path, DOCTOR) == ([], [])


@pytest.mark.parametrize("package", ["seas_runtime", "seas_train", "seas_export"])
def test_importing_a_package_is_enough_for_an_engine_that_is_loaded_after_it(tmp_path, package):
    assert run(tmp_path, f"import {package}, onnxruntime, openvino") == ([], [])


def test_a_program_that_has_loaded_the_reporting_package_keeps_it(monkeypatch):
    loaded = object()
    monkeypatch.setitem(sys.modules, "openvino_telemetry", loaded)
    telemetry.switch_off()
    assert sys.modules["openvino_telemetry"] is loaded
