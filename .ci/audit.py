"""Known vulnerabilities of the packages installed here, an optional step beside `run`.

    pip install pip-audit && python .ci/audit.py

Exit code 0: none are known, or it was skipped, which it says with the reason (no pip-audit, no database that can be reached).
Exit code 1: a package has one. Not part of `run`, which works without a network and does not fail on what was published overnight.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path

LONGEST = 120  # seconds for all packages
SERVICES = ("pypi", "osv")


def main() -> int:
    """Ask one database after the other until one answers."""
    reasons = []
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder, "requirements.txt")
        listed.write_text("".join(f"{line}\n" for line in installed()), encoding="utf-8")
        for service in SERVICES:
            found, reason = ask(service, listed)
            if found is not None:
                return told(found)
            reasons.append(f"{service}: {reason}")
    sys.stdout.write(f"Skipped: no database of vulnerabilities could be asked ({'; '.join(reasons)}).\n")
    return 0


def installed() -> list[str]:
    """NAME==VERSION of all that is installed here but this project; a local version (+cpu) is the release it was built from."""
    found = {(package.metadata["Name"], package.version.partition("+")[0]) for package in distributions()}
    return sorted(f"{name}=={version}" for name, version in found if name and name != "seas")


def ask(service: str, listed: Path) -> tuple[list[dict] | None, str]:
    """What a database says of each package; None and the reason where it says nothing."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--timeout", "10"]
    command += ["--vulnerability-service", service, "--disable-pip", "--no-deps", "--requirement", str(listed)]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return None, f"no answer in {LONGEST} s"
    try:
        answer = json.loads(ended.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        lines = ended.stderr.strip().splitlines()
        return None, lines[-1][:200] if lines else f"exit code {ended.returncode}"
    if all("skip_reason" in package for package in answer):
        return None, "it knows none of the packages"
    return answer, ""


def told(answer: list[dict]) -> int:
    """Say what is known, and the exit code."""
    asked = [package for package in answer if "skip_reason" not in package]
    lines = [
        f"{package['name']} {package['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no version yet'}"
        for package in asked
        for flaw in package["vulns"]
    ]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.write(
        f"{len(asked)} packages asked for, {len(answer) - len(asked)} not known there, {len(lines)} vulnerabilities.\n"
    )
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
