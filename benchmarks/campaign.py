"""Kills, faults and damaged files, as many as there is time for: runs `tests/campaign`, a row of each in results/campaign.md.

    python -m benchmarks.campaign --minutes 10 "test_gen and killed_at_a_change" bundles
    python -m benchmarks.campaign                        # all, ten minutes each

A campaign goes on where its journal (out/campaign/NAME.jsonl) ends; a row says what was tried by this call.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import click

from benchmarks.common import RESULTS, commit, cpu, versions
from seas_runtime.files import write_atomic
from tests.campaign.trials import lines

ROOT = Path(__file__).parents[1]
HEAD = """# Campaigns

Written by `python -m benchmarks.campaign`, a row a call and campaign. A trial is one kill, fault, damaged file or race, and what
is said and left of it; it fails on a traceback, a crash, several lines of error, a wrong exit code, a run that does not come to
the bytes of an undisturbed one, or a file left behind. How each is drawn: `tests/campaign`. "failed" counts what failed when it was
tried, by the code of that commit.

| campaign | seed | tried | passed | failed | seconds | commit | machine | versions | command |
|---|---:|---:|---:|---:|---:|---|---|---|---|
"""
SHOWN = ("onnxruntime", "torch", "safetensors")


@click.command()
@click.argument("names", nargs=-1)
@click.option("--minutes", type=float, default=10.0, show_default=True, help="Of each campaign.")
@click.option("--seed", type=int, default=0, show_default=True, help="That trials are drawn from.")
@click.option("--journal", type=click.Path(path_type=Path), default=ROOT / "out" / "campaign", help="Folder of the journals.")
def main(names: tuple[str, ...], minutes: float, seed: int, journal: Path) -> None:
    """Run campaigns that NAMES choose, as pytest's -k does, or all of them."""
    before, began = _counts(journal), time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-m", "campaign", "tests/campaign"]
    command += ["--minutes", str(minutes), "--seed", str(seed), "--journal", str(journal.absolute())]
    if names:
        command += ["-k", " or ".join(f"({name})" for name in names)]
    ended = subprocess.run(command, cwd=ROOT, check=False)
    table = RESULTS / "campaign.md"
    text = table.read_text(encoding="utf-8") if table.is_file() else HEAD
    for name, after in sorted(_counts(journal).items()):
        tried = after - before.get(name, Counter())
        if tried["tried"]:
            text += _row(name, seed, tried, minutes, names)
    write_atomic(table, text)
    click.echo(f"{table}: {time.monotonic() - began:.0f} s")
    raise SystemExit(ended.returncode)


def _counts(journal: Path) -> dict[str, Counter[str]]:
    """Trials tried and failed, and their milliseconds, by campaign."""
    found: dict[str, Counter[str]] = {}
    for path in journal.glob("*.jsonl"):
        trials = lines(path)
        failed = sum(trial["failed"] is not None for trial in trials)
        spent = round(sum(1000 * trial["seconds"] for trial in trials))
        found[path.stem] = Counter(tried=len(trials), failed=failed, milliseconds=spent)
    return found


def _row(name: str, seed: int, tried: Counter[str], minutes: float, names: tuple[str, ...]) -> str:
    count, failed = tried["tried"], tried["failed"]
    package = ", ".join(f"{key} {value}" for key, value in versions(SHOWN).items())
    command = f"python -m benchmarks.campaign --minutes {minutes:g} --seed {seed} {' '.join(names)}".strip()
    seconds = round(tried["milliseconds"] / 1000)
    cells = [name, seed, count, count - failed, failed, seconds, commit(), cpu(), package, f"`{command}`"]
    return f"| {' | '.join(map(str, cells))} |\n"


if __name__ == "__main__":
    main()
